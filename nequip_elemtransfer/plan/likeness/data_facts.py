r"""What labelled structures say by themselves, without a model.

**Composition.** What their energies say about the energy shifts.

**Coverage.** Whether each structure resembles the others. The environments of all structures (:mod:`.environments`, the
descriptor) are standardised and projected on the principal components that hold 99 % of the variance. In that space,
with equal environments of one structure counted once,

- an environment's *spacing* is its distance to the nearest other one, of its own structure or not,
- an environment's *gap* is its distance to the nearest one of another structure that is no copy of its own,
- it is *uncovered* if its gap is above 99 % of the spacings of the other structures.

So of evenly sampled data about one environment in a hundred is uncovered. A structure most of whose environments are
uncovered is alone: leave it out, and the rest says nothing about it.

**Outliers.** A force is unusual if its norm is more than ten times 1.4826 MAD from the median of its element, which is
ten standard deviations for a normal distribution. Forces below 1e-4 eV/Å, of atoms at rest, do not count in either.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell
from matscipy.neighbours import neighbour_list
from scipy.linalg import null_space
from scipy.spatial import cKDTree

from nequip_elemtransfer.energies.fit import fit_energy_shifts
from nequip_elemtransfer.structures.environments import Environments
from nequip_elemtransfer.structures.labels import energy_of, forces_of

# coverage
_VARIANCE = 0.99
_COVERED = 0.99
_EQUAL = 4  # decimals in units of the standard deviation
_MIN_STRUCTURES = 3  # one, and others with distances among them

# outliers
UNUSUAL = 10.0  # robust standard deviations
_AT_REST = 1e-4  # eV/Å
_NORMAL = 1.4826  # standard deviation over median absolute deviation


@dataclass(frozen=True)
class Composition:
    """What the energies say about the energy shifts.

    Args:
        counts: atoms of each species in all structures
        rank: of the composition matrix of structures with energies
        undetermined: species whose shift some direction touches that no energy depends on
        directions: these directions, as changes of shifts by species, the largest one
    """

    counts: dict[str, int]
    rank: int
    undetermined: tuple[str, ...]
    directions: tuple[dict[str, float], ...]


def composition(structures: Sequence[Atoms], species: Sequence[str] | None = None) -> Composition:
    """What the structures' energies say about the energy shifts of species, None for those found.

    Raises:
        ValueError: if a structure holds another species
    """
    found = sorted({symbol for atoms in structures for symbol in atoms.symbols})
    species = found if species is None else list(dict.fromkeys(species))
    if missing := [symbol for symbol in found if symbol not in species]:
        raise ValueError(
            f"the structures hold {', '.join(missing)}, which is not among the target's {', '.join(species)}: "
            "add it to `elements` or leave those structures out."
        )
    counts = np.array([[np.sum(atoms.symbols == symbol) for symbol in species] for atoms in structures])
    labelled = counts[[energy_of(atoms) is not None for atoms in structures]]
    directions, zero = _undetermined_directions(labelled, species), np.zeros(len(species))
    shifts = fit_energy_shifts(np.zeros(len(labelled)), labelled, zero, zero > 0)
    undetermined = tuple(species[i] for i in shifts.undetermined)
    return Composition(dict(zip(species, counts.sum(axis=0).tolist())), shifts.rank, undetermined, directions)


def _undetermined_directions(counts: np.ndarray, species: Sequence[str]) -> tuple[dict[str, float], ...]:
    """Basis of the changes of shifts that change no energy: absent species by themselves, then the rest."""
    absent = [i for i in range(len(species)) if not counts[:, i].any()]
    present = [i for i in range(len(species)) if i not in absent]
    directions = [{species[i]: 1.0} for i in absent]
    if present:
        fractions = counts[:, present] / counts.sum(axis=1, keepdims=True)
        for vector in null_space(fractions, rcond=1e-8).T:
            vector = vector / vector[np.argmax(np.abs(vector))]
            directions.append({species[i]: float(v) for i, v in zip(present, vector) if abs(v) > 1e-8})
    return tuple(directions)


@dataclass(frozen=True)
class StructureCoverage:
    """Coverage of one structure by the others.

    Args:
        structure: index in the list
        uncovered: part of its environments that is
        gap: median gap of its environments, in units of the median spacing of all
    """

    structure: int
    uncovered: float
    gap: float


@dataclass(frozen=True)
class Coverage:
    """How far environments are from those of other structures, see the module's text.

    Args:
        n_environments: different ones compared
        n_components: principal components
        uncovered: part of the environments that is
        structures: the least covered first
    """

    n_environments: int
    n_components: int
    uncovered: float
    structures: tuple[StructureCoverage, ...]


def coverage(environments: Environments, families: Sequence[int]) -> Coverage | None:
    """How well each structure's environments are covered by the others; see the module's text.

    Args:
        environments: of all structures
        families: number of each structure's group of copies

    Returns:
        None if fewer than three independent structures have environments
    """
    points = _principal_components(environments.features)
    keyed = np.column_stack([environments.structure, np.round(points, _EQUAL)])
    kept = np.sort(np.unique(keyed, axis=0, return_index=True)[1])
    points, structure = points[kept], environments.structure[kept]
    family = np.asarray(families)[structure]
    if len(np.unique(family)) < _MIN_STRUCTURES:
        return None
    spacing = cKDTree(points).query(points, k=2)[0][:, 1]
    gap, uncovered = np.zeros(len(points)), np.zeros(len(points), dtype=bool)
    for one in np.unique(family):
        own = family == one
        gap[own] = cKDTree(points[~own]).query(points[own])[0]
        uncovered[own] = gap[own] > np.quantile(spacing[~own], _COVERED)
    unit = float(np.median(spacing)) or 1.0
    rows = [
        StructureCoverage(int(i), float(uncovered[structure == i].mean()), float(np.median(gap[structure == i]) / unit))
        for i in np.unique(structure)
    ]
    rows.sort(key=lambda row: (-row.uncovered, -row.gap))
    return Coverage(len(points), points.shape[1], float(uncovered.mean()), tuple(rows))


def _principal_components(features: np.ndarray) -> np.ndarray:
    """Standardised features on the components that hold most of the variance, shape (n_environments, n_components)."""
    spread = features.std(axis=0)
    varying = spread > 1e-12 * np.abs(features).max(axis=0, initial=0)
    if not varying.any():
        return np.zeros((len(features), 1))
    standard = (features[:, varying] - features[:, varying].mean(axis=0)) / spread[varying]
    left, values, _ = np.linalg.svd(standard, full_matrices=False)
    held = np.cumsum(values**2) / np.sum(values**2)
    n = int(np.searchsorted(held, _VARIANCE)) + 1
    return left[:, :n] * values[:n]


@dataclass(frozen=True)
class ForceOutlier:
    """A force unlike the others of its element.

    Args:
        structure, atom: indices
        species: of the atom
        force: norm in eV/Å
        deviations: from the median, in robust standard deviations
    """

    structure: int
    atom: int
    species: str
    force: float
    deviations: float


@dataclass(frozen=True)
class IsolatedAtom:
    """An atom without neighbours inside the cutoff.

    Args:
        structure, atom: indices
        species: of the atom
        energy: of the structure in eV if it is this atom alone and labelled, else None
    """

    structure: int
    atom: int
    species: str
    energy: float | None


def force_outliers(structures: Sequence[Atoms]) -> tuple[ForceOutlier, ...]:
    """Forces unlike the others of their element, the largest deviation first."""
    labelled = [(i, atoms, f) for i, atoms in enumerate(structures) if (f := forces_of(atoms)) is not None]
    if not labelled:
        return ()
    structure = np.concatenate([np.full(len(atoms), i) for i, atoms, _ in labelled])
    atom = np.concatenate([np.arange(len(atoms)) for _, atoms, _ in labelled])
    symbols = np.concatenate([np.array(atoms.symbols) for _, atoms, _ in labelled])
    norms = np.linalg.norm(np.concatenate([f for *_, f in labelled]), axis=1)
    found = []
    for symbol in np.unique(symbols):
        moving = np.flatnonzero((symbols == symbol) & (norms > _AT_REST))
        if len(moving) == 0:
            continue
        median = np.median(norms[moving])
        spread = _NORMAL * np.median(np.abs(norms[moving] - median))
        # equal forces, as in a dimer and its image, have no spread
        deviations = (norms[moving] - median) / spread if spread > _AT_REST else np.zeros(len(moving))
        found += [
            ForceOutlier(int(structure[i]), int(atom[i]), str(symbol), float(norms[i]), float(d))
            for i, d in zip(moving, deviations)
            if d > UNUSUAL
        ]
    return tuple(sorted(found, key=lambda outlier: -outlier.deviations))


def lone_atoms(structures: Sequence[Atoms], cutoff: float) -> tuple[IsolatedAtom, ...]:
    """Atoms without neighbours, periodic images included, within a cutoff in Å."""
    found = []
    for i, atoms in enumerate(structures):
        neighbours = neighbour_list(
            "i", positions=atoms.positions, cell=complete_cell(atoms.cell), pbc=atoms.pbc, cutoff=float(cutoff)
        )
        energy = energy_of(atoms) if len(atoms) == 1 else None
        alone = np.flatnonzero(np.bincount(neighbours, minlength=len(atoms)) == 0)
        found += [IsolatedAtom(i, int(j), str(atoms.symbols[j]), energy) for j in alone]
    return tuple(found)


def isolated_energies(isolated: Sequence[IsolatedAtom]) -> dict[str, float]:
    """Mean energy in eV of single atoms, by species."""
    energies: dict[str, list[float]] = {}
    for atom in isolated:
        if atom.energy is not None:
            energies.setdefault(atom.species, []).append(atom.energy)
    return {symbol: float(np.mean(values)) for symbol, values in energies.items()}

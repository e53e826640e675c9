r"""Are the labelled structures enough, and are they clean? Counts, and what no count shows; no model is needed.

**Coverage.** The environments of all structures (:mod:`.environments`, the descriptor) are standardised and projected
on the principal components that hold 99 % of the variance. In that space, with equal environments of one structure
counted once,

- an environment's *spacing* is its distance to the nearest other one, of its own structure or not,
- an environment's *gap* is its distance to the nearest one of another structure that is no copy of its own,
- it is *uncovered* if its gap is above 99 % of the spacings of the other structures.

So of evenly sampled data about one environment in a hundred is uncovered. A structure most of whose environments are
uncovered is alone: leave it out, and the rest says nothing about it.

**Copies** are structures whose atoms have the same environments within the cutoff, element by element, the same
composition and the same energy per atom. Rotated, translated, mirrored and reordered copies, and supercells, are the
same to a model.

**Outliers.** A force is unusual if its norm is more than ten times 1.4826 MAD from the median of its element, which
is ten standard deviations for a normal distribution. Forces below 1e-4 eV/Å, of atoms at rest, do not count in
either."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell
from matscipy.neighbours import neighbour_list
from scipy.linalg import null_space
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from nequip_elemtransfer.fit import fit_energy_shifts
from nequip_elemtransfer.plan.environments import (
    MAX_ENVIRONMENTS,
    Environments,
    descriptor_environments,
    descriptor_features,
)

# Copies: labels of one structure computed twice agree to this, eV/atom, and volumes per atom to this part.
_ENERGY_TOLERANCE = 1e-4
_VOLUME_TOLERANCE = 1e-3
# of a feature, as a part of its largest value in the data
_FEATURE_TOLERANCE = 1e-4

_VARIANCE = 0.99
_COVERED = 0.99
_EQUAL = 4  # decimals in units of the standard deviation
_MIN_STRUCTURES = 3  # for coverage: one, and others with distances among them

_UNUSUAL = 10.0
_AT_REST = 1e-4  # eV/Å
_NORMAL = 1.4826  # standard deviation over median absolute deviation
_LISTED = 50

# Below this many force components for each fitted number, the fits are guesses.
_FEW = 30


@dataclass(frozen=True)
class Finding:
    """One thing to know about the data.

    Args:
        subject: the part of :class:`Sufficiency` it is about
        level: ``note`` or ``caution``
        sentence: with its numbers
    """

    subject: str
    level: str
    sentence: str


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


@dataclass(frozen=True)
class Sufficiency:
    """What labelled structures can determine; ``dataclasses.asdict`` makes it plain data.

    Args:
        n_structures, n_atoms: in all
        n_periodic, n_molecular, n_partly_periodic: structures periodic in three directions, none, one or two
        n_with_energies, n_with_forces: structures that have finite ones
        n_force_components: labelled
        n_fitted: numbers that a transfer fits before training, λ and α to forces and μ to energies
        n_parameters: of the network, None if not told
        composition: what the energies say about the shifts
        coverage: None with fewer than three structures
        duplicates: groups of copies
        families: number of each structure's group of copies, its own if it has none
        force_outliers: the largest first, at most 50
        n_force_outliers: how many there are
        isolated_atoms: at most 50
        n_isolated_atoms: how many there are
        isolated_energies: mean energy of single atoms by species, eV: possible energy shifts
        findings: in words
    """

    n_structures: int
    n_atoms: int
    n_periodic: int
    n_molecular: int
    n_partly_periodic: int
    n_with_energies: int
    n_with_forces: int
    n_force_components: int
    n_fitted: dict[str, int]
    n_parameters: int | None
    composition: Composition
    coverage: Coverage | None
    duplicates: tuple[tuple[int, ...], ...]
    families: tuple[int, ...]
    force_outliers: tuple[ForceOutlier, ...]
    n_force_outliers: int
    isolated_atoms: tuple[IsolatedAtom, ...]
    n_isolated_atoms: int
    isolated_energies: dict[str, float]
    findings: tuple[Finding, ...]


def assess(
    structures: Sequence[Atoms],
    cutoff: float,
    species: Sequence[str] | None = None,
    n_parameters: int | None = None,
    limit: int = MAX_ENVIRONMENTS,
    task: str = "",
) -> Sufficiency:
    """Count, compare and search labelled structures.

    Args:
        structures: with energies (eV) and forces (eV/Å) in their calculators, some or all
        cutoff: of the target model, Å
        species: chemical symbol of each target type; None for those found
        n_parameters: of the network
        limit: of environments for the coverage
        task: what a progress bar calls it; no bar if empty

    Raises:
        ValueError: if there are no structures, or one holds a species that is not among ``species``
        ModuleNotFoundError: without the libraries of the extra ``plan``
    """
    if not structures:
        raise ValueError("there are no structures to assess: give at least one.")
    periodic = np.array([int(atoms.pbc.sum()) for atoms in structures])
    forces = [forces_of(atoms) for atoms in structures]
    composed = composition(structures, species)
    families = duplicate_families(structures, cutoff, task)
    outliers, isolated = force_outliers(structures), isolated_atoms(structures, cutoff)
    n_types = len(composed.counts)
    facts = {
        "n_structures": len(structures),
        "n_atoms": sum(len(atoms) for atoms in structures),
        "n_periodic": int((periodic == 3).sum()),
        "n_molecular": int((periodic == 0).sum()),
        "n_partly_periodic": int(((periodic > 0) & (periodic < 3)).sum()),
        "n_with_energies": sum(energy_of(atoms) is not None for atoms in structures),
        "n_with_forces": sum(f is not None for f in forces),
        "n_force_components": sum(f.size for f in forces if f is not None),
        "n_fitted": {"length_scale": 1, "energy_scale": n_types, "energy_shifts": n_types},
        "n_parameters": n_parameters,
        "composition": composed,
        "coverage": coverage(descriptor_environments(structures, cutoff, limit=limit, task=task), families),
        "duplicates": _groups(families),
        "families": tuple(families),
        "force_outliers": outliers,
        "n_force_outliers": len(outliers),
        "isolated_atoms": isolated,
        "n_isolated_atoms": len(isolated),
        "isolated_energies": _isolated_energies(isolated),
    }
    found = Sufficiency(**facts, findings=())
    return replace(
        found, findings=_findings(found), force_outliers=outliers[:_LISTED], isolated_atoms=isolated[:_LISTED]
    )


def energy_of(atoms: Atoms) -> float | None:
    """Stored energy in eV, None if there is none or it is not finite. Nothing is computed."""
    stored = {} if atoms.calc is None else atoms.calc.results
    energy = stored.get("energy", atoms.info.get("energy"))
    return float(energy) if energy is not None and np.isfinite(energy) else None


def forces_of(atoms: Atoms) -> np.ndarray | None:
    """Stored forces in eV/Å, shape (n_atoms, 3), None if there are none or one is not finite. Nothing is computed."""
    stored = {} if atoms.calc is None else atoms.calc.results
    forces = stored.get("forces", atoms.arrays.get("forces"))
    return np.asarray(forces, dtype=float) if forces is not None and np.isfinite(forces).all() else None


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
    directions = _undetermined_directions(labelled, species)
    zero = np.zeros(len(species))
    if len(labelled) == 0:
        rank, undetermined = 0, tuple(range(len(species)))
    else:
        shifts = fit_energy_shifts(np.zeros(len(labelled)), labelled, zero, zero > 0)
        rank, undetermined = shifts.rank, shifts.undetermined
    return Composition(
        dict(zip(species, counts.sum(axis=0).tolist())), rank, tuple(species[i] for i in undetermined), directions
    )


def duplicate_families(structures: Sequence[Atoms], cutoff: float, task: str = "") -> list[int]:
    """Number of the group of copies each structure belongs to, from zero in order of appearance.

    Args:
        cutoff: in Å; what lies farther apart is not compared
        task: what a progress bar calls it; no bar if empty
    """
    pairs = _candidates(structures)
    concerned = sorted({i for pair in pairs for i in pair})
    features = dict(zip(concerned, _all_features([structures[i] for i in concerned], cutoff, task)))
    equal = [(i, j) for i, j in pairs if _same_atoms(structures[i], features[i], structures[j], features[j])]
    rows, columns = np.array(equal, dtype=int).reshape(-1, 2).T
    n = len(structures)
    _, labels = connected_components(coo_array((np.ones(len(rows)), (rows, columns)), shape=(n, n)), directed=False)
    number: dict[int, int] = {}
    return [number.setdefault(int(label), len(number)) for label in labels]


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
            if d > _UNUSUAL
        ]
    return tuple(sorted(found, key=lambda outlier: -outlier.deviations))


def isolated_atoms(structures: Sequence[Atoms], cutoff: float) -> tuple[IsolatedAtom, ...]:
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


def _candidates(structures: Sequence[Atoms]) -> list[tuple[int, int]]:
    """Pairs that agree in composition, periodicity, volume per atom and, where both have one, energy per atom."""
    groups: dict[tuple, list[int]] = {}
    for i, atoms in enumerate(structures):
        numbers, counts = np.unique(atoms.numbers, return_counts=True)
        parts = tuple((counts // np.gcd.reduce(counts)).tolist()) if len(counts) else ()
        groups.setdefault((tuple(numbers.tolist()), parts, tuple(atoms.pbc.tolist())), []).append(i)
    pairs = []
    for members in groups.values():
        energies = [energy_of(structures[i]) for i in members]
        # a pair without energies may be any; NaN compares as no difference below
        energy = np.array([np.nan if e is None else e / len(structures[i]) for i, e in zip(members, energies)])
        solid = [structures[i].pbc.all() for i in members]
        sizes = [structures[i].get_volume() / len(structures[i]) if s else 1.0 for i, s in zip(members, solid)]
        volume = np.array(sizes)  # per atom
        for k, i in enumerate(members[:-1]):
            close = ~(np.abs(energy[k + 1 :] - energy[k]) > _ENERGY_TOLERANCE)
            close &= np.abs(volume[k + 1 :] / volume[k] - 1) < _VOLUME_TOLERANCE
            pairs += [(i, members[k + 1 + other]) for other in np.flatnonzero(close)]
    return pairs


def _all_features(structures: Sequence[Atoms], cutoff: float, task: str) -> list[np.ndarray]:
    """Features of all atoms of each structure, in units of the tolerance."""
    if not structures:
        return []
    features = descriptor_features(structures, cutoff, task=task)
    largest = np.abs(features).max(axis=0)
    features = features / np.where(largest > 0, _FEATURE_TOLERANCE * largest, 1.0)
    return np.split(features, np.cumsum([len(atoms) for atoms in structures])[:-1])


def _same_atoms(a: Atoms, a_features: np.ndarray, b: Atoms, b_features: np.ndarray) -> bool:
    """Whether every environment of each has its like in the other, element by element, and equally often."""
    for number in np.unique(a.numbers):
        x, y = a_features[a.numbers == number], b_features[b.numbers == number]
        if np.abs(x.mean(axis=0) - y.mean(axis=0)).max() > 1:
            return False
        distances = cKDTree(y).query(x, p=np.inf)[0].max(), cKDTree(x).query(y, p=np.inf)[0].max()
        if max(distances) > 1:
            return False
    return True


def _groups(families: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Members of the families that have several."""
    members: dict[int, list[int]] = {}
    for i, family in enumerate(families):
        members.setdefault(family, []).append(i)
    return tuple(tuple(group) for group in members.values() if len(group) > 1)


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


def _isolated_energies(isolated: Sequence[IsolatedAtom]) -> dict[str, float]:
    energies: dict[str, list[float]] = {}
    for atom in isolated:
        if atom.energy is not None:
            energies.setdefault(atom.species, []).append(atom.energy)
    return {symbol: float(np.mean(values)) for symbol, values in energies.items()}


def _findings(facts: Sufficiency) -> tuple[Finding, ...]:
    parts = [_label_findings, _composition_findings, _kind_findings, _coverage_findings, _cleanness_findings]
    return tuple(finding for part in parts for finding in part(facts))


def _label_findings(facts: Sufficiency) -> list[Finding]:
    found, n = [], facts.n_structures
    for name, labelled in (("energies", facts.n_with_energies), ("forces", facts.n_with_forces)):
        if labelled < n:
            sentence = f"{_of(n - labelled, n, 'structure')} {'has' if n - labelled == 1 else 'have'} no {name}."
            found.append(Finding("labels", "caution", sentence))
    fitted = facts.n_fitted["length_scale"] + facts.n_fitted["energy_scale"]
    if facts.n_force_components:
        ratio = facts.n_force_components / fitted
        network = "" if facts.n_parameters is None else f"; the network has {facts.n_parameters} parameters"
        sentence = f"{facts.n_force_components} force components for {fitted} numbers fitted to them, λ and α{network}."
        found.append(Finding("labels", "caution" if ratio < _FEW else "note", sentence))
    return found


def _composition_findings(facts: Sufficiency) -> list[Finding]:
    composed, n_types = facts.composition, facts.n_fitted["energy_shifts"]
    if facts.n_with_energies == 0:
        return []  # said already, of the labels
    if not composed.directions:
        sentence = (
            f"The energies of {_count(facts.n_with_energies, 'structure')} determine the energy "
            f"shift{'s' if n_types > 1 else ''} of {', '.join(composed.counts)}."
        )
        return [Finding("composition", "note", sentence)]
    changes = "; ".join(_direction(direction) for direction in composed.directions)
    sentence = (
        f"The compositions have rank {composed.rank} for {n_types} energy shifts, so no energy changes with "
        f"{changes}: add structures of other compositions, or give the shifts."
    )
    return [Finding("composition", "caution", sentence)]


def _kind_findings(facts: Sufficiency) -> list[Finding]:
    kinds = {
        "periodic": facts.n_periodic,
        "partly periodic": facts.n_partly_periodic,
        "molecular": facts.n_molecular,
    }
    present = [f"{number} {name}" for name, number in kinds.items() if number]
    if len(present) < 2:
        return []
    sentence = (
        f"{', '.join(present[:-1])} and {present[-1]} structures are mixed: their energies must come from the same "
        "settings."
    )
    return [Finding("kinds", "caution", sentence)]


def _coverage_findings(facts: Sufficiency) -> list[Finding]:
    covered = facts.coverage
    if covered is None:
        independent = len(set(facts.families))
        sentence = (
            f"There {'is' if independent == 1 else 'are'} {_count(independent, 'independent structure')}, too few to "
            "ask whether they cover each other."
        )
        return [Finding("coverage", "caution", sentence)]
    alone = [row.structure for row in covered.structures if row.uncovered > 0.5]
    sentence = (
        f"{covered.uncovered:.1%} of {covered.n_environments} environments lie farther from every other structure than "
        f"99 % of neighbouring environments are apart"
    )
    if alone:
        sentence += f", and so does most of {_count(len(alone), 'structure')} ({_listed(alone)})"
    many = len(alone) > 0.1 * facts.n_structures
    return [Finding("coverage", "caution" if many else "note", sentence + ".")]


def _cleanness_findings(facts: Sufficiency) -> list[Finding]:
    found = []
    if facts.duplicates:
        copies = sum(len(group) - 1 for group in facts.duplicates)
        sentence = (
            f"{_of(copies, facts.n_structures, 'structure')} {'is a copy' if copies == 1 else 'are copies'} of another "
            f"(for instance {_listed(facts.duplicates[0])}): keep copies out of validation and test sets."
        )
        found.append(Finding("duplicates", "caution" if copies > 0.1 * facts.n_structures else "note", sentence))
    if facts.force_outliers:
        worst, n = facts.force_outliers[0], facts.n_force_outliers
        sentence = (
            f"{_count(n, 'force')} {'is' if n == 1 else 'are'} more than {_UNUSUAL:.0f} robust standard deviations "
            f"above the median of the element, the worst {worst.force:.1f} eV/Å on {worst.species} (structure "
            f"{worst.structure}, atom {worst.atom}): look for atoms too close together, or a calculation that did not "
            "converge."
        )
        found.append(Finding("force outliers", "caution", sentence))
    if facts.isolated_energies:
        energies = ", ".join(f"{symbol} {energy:.4f} eV" for symbol, energy in facts.isolated_energies.items())
        sentence = f"Isolated atoms have energies that may serve as energy shifts: {energies}."
        found.append(Finding("isolated atoms", "note", sentence))
    if others := facts.n_isolated_atoms - sum(a.energy is not None for a in facts.isolated_atoms):
        first = next(a for a in facts.isolated_atoms if a.energy is None)
        sentence = (
            f"{_count(others, 'atom')} {'has' if others == 1 else 'have'} no neighbour inside the cutoff (for instance "
            f"atom {first.atom} of structure {first.structure}), where a model predicts nothing but the energy shift."
        )
        found.append(Finding("isolated atoms", "caution", sentence))
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _of(number: int, total: int, noun: str) -> str:
    return f"{number} of {_count(total, noun)}"


def _listed(indices: Sequence[int]) -> str:
    shown = ", ".join(f"no. {i}" for i in indices[:5])
    return shown + (", …" if len(indices) > 5 else "")


def _direction(direction: Mapping[str, float]) -> str:
    return " with ".join(f"{symbol} {change:+.3g}" for symbol, change in direction.items())

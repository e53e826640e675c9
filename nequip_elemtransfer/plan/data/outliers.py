"""Forces and atoms unlike the others.

A force is unusual if its norm is more than ten times 1.4826 MAD from the median of its element, which
is ten standard deviations for a normal distribution. Forces below 1e-4 eV/Å, of atoms at rest, do not count in
either.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell
from matscipy.neighbours import neighbour_list

from nequip_elemtransfer.structures.labels import energy_of, forces_of

UNUSUAL = 10.0  # robust standard deviations
_AT_REST = 1e-4  # eV/Å
_NORMAL = 1.4826  # standard deviation over median absolute deviation


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

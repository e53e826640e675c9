"""Copies of a structure among others.

Copies are structures whose atoms have the same environments within the cutoff, element by element, the same
composition and the same energy per atom. Rotated, translated, mirrored and reordered copies, and supercells, are the
same to a model."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from nequip_elemtransfer.structures.environments import descriptor_features
from nequip_elemtransfer.structures.labels import energy_of

# Labels of one structure computed twice agree to this, eV/atom, and volumes per atom to this part.
_ENERGY_TOLERANCE = 1e-4
_VOLUME_TOLERANCE = 1e-3
# of a feature, as a part of its largest value in the data
_FEATURE_TOLERANCE = 1e-4


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


def copies_in(families: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Members of the families that have several, see :func:`duplicate_families`."""
    members: dict[int, list[int]] = {}
    for i, family in enumerate(families):
        members.setdefault(family, []).append(i)
    return tuple(tuple(group) for group in members.values() if len(group) > 1)


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

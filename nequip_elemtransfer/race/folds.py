"""Folds of a user's own structures: what belongs together is held out together."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from nequip_elemtransfer.structures.copies import duplicate_families
from nequip_elemtransfer.structures.files import folds

LEAST = 3


def groups_of(structures: Sequence[Atoms], reach: float, label: str | None = None) -> np.ndarray:
    """Number of each structure's group, shape (n,): copies of one are together, and those with the same label.

    Args:
        reach: in Å; structures that agree within it are copies
        label: name in ``Atoms.info`` whose value structures of one group share, such as a trajectory's; None if there
            is none

    Raises:
        ValueError: a structure lacks the label
    """
    families = np.array(duplicate_families(structures, reach))
    if label is None:
        return families
    known = sorted({name for atoms in structures for name in atoms.info})
    for place, atoms in enumerate(structures):
        if label not in atoms.info:
            raise ValueError(
                f"--group-by is {label!r}, which structure {place} does not have: labels in the file are "
                f"{', '.join(known) or 'none'}."
            )
    values = [str(atoms.info[label]) for atoms in structures]
    of_value = {value: n for n, value in enumerate(dict.fromkeys(values))}
    n, n_families = len(structures), int(families.max()) + 1
    # a graph of structures and what they share
    shared = np.concatenate([n + families, n + n_families + np.array([of_value[value] for value in values])])
    own, size = np.tile(np.arange(n), 2), n + n_families + len(of_value)
    _, found = connected_components(coo_array((np.ones(2 * n), (own, shared)), shape=(size, size)), directed=False)
    return found[:n]


def held_out(groups: np.ndarray, alone: Sequence[int], n_folds: int, seed: int) -> list[np.ndarray]:
    """Indices of the structures that are held out in turn.

    Args:
        groups: see :func:`groups_of`
        alone: structures that are isolated atoms, which are trained on and never held out
        n_folds: at most; as many as there are groups if those are fewer
        seed: of which group is in which fold

    Raises:
        ValueError: there are fewer than three folds
    """
    others = np.setdiff1d(np.arange(len(groups)), np.array(alone, dtype=int))
    n_groups = len(np.unique(groups[others]))
    if n_folds < LEAST:
        raise ValueError(f"--folds is {n_folds}: give at least {LEAST}, or nothing is known of how errors differ.")
    if n_groups < LEAST:
        raise ValueError(
            f"a race needs {LEAST} groups of structures that are independent of each other, found {n_groups}: label "
            "more, or train by the config of `plan`."
        )
    return [others[part] for part in folds(groups[others].tolist(), n_folds, seed)]


def half_of(train: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """About half of the structures that are trained on, groups together; at least one.

    Args:
        train: indices of structures
        groups: of all structures
        seed: of which half
    """
    order = np.random.default_rng(seed).permutation(np.unique(groups[train]))
    sizes = np.cumsum([np.sum(groups[train] == group) for group in order])
    kept = order[: max(1, int(np.searchsorted(sizes, len(train) / 2, side="left")) + 1)]
    return train[np.isin(groups[train], kept)]

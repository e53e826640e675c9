"""Stratified splits, and orders in which every prefix is a small picture of the whole.

A *stratum* is a tuple of labels from coarse to fine, ``("AIMD-NVT", "605 K")``. A *family* is a
set of structures that are the same to an equivariant model (copies under rotation): it is never
divided between two parts, because a test on a rotated training structure tests nothing.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain, zip_longest

import numpy as np

Stratum = tuple[str, ...]


def split(
    strata: Sequence[Stratum],
    families: Sequence[Hashable] | None = None,
    *,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> dict[str, list[int]]:
    """Divide ``range(len(strata))`` into ``train``, ``val`` and ``test``, stratum by stratum.

    In a stratum of m families, ``round(fraction * m)`` go to each of test and val, and at least
    one where m is 3 or more; a smaller stratum is all training.

    Args:
        strata: one per structure, length n.
        families: one per structure, length n; ``None`` makes every structure its own family.
        val_fraction, test_fraction: shares of the families of each stratum, together below 1.
        seed: same seed, same split, independent of the order of equal draws elsewhere.

    Returns:
        sorted indices of each part; every index is in exactly one of them.

    Raises:
        ValueError: fractions that are negative or leave nothing to train on.
    """
    if min(val_fraction, test_fraction) < 0 or val_fraction + test_fraction >= 1:
        raise ValueError(
            f"val_fraction {val_fraction} and test_fraction {test_fraction} must be at least 0 "
            "and add up to less than 1"
        )
    rng = np.random.default_rng(seed)
    parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for members in _by_family(range(len(strata)), strata, families):
        members = _shuffled(members, rng)
        n_test = _share(test_fraction, len(members))
        n_val = _share(val_fraction, len(members))
        parts["test"] += chain(*members[:n_test])
        parts["val"] += chain(*members[n_test : n_test + n_val])
        parts["train"] += chain(*members[n_test + n_val :])
    return {name: sorted(indices) for name, indices in parts.items()}


def representative_order(
    indices: Iterable[int],
    strata: Sequence[Stratum],
    families: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
) -> list[int]:
    """Order ``indices`` so that the first n of them have the proportions of all, for every n.

    The coarse labels are apportioned first and the finer ones within them, each by
    :func:`interleave`. Within a stratum the families take turns, so a short prefix does not
    spend two places on copies of one structure. Equal claims are settled by the seed.

    Args:
        indices: which structures to order.
        strata, families: as for :func:`split`, for all structures.
        seed: chooses which members of a stratum come first.
    """
    rng = np.random.default_rng(seed)

    def order(some: list[int], depth: int) -> list[int]:
        groups = defaultdict(list)
        for index in some:
            groups[strata[index][depth : depth + 1]].append(index)
        if list(groups) == [()]:  # no finer label left
            (members,) = _by_family(some, strata, families)
            turns = zip_longest(*(_shuffled(family, rng) for family in _shuffled(members, rng)))
            return [index for turn in turns for index in turn if index is not None]
        groups = _shuffled([groups[label] for label in sorted(groups)], rng)
        return interleave([order(group, depth + 1) for group in groups])

    return order(sorted(indices), 0)


def interleave(lists: Sequence[list]) -> list:
    """Merge lists so that each prefix of length n shares its n places fairly among them.

    Item k of a list of length L gets the position (k + 1/2) / L. Sorting by it makes every
    prefix the Webster (Sainte-Laguë) apportionment of its places to the lists.
    """
    places = [((k + 0.5) / len(items), j, k) for j, items in enumerate(lists) for k in range(len(items))]
    return [lists[j][k] for _, j, k in sorted(places)]


def _by_family(
    indices: Iterable[int], strata: Sequence[Stratum], families: Sequence[Hashable] | None
) -> list[list[list[int]]]:
    """Strata in sorted order, each a list of families, each a list of indices."""
    found: dict[Stratum, dict[Hashable, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index in indices:
        family = index if families is None else families[index]
        found[strata[index]][family].append(index)
    return [list(found[stratum].values()) for stratum in sorted(found)]


def _share(fraction: float, n: int) -> int:
    return max(round(fraction * n), 1 if fraction and n >= 3 else 0)


def _shuffled(items: list, rng: np.random.Generator) -> list:
    return [items[i] for i in rng.permutation(len(items))]

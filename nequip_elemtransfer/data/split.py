"""How a set is divided: stratified splits, orders in which every prefix is a small picture of the whole, and the files.

A *stratum* is a tuple of labels from coarse to fine, ``("AIMD-NVT", "605 K")``. A *family* is a
set of structures that are the same to an equivariant model (copies under rotation): it is never
divided between two parts, because a test on a rotated training structure tests nothing.

``{El}_train.xyz``, ``{El}_val.xyz`` and ``{El}_test.xyz`` are disjoint. ``{El}_train_{n}.xyz``
holds the first n structures of ``{El}_train.xyz``, so the small sets are nested.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from nequip_elemtransfer.output.atomic import require_folder, written_together

Stratum = tuple[str, ...]
_PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Division:
    """How a set is divided into files.

    Args:
        sizes: numbers of structures in the small training sets.
        seed: fixes which structures are train, val and test.
        subset_seed: orders the training structures, and so chooses the small sets; ``seed`` if None. Several subset
            seeds share one hold-out.
    """

    sizes: Sequence[int] = (5, 10, 25)
    seed: int = 0
    subset_seed: int | None = None

    def names(self, system: str) -> list[str]:
        """Names of the files that :meth:`files` makes of a set."""
        return [*(f"{system}_{part}.xyz" for part in _PARTS), *(f"{system}_train_{n}.xyz" for n in self.sizes)]

    def parts(
        self, system: str, strata: Sequence[Stratum], families: Sequence[Hashable] | None = None
    ) -> dict[str, list[int]]:
        """:func:`split` of a set, once it has enough structures.

        Raises:
            ValueError: a part is empty, or a small set larger than the training part.
        """
        parts = split(strata, families, seed=self.seed)
        for part, indices in parts.items():
            if not indices:
                raise ValueError(f"too few {system} structures to leave any for the {part} part")
        n_train = len(parts["train"])
        for n in self.sizes:
            if not 1 <= n <= n_train:
                raise ValueError(
                    f"sizes: {n} {system} structures were asked of {n_train} for training; "
                    f"choose sizes from 1 to {n_train}"
                )
        return parts

    def files(
        self,
        system: str,
        frames: Sequence[Atoms],
        strata: Sequence[Stratum],
        families: Sequence[Hashable] | None = None,
    ) -> dict[str, list[Atoms]]:
        """The structures of each file by its name, ``{"Ge_train.xyz": [...], ...}``.

        Args:
            system: name of the set, starts the file names.
            frames: n labelled structures.
            strata, families: one each per structure.

        Raises:
            ValueError: see :meth:`parts`.
        """
        seeds = dict.fromkeys(_PARTS, self.seed)
        if self.subset_seed is not None:
            seeds["train"] = self.subset_seed
        files = {}
        for part, indices in self.parts(system, strata, families).items():
            order = representative_order(indices, strata, families, seed=seeds[part])
            files[f"{system}_{part}.xyz"] = [frames[i] for i in order]
        return files | {f"{system}_train_{n}.xyz": files[f"{system}_train.xyz"][:n] for n in self.sizes}


# as most sets are divided
DEFAULT_DIVISION = Division()


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
    parts: dict[str, list[int]] = {part: [] for part in _PARTS}
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
        groups: dict[Stratum, list[int]] = defaultdict(list)
        for index in some:
            groups[strata[index][depth : depth + 1]].append(index)
        if list(groups) == [()]:  # no finer label left
            (members,) = _by_family(some, strata, families)
            turns = zip_longest(*(_shuffled(family, rng) for family in _shuffled(members, rng)))
            return [index for turn in turns for index in turn if index is not None]
        shuffled = _shuffled([groups[label] for label in sorted(groups)], rng)
        return interleave([order(group, depth + 1) for group in shuffled])

    return order(sorted(indices), 0)


def interleave(lists: Sequence[list[Any]]) -> list[Any]:
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


def _shuffled(items: list[Any], rng: np.random.Generator) -> list[Any]:
    return [items[i] for i in rng.permutation(len(items))]


def write_files(out: Path, files: Mapping[str, Sequence[Atoms]], *, force: bool = False) -> None:
    """Write each list of frames as extxyz into ``out``, all of them or none.

    Raises:
        NotADirectoryError, FileExistsError: see :func:`.atomic.require_folder`; nothing is written.
    """
    require_folder(out, files, force=force)
    out.mkdir(parents=True, exist_ok=True)
    with written_together([out / name for name in files], force=force) as paths:
        for path, frames in zip(paths, files.values()):
            ase.io.write(path, frames, format="extxyz")

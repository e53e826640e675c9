"""The files of a data set: their names, what is in them, and how they are written.

``{El}_train.xyz``, ``{El}_val.xyz`` and ``{El}_test.xyz`` are disjoint. ``{El}_train_{n}.xyz``
holds the first n structures of ``{El}_train.xyz``, so the small sets are nested.
"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import ase.io
from ase import Atoms

from nequip_elemtransfer.output.atomic import require_folder, written_together

from . import DEFAULT_SIZES
from .split import Stratum, representative_order, split


def part_names(element: str, sizes: Sequence[int] = DEFAULT_SIZES) -> list[str]:
    """Names of the files that :func:`divide` makes for ``element``."""
    return [f"{element}_{part}.xyz" for part in ("train", "val", "test")] + [f"{element}_train_{n}.xyz" for n in sizes]


def divide(
    element: str,
    frames: Sequence[Atoms],
    strata: Sequence[Stratum],
    families: Sequence[Hashable] | None = None,
    *,
    sizes: Sequence[int] = DEFAULT_SIZES,
    seed: int = 0,
    subset_seed: int | None = None,
) -> dict[str, list[Atoms]]:
    """Split ``frames`` and name the parts, ``{"Ge_train.xyz": [...], ...}``.

    Args:
        element: chemical symbol, starts the file names.
        frames: n labelled structures.
        strata, families: one each per frame, see :mod:`.split`.
        sizes: numbers of structures in the small training sets.
        seed: fixes which frames are train, val and test.
        subset_seed: orders the training frames, and so chooses the small sets; ``seed`` if None.
            Several subset seeds share one hold-out.

    Raises:
        ValueError: see :func:`check_parts`.
    """
    parts = split(strata, families, seed=seed)
    check_parts(element, parts, sizes)
    seeds = {"train": seed if subset_seed is None else subset_seed, "val": seed, "test": seed}
    files = {}
    for part, indices in parts.items():
        order = representative_order(indices, strata, families, seed=seeds[part])
        files[f"{element}_{part}.xyz"] = [frames[i] for i in order]
    for n in sizes:
        files[f"{element}_train_{n}.xyz"] = files[f"{element}_train.xyz"][:n]
    return files


def check_parts(element: str, parts: Mapping[str, Sequence[int]], sizes: Sequence[int]) -> None:
    """Raise ValueError if a part is empty or a small set larger than the training part."""
    for part, indices in parts.items():
        if not indices:
            raise ValueError(f"too few {element} structures to leave any for the {part} part")
    n_train = len(parts["train"])
    for n in sizes:
        if not 1 <= n <= n_train:
            raise ValueError(
                f"sizes: {n} {element} structures were asked of {n_train} for training; "
                f"choose sizes from 1 to {n_train}"
            )


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

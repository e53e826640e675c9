"""Training and test sets as files: the first n structures with given labels, and the test structures of each label."""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms

from nequip_elemtransfer.output.atomic import folder_beside, put_in_place
from nequip_elemtransfer.structures.files import read_structures
from nequip_elemtransfer.study.config.entries import ALL, require_file
from nequip_elemtransfer.study.config.study_file import Structures

WHOLE = "all"


class StructureFiles:
    """The structure files of a study.

    Args:
        structures: which files, and how the test set is divided
        folder: of the files made here
    """

    def __init__(self, structures: Structures, folder: Path):
        self._structures = structures
        self._folder = folder
        self._made: dict[Path, list[Atoms]] = {}

    def training_set(self, name: str, labels: Mapping[str, Any], size: int | str, seed: int) -> tuple[Path, int]:
        """The first ``size`` structures with ``labels``: the file that will hold them, and how many they are.

        Args:
            name: of these labels
            labels: label -> value, or list of values, of ``Atoms.info``
            size: a number, or ``all``
            seed: fills in ``{seed}`` in the path of the structures

        Raises:
            ValueError: there are fewer structures
        """
        path = self._structures.train.replace("{seed}", str(seed))
        frames = structures_with(path, labels)
        whose = f" with {dict(labels)}" if labels else ""
        count = len(frames) if size == ALL else int(size)
        if not 1 <= count <= len(frames):
            raise ValueError(
                f"`sizes` has {count}, but {path} holds {len(frames)} structures{whose}: choose sizes up to that, or "
                "all."
            )
        of_seed = f"-seed{seed}" if "{seed}" in self._structures.train else ""
        file = self._folder / f"train-{name}{of_seed}-n{count}.xyz"
        self._made[file] = frames[:count]
        return file, count

    def test_sets(self) -> dict[str, Path]:
        """Name -> file of the whole test set, first, and of its divisions; empty if the configs bring their own."""
        if self._structures.test is None:
            return {}
        frames = structures_in(self._structures.test)
        sets: dict[str, list[Atoms]] = {WHOLE: list(frames)}
        label = self._structures.test_by
        if label is not None:
            for atoms in frames:
                if label not in atoms.info:
                    known = ", ".join(sorted({name for frame in frames for name in frame.info})) or "none"
                    raise ValueError(
                        f"`structures.test_by` is {label!r}, which not every structure of {self._structures.test} has; "
                        f"labels in the file: {known}."
                    )
                sets.setdefault(_name(atoms.info[label]), []).append(atoms)
        files = {name: self._folder / f"test-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.xyz" for name in sets}
        for file in files.values():
            alike = [other for other in files if files[other] == file]
            if len(alike) > 1:
                raise ValueError(
                    f"`structures.test_by` is {label!r}, whose values {alike} would share the file {file.name}: rename "
                    "them in letters and digits."
                )
        self._made |= {files[name]: members for name, members in sets.items()}
        return files

    def write(self) -> None:
        """Write all files that were asked for; one that exists with the same content is left alone.

        Raises:
            ValueError: a file exists with other structures
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for path, frames in self._made.items():
            with folder_beside(path) as folder:
                staged = folder / path.name
                ase.io.write(staged, frames, format="extxyz")
                if not path.exists():
                    put_in_place(staged, path, force=False)
                elif path.read_bytes() != staged.read_bytes():
                    raise ValueError(
                        f"{path} was made from other structures than those that the study names now: give another "
                        "--out."
                    )


@lru_cache(maxsize=64)
def structures_in(path: str) -> tuple[Atoms, ...]:
    """All structures of a file that the study names, read once.

    Raises:
        FileNotFoundError, ValueError: a sentence on what is wrong
    """
    require_file("structures", path)
    return tuple(read_structures(path))


def structures_with(path: str, labels: Mapping[str, Any]) -> list[Atoms]:
    """Those in which each label has the value, or one of the values, in ``Atoms.info``; see :func:`structures_in`."""
    wanted = {name: value if isinstance(value, list) else [value] for name, value in labels.items()}
    return [
        atoms
        for atoms in structures_in(path)
        if all(name in atoms.info and atoms.info[name] in values for name, values in wanted.items())
    ]


def _name(value: Any) -> str:
    """``300`` of 300.0, for the name of a test set."""
    return f"{value:g}" if isinstance(value, float) else str(value)

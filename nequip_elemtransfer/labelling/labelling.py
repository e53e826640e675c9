"""Structures with a calculator's labels, from one file to another.

What is labelled so far is kept in a journal, a line for each structure, beside the file that they are for: the same
call goes on where a killed one stopped.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from nequip_elemtransfer.calculators.process import LabellingPool
from nequip_elemtransfer.materials.calculator import read_description
from nequip_elemtransfer.output.atomic import require_writable, written_together
from nequip_elemtransfer.output.processes import locked, sigterm_interrupts
from nequip_elemtransfer.output.progress import progress_bar
from nequip_elemtransfer.structures.names import entries, looks_labelled, without
from nequip_elemtransfer.structures.reading import read_structures

Answer = dict[str, Any] | str

_JOURNAL, _LOG = ".journal", ".log"
_LABELS = {*all_properties, "virial"}


@dataclass(frozen=True)
class Labelling:
    """What became of structures.

    Args:
        labelled: number of them
        failed: index of a structure in its file -> why it was left out
        without_stress: number of those periodic in three directions that the calculator has no stress of
        journal: file with the failures, which ``retry`` begins with; None if there are none
        said: sentences on how the file was read
    """

    labelled: int
    failed: dict[int, str]
    without_stress: int
    journal: Path | None
    said: tuple[str, ...] = ()


class Journal:
    """The answers of a calculator to structures; use as a context, which keeps other processes out.

    Args:
        path: of the file
        made_of: what the answers depend on, plain data

    Raises:
        ValueError: the file is of something else, or another process works with it
    """

    def __init__(self, path: Path, made_of: Mapping[str, Any]) -> None:
        self.path, self._made_of = path, json.loads(json.dumps(made_of))
        self.answers: dict[int, Answer] = {}

    def __enter__(self) -> "Journal":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO = open(self.path, "a+", encoding="utf-8")
        if not locked(self._file, without_locks=True):
            self._file.close()
            raise ValueError(f"another `nequip-elemtransfer label` writes {self.path}: wait for it, or end it.")
        try:
            self._read()
        except ValueError:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        if self.path.exists() and not self.answers:
            self.path.unlink()  # nothing to go on from
        self._file.close()

    def add(self, place: int, answer: Answer) -> None:
        """Keep an answer: labels, or the reason why there are none."""
        self.answers[place] = answer
        self._write({"structure": place, ("failed" if isinstance(answer, str) else "labels"): answer})

    @property
    def failed(self) -> dict[int, str]:
        """Place of a structure -> why it has no labels."""
        return {place: answer for place, answer in sorted(self.answers.items()) if isinstance(answer, str)}

    def _read(self) -> None:
        self._file.seek(0)
        # the last line may have been cut off by a kill
        *lines, _ = self._file.read().split("\n")
        if not lines:
            self._file.truncate(0)
            self._write(self._made_of)
            return
        if json.loads(lines[0]) != self._made_of:
            raise ValueError(
                f"{self.path} was begun with other structures or another calculator: give another --out, or remove it."
            )
        for line in lines[1:]:
            entry = json.loads(line)
            self.answers[entry["structure"]] = entry["failed"] if "failed" in entry else entry["labels"]
        self._file.truncate(sum(len(line.encode()) + 1 for line in lines))

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry, default=_plain) + "\n")
        self._file.flush()


def label_structures(
    structures: str | Path,
    calculator: str | Path,
    out: Path,
    *,
    jobs: int = 1,
    time_limit: float | None = None,
    retry: bool = False,
    force: bool = False,
    progress: bool = False,
) -> Labelling:
    """Write structures with energies (eV), forces (eV/Å) and stresses (eV/Å³) of a calculator as extended XYZ.

    Stresses are left out for structures that are not periodic in three directions. What is labelled is kept in a file
    beside ``out`` until all is done, so that the same call goes on where a killed one stopped.

    Args:
        structures: any file that ASE reads; labels in it are ignored
        calculator: YAML file that describes an ASE calculator
        out: extended XYZ file
        jobs: processes at a time, with a calculator each
        time_limit: seconds that one structure may take; None for any
        retry: try again what failed in an earlier call
        force: replace ``out`` if it exists
        progress: show a bar

    Raises:
        ValueError: a number is out of range, the calculator cannot be made, or has labels of no structure
        FileNotFoundError, UnreadableFile, UnusableStructure: see :func:`.reading.read_structures`
        OSError: ``out`` exists or cannot be written
    """
    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}: at least one process has to run.")
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"--time-limit is {time_limit:g}: give seconds above zero.")
    description = read_description(calculator)
    require_writable(out, force)
    read = read_structures(structures, labels=False)
    frames = read.structures
    made_of = {"calculator": description, "structures": digest_of(frames)}
    journal_file, log = (out.with_name(out.name + suffix) for suffix in (_JOURNAL, _LOG))
    with sigterm_interrupts(), Journal(journal_file, made_of) as journal:
        done = {i for i, answer in journal.answers.items() if not (retry and isinstance(answer, str))}
        waiting = {i: atoms for i, atoms in enumerate(frames) if i not in done}
        bar = progress_bar(total=len(frames), initial=len(done), unit="structure", disable=not progress)
        with bar, LabellingPool(f"the calculator of {calculator}", description, jobs, time_limit, log) as pool:
            for place, answer in pool.label(waiting):
                journal.add(place, answer)
                bar.update()
        result = _write(frames, journal, str(description["_target_"]), out, force)
        if not result.failed:
            journal_file.unlink()
            log.unlink()
    return replace(result, said=read.said)


def with_labels(atoms: Atoms, labels: Mapping[str, Any], calculator: str) -> Atoms:
    """The structure with these labels and no others, and in ``info`` the name of the calculator."""
    found = atoms.copy()
    without(found, [name for name in entries(found) if name in _LABELS or looks_labelled(name)])
    found.info["calculator"] = calculator
    there = {name: np.array(value) for name, value in labels.items() if value is not None}
    found.calc = SinglePointCalculator(found, **there | {"energy": float(labels["energy"])})
    return found


def _write(frames: list[Atoms], journal: Journal, calculator: str, out: Path, force: bool) -> Labelling:
    answers: list[tuple[int, Answer]] = sorted(journal.answers.items())
    labelled = {i: answer for i, answer in answers if not isinstance(answer, str)}
    if not labelled:
        place, reason = next(iter(journal.failed.items()))
        raise ValueError(
            f"{calculator} labels none of the {len(frames)} structures; the first, no. {place}: {reason}. "
            f"All reasons are in {journal.path}; --retry tries again."
        )
    structures = [with_labels(frames[i], labels, calculator) for i, labels in labelled.items()]
    with written_together([out], force=force) as (staged,):
        ase.io.write(staged, structures, format="extxyz")
    without = sum(frames[i].pbc.all() and labels["stress"] is None for i, labels in labelled.items())
    return Labelling(len(labelled), journal.failed, int(without), journal.path if journal.failed else None)


def digest_of(structures: Sequence[Atoms]) -> str:
    """SHA-256 of what a calculator sees of structures."""
    digest = hashlib.sha256()
    for atoms in structures:
        for array in (atoms.numbers, atoms.positions, np.asarray(atoms.cell), atoms.pbc):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(repr(sorted(atoms.info.items(), key=lambda item: item[0])).encode())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    return np.asarray(value).tolist()

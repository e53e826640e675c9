"""What is labelled so far, a line for each structure beside the file that they are for: a killed command goes on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase import Atoms

from nequip_elemtransfer.output.processes import locked

Answer = dict[str, Any] | str


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

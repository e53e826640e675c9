"""The trainings of a race, which are run up to a step and continued from there if they may go on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms

from nequip_elemtransfer.study.grid import FINISHED_FILE, Run, run_folder
from nequip_elemtransfer.study.run.results import validations
from nequip_elemtransfer.study.run.tasks import Training

# what a training writes of the structures that it is tested on; NequIP adds the number of the test set
PREDICTIONS = "held_out"
_FILE = f"{PREDICTIONS}_dataset0.xyz"


class Lap(Training):
    """A training up to a step, with a test there.

    Args:
        run: of the training
        out: folder of the race
        until: optimizer steps that are to be done in all
        n_held_out: structures that it is tested on
    """

    def __init__(self, run: Run, out: Path, until: int, n_held_out: int) -> None:
        super().__init__(run, out)
        self._until, self._n_held_out = until, n_held_out

    def command(self) -> list[str]:
        return [*super().command(), f"trainer.max_steps={self._until}"]

    def is_finished(self) -> bool:
        noted = self.noted()
        if noted is None and self._has_been_there():
            self.mark_finished()
            return True
        return noted is not None and noted["steps"] >= self._until

    def mark_finished(self, **more: Any) -> None:
        super().mark_finished(steps=self._until, **more)

    def make_ready(self) -> None:
        for name in (FINISHED_FILE, _FILE):
            (self.folder / name).unlink(missing_ok=True)
        super().make_ready()

    def _has_been_there(self) -> bool:
        """Whether the training was interrupted beyond the step, or one of Hydra's launchers has run and tested it."""
        seen = validations(self.folder)
        if not seen or seen[-1].steps < self._until:
            return False
        return seen[-1].steps > self._until or len(self._predicted()) == self._n_held_out

    def _predicted(self) -> Sequence[Atoms]:
        return predictions(self.folder.parents[1], self.name)


def predictions(out: Path, run: str) -> Sequence[Atoms]:
    """What the model of a training predicts for the structures that were held out; empty before the test."""
    path = run_folder(out, run) / _FILE
    if not path.is_file():
        return []
    found = ase.io.read(path, ":", format="extxyz")
    return found if isinstance(found, list) else [found]

"""Trainings as tasks: each a process of its own in a folder of its own; see :mod:`.folder` for what that says."""

import json
import sys
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.study.folder import FAILED_FILE, FINISHED_FILE, State, free_path, run_folder, state_of
from nequip_elemtransfer.study.grid import Run
from nequip_elemtransfer.study.run.machine import machine
from nequip_elemtransfer.study.run.metrics import tested
from nequip_elemtransfer.study.run.training_configs import GROUP, PRIMARY, RESTART

LOG_FILE = "nequip-train.log"


class Task(ABC):
    """One process.

    Attributes:
        name: of the task, unique in a study
        folder: of its files
        log: file that its output is added to
        needs: names of tasks that must be finished before
    """

    name: str
    folder: Path
    log: Path
    needs: tuple[str, ...]

    @abstractmethod
    def command(self) -> list[str]:
        """The command to run."""

    @abstractmethod
    def make_ready(self) -> None:
        """Prepare the folder for running, or for going on after an interruption; nothing in it is lost."""

    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        return state_of(self.folder) is State.FINISHED

    def mark_finished(self) -> None:
        """Mark the task as done."""
        self._mark(FINISHED_FILE, {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "machine": machine()})

    def mark_failed(self, exit_code: int, reason: str) -> None:
        """Mark the task as failed."""
        self._mark(FAILED_FILE, {"exit_code": exit_code, "reason": reason})

    def _mark(self, name: str, content: Mapping[str, Any]) -> None:
        with written_together([self.folder / name]) as (partial,):
            partial.write_text(json.dumps(content) + "\n", encoding="utf-8")


class Training(Task):
    """A run of ``nequip-train``, which continues from its last ``restart.ckpt``."""

    def __init__(self, run: Run, out: Path):
        self.name = run.name
        self.folder = run_folder(out.resolve(), run.name)
        self.log = self.folder / LOG_FILE
        self.needs = () if run.needs is None else (run.needs,)
        self._configs = out.resolve() / PRIMARY

    def command(self) -> list[str]:
        args = ["-cp", str(self._configs), "-cn", PRIMARY, f"+{GROUP}={self.name}", f'hydra.run.dir="{self.folder}"']
        if (self.folder / RESTART).exists():
            args.append(f'++ckpt_path="{self.folder / RESTART}"')
        return [sys.executable, "-m", "nequip.scripts.train", *args]

    def make_ready(self) -> None:
        if self.folder.exists():
            self._continue()
        self.folder.mkdir(parents=True, exist_ok=True)

    def is_finished(self) -> bool:
        if state_of(self.folder) is State.INTERRUPTED and tested(self.folder):  # by one of Hydra's launchers
            self.mark_finished()
        return super().is_finished()

    def _continue(self) -> None:
        (self.folder / FAILED_FILE).unlink(missing_ok=True)
        restart = self.folder / RESTART
        if restart.exists() and not zipfile.is_zipfile(restart):  # cut off while being written
            restart.unlink()
        if restart.exists():
            # Lightning deletes the metrics of an earlier start in the same folder
            for metrics in self.folder.glob("metrics/metrics.csv"):
                metrics.rename(free_path(metrics.with_name("metrics.before_{}.csv")))
        else:
            self.folder.rename(free_path(self.folder.with_name(self.folder.name + ".before_{}")))

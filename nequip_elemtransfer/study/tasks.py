"""What a study does, each in a process of its own: trainings, and evaluations of what was trained.

What the folder of a task says about it:

- ``finished.json``: it is done, and never repeated;
- ``failed.json``: it ended with an error, which is in its log;
- neither: it was interrupted, or is running.
"""

import json
import sys
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.study.evaluations import ALL, PLAN, PROPERTIES, STABILITY, Evaluations, without_sizes
from nequip_elemtransfer.study.grid import SOURCE, Grid, Run
from nequip_elemtransfer.study.machine import machine
from nequip_elemtransfer.study.run_results import FAILED, FINISHED, LOG, State, run_state, tested
from nequip_elemtransfer.study.training_configs import GROUP, PRIMARY, RESTART

REFERENCE = "reference"
RESULT = "result.json"


def run_folder(out: Path, run: str) -> Path:
    """Folder of a training in that of the study."""
    return out / "runs" / run


def evaluation_folder(out: Path, part: str, model: str) -> Path:
    """Folder of an evaluation in that of the study."""
    return out / "evaluations" / part / model


def simulation_name(begin: str, temperature: float, index: int) -> str:
    """File of a simulation in the folder of its evaluation."""
    return f"{begin}-{temperature:g}K-{index}.json"


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
        return run_state(self.folder) is State.FINISHED

    def mark_finished(self) -> None:
        """Mark the task as done."""
        self._mark(FINISHED, {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "machine": machine()})

    def mark_failed(self, exit_code: int, reason: str) -> None:
        """Mark the task as failed."""
        self._mark(FAILED, {"exit_code": exit_code, "reason": reason})

    def _mark(self, name: str, content: Mapping[str, Any]) -> None:
        with written_together([self.folder / name]) as (partial,):
            partial.write_text(json.dumps(content) + "\n", encoding="utf-8")


class Training(Task):
    """A run of ``nequip-train``, which continues from its last ``restart.ckpt``."""

    def __init__(self, run: Run, out: Path):
        self.name = run.name
        self.folder = run_folder(out.resolve(), run.name)
        self.log = self.folder / LOG
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
        if run_state(self.folder) is State.INTERRUPTED and tested(self.folder):  # by one of Hydra's launchers
            self.mark_finished()
        return super().is_finished()

    def _continue(self) -> None:
        (self.folder / FAILED).unlink(missing_ok=True)
        restart = self.folder / RESTART
        if restart.exists() and not zipfile.is_zipfile(restart):  # cut off while being written
            restart.unlink()
        if restart.exists():
            # Lightning deletes the metrics of an earlier start in the same folder
            for metrics in self.folder.glob("metrics/metrics.csv"):
                metrics.rename(free_path(metrics.with_name("metrics.before_{}.csv")))
        else:
            self.folder.rename(free_path(self.folder.with_name(self.folder.name + ".before_{}")))


@dataclass(frozen=True)
class Evaluation(Task):
    """One part of the evaluation of one model; it is finished for the settings that it was done with.

    Args:
        part: ``properties``, ``stability`` or ``plan``
        model: name of a run, or ``reference``
        settings: of the part
        out: folder of the study
        needs: names of trainings
    """

    part: str
    model: str
    settings: Mapping[str, Any]
    out: Path
    needs: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.part} of {self.model}"

    @property
    def folder(self) -> Path:
        return evaluation_folder(self.out.resolve(), self.part, self.model)

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "nequip_elemtransfer.study.evaluate", str(self.out), self.part, self.model]

    def make_ready(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / FAILED).unlink(missing_ok=True)

    def is_finished(self) -> bool:
        path = self.folder / FINISHED
        return path.exists() and json.loads(path.read_text(encoding="utf-8"))["settings"] == self._settings()

    def mark_finished(self) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self._mark(FINISHED, {"time": now, "machine": machine(), "settings": self._settings()})

    def _settings(self) -> Any:
        return json.loads(json.dumps(self.settings))  # as it is read back


def all_tasks(grid: Grid, out: Path) -> list[Task]:
    """Everything that a study does; each task that others need comes before them."""
    return [*(Training(run, out) for run in grid.runs), *evaluation_tasks(grid, out)]


def evaluation_tasks(grid: Grid, out: Path) -> list[Evaluation]:
    """The evaluations of a study, the reference first."""
    evaluations = Evaluations.from_mapping(grid.evaluations)
    first_seed = min((run.settings["seed"] for run in select(grid.runs, None)), default=0)
    tasks = []
    for part in (PROPERTIES, STABILITY, PLAN):
        settings = getattr(evaluations, part)
        if settings is None:
            continue
        own = {"crystal": grid.evaluations.get("crystal"), part: without_sizes(settings)}
        if evaluations.reference.calculator is not None and part != PLAN:
            described = own | {"reference": dict(evaluations.reference.calculator)}
            tasks.append(Evaluation(part, REFERENCE, described, out, ()))
        for run in select(grid.runs, settings.sizes):
            if part != PLAN:
                tasks.append(Evaluation(part, run.name, own, out, (run.name,)))
            elif run.transfers and run.settings["seed"] == first_seed:
                tasks.append(Evaluation(part, run.name, own, out, () if run.needs is None else (run.needs,)))
    return tasks


def select(runs: Sequence[Run], sizes: Sequence[int | str] | None) -> list[Run]:
    """Trainings of the target with one of the sizes; ``all`` is the largest, None any."""
    targets = [run for run in runs if run.settings["start"] != SOURCE]
    if sizes is None:
        return targets
    largest = max((run.settings["size"] or 0 for run in targets), default=0)
    wanted = {largest if size == ALL else size for size in sizes}
    return [run for run in targets if run.settings["size"] in wanted]


def free_path(pattern: Path) -> Path:
    """The first path that does not exist, numbers in place of ``{}``."""
    number = 1
    while (path := Path(str(pattern).format(number))).exists():
        number += 1
    return path

"""Which evaluations a study asks for, each a task of its own."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.study.config.evaluation_settings import (
    PLAN,
    PROPERTIES,
    STABILITY,
    EvaluationSettings,
    without_sizes,
)
from nequip_elemtransfer.study.folder import FAILED_FILE, FINISHED_FILE, REFERENCE, evaluation_folder
from nequip_elemtransfer.study.grid import Grid, runs_of_sizes
from nequip_elemtransfer.study.measure.kept import made_from
from nequip_elemtransfer.study.run.machine import machine
from nequip_elemtransfer.study.run.tasks import Task
from nequip_elemtransfer.study.run.training_configs import PRIMARY

EVALUATIONS_PRIMARY, EVALUATION_GROUP = "evaluations", "evaluation"


@dataclass(frozen=True)
class Evaluation(Task):
    """One evaluation of one model; it is finished for the settings and the checkpoint that it was done with.

    Args:
        kind: ``properties``, ``stability`` or ``plan``
        model: name of a run, or ``reference``
        settings: of the evaluation
        out: folder of the study
        needs: names of trainings
    """

    kind: str
    model: str
    settings: Mapping[str, Any]
    out: Path
    needs: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.kind} of {self.model}"

    @property
    def folder(self) -> Path:
        return evaluation_folder(self.out.resolve(), self.kind, self.model)

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "nequip_elemtransfer.study.measure.worker", str(self.out), self.kind, self.model]

    def make_ready(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / FAILED_FILE).unlink(missing_ok=True)

    def is_finished(self) -> bool:
        path = self.folder / FINISHED_FILE
        return path.exists() and json.loads(path.read_text(encoding="utf-8"))["settings"] == self._settings()

    def mark_finished(self) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self._mark(FINISHED_FILE, {"time": now, "machine": machine(), "settings": self._settings()})

    def _settings(self) -> Any:
        settings = {**self.settings, **made_from(self.out, self.kind, self.model)}
        return json.loads(json.dumps(settings))  # as it is read back


def evaluation_tasks(grid: Grid, out: Path) -> list[Evaluation]:
    """The evaluations of a study, the reference first."""
    evaluations = EvaluationSettings.from_mapping(grid.evaluations)
    first_seed = min((run.settings["seed"] for run in runs_of_sizes(grid.runs, None)), default=0)
    tasks = []
    for kind in (PROPERTIES, STABILITY, PLAN):
        settings = getattr(evaluations, kind)
        if settings is None:
            continue
        own = {"crystal": grid.evaluations.get("crystal"), kind: without_sizes(settings)}
        if evaluations.molecules is not None and kind == PROPERTIES:
            own["molecules"] = grid.evaluations["molecules"]
        if evaluations.reference.calculator is not None and kind != PLAN:
            described = own | {"reference": dict(evaluations.reference.calculator)}
            tasks.append(Evaluation(kind, REFERENCE, described, out, ()))
        for run in runs_of_sizes(grid.runs, settings.sizes):
            if kind != PLAN:
                tasks.append(Evaluation(kind, run.name, own, out, (run.name,)))
            elif run.transfers and run.settings["seed"] == first_seed:
                tasks.append(Evaluation(kind, run.name, own, out, () if run.needs is None else (run.needs,)))
    return tasks


def write_evaluation_configs(tasks: Sequence[Evaluation], out: Path) -> None:
    """Write the evaluations of a study as a config group of Hydra, beside that of its trainings.

    Args:
        tasks: the evaluations
        out: folder of the study
    """
    folder = out / PRIMARY / EVALUATION_GROUP
    folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        _write(folder / f"{task.kind}-{task.model}.yaml", {"evaluation": {"kind": task.kind, "model": task.model}})
    sweep = {"dir": str((out / "jobs").resolve()), "subdir": "${hydra:runtime.choices." + EVALUATION_GROUP + "}"}
    _write(out / PRIMARY / f"{EVALUATIONS_PRIMARY}.yaml", {"study": str(out.resolve()), "hydra": {"sweep": sweep}})


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with written_together([path], force=True) as (partial,):
        partial.write_text("# @package _global_\n" + yaml.safe_dump(content), encoding="utf-8")

"""Which evaluations a study asks for, each a task of its own, and their results.

A result is kept with the settings and the checkpoint that it was made with.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from nequip_elemtransfer.checkpoints.gate import sha256_of
from nequip_elemtransfer.output.atomic import write_text
from nequip_elemtransfer.study.config.evaluation_settings import PLAN, PROPERTIES, STABILITY, EvaluationSettings
from nequip_elemtransfer.study.grid import REFERENCE, Grid, checkpoint_of, evaluation_folder, free_path, read_json
from nequip_elemtransfer.study.measure.plan import source_of
from nequip_elemtransfer.study.run.tasks import Task
from nequip_elemtransfer.study.run.training_configs import option_text, write_group

RESULT_FILE = "result.json"
EVALUATIONS_PRIMARY, EVALUATION_GROUP = "evaluations", "evaluation"


class Evaluation(Task):
    """One evaluation of one model; it is finished for the settings and the checkpoint that it was done with.

    Args:
        kind: ``properties``, ``stability`` or ``plan``
        model: name of a run, or ``reference``
        settings: of the evaluation
        out: folder of the study
        needs: names of trainings
    """

    def __init__(self, kind: str, model: str, settings: Mapping[str, Any], out: Path, needs: tuple[str, ...]):
        super().__init__(f"{kind} of {model}", evaluation_folder(out.resolve(), kind, model), "log.txt", needs)
        self.kind, self.model, self.settings, self.out = kind, model, settings, out

    def command(self) -> list[str]:
        return [sys.executable, "-m", "nequip_elemtransfer.study.measure.worker", str(self.out), self.kind, self.model]

    def is_finished(self) -> bool:
        noted = self.noted()
        return noted is not None and bool(noted["settings"] == _as_read_back(self._all_settings()))

    def mark_finished(self, **more: Any) -> None:
        super().mark_finished(settings=self._all_settings(), **more)

    def _all_settings(self) -> dict[str, Any]:
        return {**self.settings, **made_from(self.out, self.kind, self.model)}


def evaluation_tasks(grid: Grid, out: Path) -> list[Evaluation]:
    """The evaluations of a study, the reference first."""
    evaluations = EvaluationSettings.from_mapping(grid.evaluations)
    first_seed = min((run.settings["seed"] for run in grid.targets()), default=0)
    tasks = []
    for kind in (PROPERTIES, STABILITY, PLAN):
        settings = getattr(evaluations, kind)
        if settings is None:
            continue
        own = {"crystal": grid.evaluations.get("crystal"), kind: settings.without_sizes()}
        if evaluations.molecules is not None and kind == PROPERTIES:
            own["molecules"] = grid.evaluations["molecules"]
        if evaluations.reference.calculator is not None and kind != PLAN:
            described = own | {"reference": dict(evaluations.reference.calculator)}
            tasks.append(Evaluation(kind, REFERENCE, described, out, ()))
        for run in grid.targets(settings.sizes):
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
    chosen = {f"{task.kind}-{task.model}": {"kind": task.kind, "model": task.model} for task in tasks}
    options = {name: option_text({"evaluation": one}) for name, one in chosen.items()}
    write_group(out, EVALUATIONS_PRIMARY, EVALUATION_GROUP, options, out / "jobs", study=str(out.resolve()))


def made_from(out: Path, kind: str, model: str) -> dict[str, str]:
    """``checkpoint``, the SHA-256 of the file that an evaluation is of: the model's, or for a plan that of the source.

    Empty for the reference, and where there is no file.
    """
    if model == REFERENCE:
        return {}
    path = source_of(out, model) if kind == PLAN else checkpoint_of(out, model)
    if path is None or not path.is_file():
        return {}
    status = path.stat()
    return {"checkpoint": _sha256(path, status.st_mtime_ns, status.st_size)}


@cache
def _sha256(path: Path, changed: int, size: int) -> str:
    """Once for each state of a file, since a report asks again and again."""
    return sha256_of(path)


def read_result(out: Path, kind: str, model: str) -> dict[str, Any] | None:
    """The result of an evaluation; None if there is none of this model."""
    return next(iter(read_all(out, kind, model, [RESULT_FILE])), None)


def read_all(out: Path, kind: str, model: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """The results that an evaluation of this model left in the files of these names, as many as there are."""
    paths = [evaluation_folder(out, kind, model) / name for name in names]
    found = [read_json(path) for path in paths if path.exists()]
    checkpoint = made_from(out, kind, model).get("checkpoint")
    return [result for result in found if result["settings"].get("checkpoint") == checkpoint]


def write_result_of(out: Path, kind: str, model: str, content: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write the result of an evaluation, see :func:`write_result`."""
    origin = made_from(out, kind, model)
    write_result(evaluation_folder(out, kind, model) / RESULT_FILE, content, {**settings, **origin})


def has_result(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the result for these settings is there."""
    return path.exists() and bool(read_json(path)["settings"] == _as_read_back(settings))


def write_result(path: Path, content: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write a result, complete or not at all; one for other settings is moved aside."""
    if path.exists() and not has_result(path, settings):
        path.rename(free_path(path.with_name(path.stem + ".before_{}" + path.suffix)))
    write_text(path, json.dumps({"settings": settings, **content}) + "\n")


def _as_read_back(settings: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(settings))

"""Table of the starts of studies beside potentials of other packages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from table_cells import ERROR_TITLES, compared, errors_of_runs

from nequip_elemtransfer.intervals import Replicate
from nequip_elemtransfer.study.config.study_file import CORRESPONDING_STATES
from nequip_elemtransfer.study.report.curves import TEST_ERRORS

_TRANSFER = "NequIP, transfer"


@dataclass(frozen=True)
class Model:
    """One way to a potential.

    Args:
        size: number of training structures
        name: of the way
        errors: kind of error -> choice of training structures -> error
    """

    size: int
    name: str
    errors: Mapping[str, Mapping[Replicate, float]]


def baselines(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Errors on the same test structures: a row for each model, with differences from the transfer of its size."""
    found = models(reports)
    transfers = {model.size: model for model in found if model.name == _TRANSFER}
    header = ["structures", "model", "trainings", *ERROR_TITLES]
    return header, [_row(model, transfers.get(model.size)) for model in found]


def models(reports: Mapping[str, Any]) -> list[Model]:
    """Those of studies and of ``evidence/benchmarks/labelled_errors.py``, by the number of structures."""
    found = []
    for report in reports.values():
        found += _of_labels(report) if "models" in report else _of_study(report)
    return sorted(found, key=lambda model: model.size)


def _of_labels(report: Mapping[str, Any]) -> list[Model]:
    found = []
    for model in report["models"]:
        of_seeds = {Replicate(int(seed)): errors for seed, errors in model["errors"].items()}
        kinds = [kind for kind in TEST_ERRORS if all(kind in errors for errors in of_seeds.values())]
        errors = {kind: {seed: one[kind] for seed, one in of_seeds.items()} for kind in kinds}
        found.append(Model(model["size"], model["name"], errors))
    return found


def _of_study(report: Mapping[str, Any]) -> list[Model]:
    found = []
    for curve in report["curves"]:
        start = curve["start"]
        name = _TRANSFER if start == CORRESPONDING_STATES else f"NequIP, {start.replace('_', ' ')}"
        for point in curve["test_sets"]["all"]:
            size = point["size"]
            found.append(Model(size, name, {kind: errors_of_runs(report, start, size, kind) for kind in TEST_ERRORS}))
    return found


def _row(model: Model, transfer: Model | None) -> list[str]:
    others = {} if transfer in (None, model) else transfer.errors
    cells = {kind: compared(errors, others.get(kind), kind) for kind, errors in model.errors.items()}
    trainings = len(next(iter(model.errors.values())))
    return [str(model.size), model.name, str(trainings), *(cells.get(kind, "–") for kind in TEST_ERRORS)]

"""What ``plan`` said of the transfers of a study, beside what training showed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nequip_elemtransfer.plan.verdict import STOP
from nequip_elemtransfer.study.config.evaluation_settings import PLAN, EvaluationSettings
from nequip_elemtransfer.study.config.study_file import SCRATCH
from nequip_elemtransfer.study.grid import Grid, runs_of_sizes
from nequip_elemtransfer.study.measure.evaluation import read_result
from nequip_elemtransfer.study.report.comparison import cell_name
from nequip_elemtransfer.study.run.results import FORCE_MAE, RunResult


@dataclass(frozen=True)
class Forecast:
    """A plan and the training that it was made for. Errors are force MAE in eV/Å.

    Args:
        cell, start, size: of the training; its seed is the first of the study
        source: of the training, where the study has several
        verdict: ``go``, ``go with care`` or ``do not``
        unexplained: part of the held-out force variance that the start leaves; None if not known
        auc: of telling target from source structures, at the lengths where it is lowest; None if not known
        predicted: of the start, on training structures that it was not fitted to; None if not known
        before: validation error of the run before its first step; None if it has none
        after: test error of the run; None if it is not finished
        scratch: the same from scratch
        agrees: whether the transfer ended below scratch if the verdict lets it go, and above if not; None if not known
    """

    cell: str
    start: str
    size: int | None
    source: str | None
    verdict: str
    unexplained: float | None
    auc: float | None
    predicted: float | None
    before: float | None
    after: float | None
    scratch: float | None
    agrees: bool | None


def forecasts(grid: Grid, out: Path, results: Sequence[RunResult]) -> list[Forecast]:
    """All plans that were made; empty if the study does not ask for them."""
    settings = EvaluationSettings.from_mapping(grid.evaluations).plan
    if settings is None:
        return []
    by_name = {result.run.name: result for result in results}
    plans = ((run, read_result(out, PLAN, run.name)) for run in runs_of_sizes(grid.runs, settings.sizes))
    return [_forecast(by_name[run.name], plan, results) for run, plan in plans if plan is not None]


def _forecast(result: RunResult, plan: Mapping[str, Any], results: Sequence[RunResult]) -> Forecast:
    settings, verdict = result.run.settings, plan["verdict"]["word"]
    partner = {axis: value for axis, value in settings.items() if axis != "source"} | {"start": SCRATCH}
    scratch = next((_tested(other) for other in results if other.run.settings == partner), None)
    after = _tested(result)
    unexplained, _, auc = plan["verdict"]["numbers"].values()
    _, element_map, *_, last = plan["ladder"]  # the start is one of its steps
    predicted = (last if plan["rescales"] else element_map)["force_mae"]
    return Forecast(
        cell=cell_name(settings),
        start=settings["start"],
        size=settings["size"],
        source=result.run.replicate.source,
        verdict=verdict,
        unexplained=unexplained,
        auc=auc,
        predicted=None if predicted is None else predicted["value"],
        before=result.validations[0].force_mae if result.validations else None,
        after=after,
        scratch=scratch,
        agrees=None if after is None or scratch is None else (after < scratch) == (verdict != STOP),
    )


def _tested(result: RunResult) -> float | None:
    """Force MAE on the whole test set."""
    return next(iter(result.tests.values()), {}).get(FORCE_MAE)

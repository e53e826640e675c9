"""Tables of transfers from several sources, of one study or of several of one transfer."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from table_cells import ERROR_TITLES, compared, errors_of_runs

from nequip_elemtransfer.intervals import Replicate
from nequip_elemtransfer.study.config.study_file import CORRESPONDING_STATES, SCRATCH
from nequip_elemtransfer.study.report.curves import TEST_ERRORS
from nequip_elemtransfer.study.run.results import STRESS_MAE

_SOURCE = {"mlearn_more_structures": "first"}  # of studies that have one, by the name that others give it


def of_sources(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Means over seeds of each source, and over sources of each seed: a row for each size and error."""
    rows: list[list[str]] = []
    names: dict[str | None, None] = {}
    seeds: dict[int, None] = {}
    for size in _sizes(reports):
        for quantity, title in zip(TEST_ERRORS, ERROR_TITLES):
            errors = _errors(reports, CORRESPONDING_STATES, size, quantity)
            names |= dict.fromkeys(replicate.source for replicate in errors)
            seeds |= dict.fromkeys(sorted(replicate.seed for replicate in errors))
            means = [
                fmean(1000 * error for replicate, error in errors.items() if getattr(replicate, axis) == level)
                for axis, levels in (("source", names), ("seed", seeds))
                for level in levels
            ]
            rows.append([str(size), title, *(f"{mean:.{2 if quantity == STRESS_MAE else 1}f}" for mean in means)])
    header = ["structures", "error", *(f"{name} source" for name in names), *(f"structures {seed}" for seed in seeds)]
    return header, rows


def over_sources(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Errors from scratch and by transfer from the sources of all studies, with the difference from scratch."""
    rows = []
    for size in _sizes(reports):
        for start in (SCRATCH, CORRESPONDING_STATES):
            cells = [
                compared(
                    _errors(reports, start, size, quantity),
                    None if start == SCRATCH else _errors(reports, SCRATCH, size, quantity),
                    quantity,
                )
                for quantity in TEST_ERRORS
            ]
            rows.append([str(size), start.replace("_", " "), *cells])
    return ["structures", "start", *ERROR_TITLES], rows


def _errors(reports: Mapping[str, Any], start: str, size: int, quantity: str) -> dict[Replicate, float]:
    """Of all studies, on all test structures; transfers with the name of their source."""
    return {
        Replicate(replicate.seed, replicate.source if start == SCRATCH else replicate.source or _SOURCE[study]): error
        for study, report in reports.items()
        for replicate, error in errors_of_runs(report, start, size, quantity).items()
    }


def _sizes(reports: Mapping[str, Any]) -> list[int]:
    """Numbers of structures with which all studies have transfers."""
    found = [
        {run["settings"]["size"] for run in report["runs"] if run["settings"]["start"] == CORRESPONDING_STATES}
        for report in reports.values()
    ]
    return sorted(set.intersection(*found))

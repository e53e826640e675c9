"""Tables of what the structures of a transfer are worth, over several studies of one transfer."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from table_cells import errors_of_runs

from nequip_elemtransfer.intervals import Replicate, paired_ratio, unpaired_ratio
from nequip_elemtransfer.study.config.study_file import CORRESPONDING_STATES, SCRATCH
from nequip_elemtransfer.study.report.curves import EQUAL, MORE_THAN, TEST_ERRORS, equivalent_size, factor_interval


def efficiency(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """By how much scratch needs more structures: a row for each size of the transfer, a column for each error.

    Intervals are over the seeds that every size from scratch has.
    """
    rows = []
    for size in _sizes(reports, CORRESPONDING_STATES):
        rows.append([str(size), *(_factor(reports, quantity, size) for quantity in TEST_ERRORS)])
    return ["structures of the transfer", "by forces", "by energies", "by stresses"], rows


def ten_against_scratch(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """How the errors of ten structures by transfer differ from scratch's: a row for each of its sizes.

    Ten from scratch have the same structures, seed by seed; other sizes are other structures, so that all trainings of
    both are compared as two samples.
    """
    rows = []
    ten = {quantity: _errors(reports, CORRESPONDING_STATES, 10, quantity) for quantity in TEST_ERRORS}
    for size in _sizes(reports, SCRATCH):
        compare = paired_ratio if size == 10 else unpaired_ratio
        found = [compare(own, _errors(reports, SCRATCH, size, quantity)) for quantity, own in ten.items()]
        rows.append([str(size), *(ratio.percent for ratio in found)])
    return ["structures from scratch", "forces", "energies", "stresses"], rows


def _factor(reports: Mapping[str, Any], quantity: str, size: int) -> str:
    own = _errors(reports, CORRESPONDING_STATES, size, quantity)
    scratch = {n: _errors(reports, SCRATCH, n, quantity) for n in _sizes(reports, SCRATCH)}
    found = equivalent_size({n: fmean(errors.values()) for n, errors in scratch.items()}, fmean(own.values()), size)
    if found.bound != EQUAL:
        return f"{'>' if found.bound == MORE_THAN else '<'} {found.factor:.2g}"
    shared = [one for one in own if all(one in errors for errors in scratch.values())]
    of_seeds = {
        one.seed: equivalent_size({n: errors[one] for n, errors in scratch.items()}, own[one], size) for one in shared
    }
    interval = factor_interval(of_seeds)
    return f"{found.factor:.2g}" + (f" ({interval[0]:.2g} to {interval[1]:.2g})" if interval else "")


def _sizes(reports: Mapping[str, Any], start: str) -> list[int]:
    runs = (run["settings"] for report in reports.values() for run in report["runs"] if run["state"] == "finished")
    return sorted({settings["size"] for settings in runs if settings["start"] == start})


def _errors(reports: Mapping[str, Any], start: str, size: int, quantity: str) -> dict[Replicate, float]:
    """Of single trainings, on all test structures."""
    return {
        replicate: error
        for report in reports.values()
        for replicate, error in errors_of_runs(report, start, size, quantity).items()
    }

"""Table of what a number of labelled structures in all gives, those that a checkpoint is chosen by counted."""

from collections.abc import Mapping, Sequence
from typing import Any

from table_cells import ERROR_TITLES, compared, errors_of_runs

from nequip_elemtransfer.intervals import paired_ratio
from nequip_elemtransfer.study.config.study_file import CORRESPONDING_STATES, SCRATCH
from nequip_elemtransfer.study.report.curves import TEST_ERRORS
from nequip_elemtransfer.study.run.results import ENERGY_MAE, FORCE_MAE

_VALIDATED_ON = {"mlearn_converged": 28, "mlearn_five_structures": 28}  # of reports that do not say it


def ten_in_all(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Errors on all test structures by transfer, with their differences from scratch, and from scratch.

    A study of trainings from scratch alone is set beside the transfers of the first.
    """
    first, rows = next(iter(reports.values())), []
    for study, report in reports.items():
        for size, point in sorted(_points(report, SCRATCH).items()):
            transfers = report if _points(report, CORRESPONDING_STATES) else first
            others = _validated_on(study, report)
            cells = []
            for quantity in (FORCE_MAE, ENERGY_MAE):
                own = errors_of_runs(transfers, CORRESPONDING_STATES, size, quantity)
                scratch = errors_of_runs(report, SCRATCH, size, quantity)
                cells += [compared(own, scratch, quantity), compared(scratch, None, quantity)]
            steps = [p["steps"]["mean"] for p in (_points(transfers, CORRESPONDING_STATES)[size], point)]
            labels = f"{size} + {others} to validate on" if others else f"{size} in all"
            rows.append((size, others, [labels, *cells, " / ".join(f"{n:.0f}" for n in steps)]))
    header = [
        "labelled germanium",
        "forces by transfer (meV/Å)",
        "from scratch",
        "energies by transfer (meV/atom)",
        "from scratch",
        "steps",
    ]
    return header, [row for *_, row in sorted(rows, key=lambda row: row[:2])]


def none_held_back(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Ratios of errors by transfer of the first study, which holds none back, to those of others that do.

    Choice by choice of the same training structures.
    """
    (_, first), *others = reports.items()
    rows = []
    for study, report in others:
        for start in (CORRESPONDING_STATES, SCRATCH):
            for size in _points(report, start):
                ratios = []
                for quantity in TEST_ERRORS:
                    known = errors_of_runs(report, start, size, quantity)
                    ratio = paired_ratio(errors_of_runs(first, CORRESPONDING_STATES, size, quantity), known)
                    ratios.append("–" if ratio is None else ratio.percent)
                name = {CORRESPONDING_STATES: "by transfer", SCRATCH: "from scratch"}[start]
                other = f"{size} + {_validated_on(study, report)} to validate on, {name}"
                rows.append([f"{size} in all", other, *ratios, str(len(known))])
    return ["by transfer", "against", *(title.split(" (")[0] for title in ERROR_TITLES), "choices"], rows


def _validated_on(study: str, report: Mapping[str, Any]) -> int:
    return _VALIDATED_ON.get(study) or report["runs"][0]["validated_on"]


def _points(report: Mapping[str, Any], start: str) -> dict[int, Mapping[str, Any]]:
    """Size -> errors on all test structures."""
    return {
        row["size"]: row for curve in report["curves"] if curve["start"] == start for row in curve["test_sets"]["all"]
    }

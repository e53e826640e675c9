"""Table of the starts of studies beside potentials of other packages."""

from collections.abc import Mapping, Sequence
from typing import Any

from nequip_elemtransfer.study.report.curves import TEST_ERRORS
from nequip_elemtransfer.study.run.metrics import STRESS_MAE

_START = {"corresponding states": "transfer"}


def baselines(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Errors on the same test structures: a row for each model, by the number of structures it was trained on."""
    header = ["structures", "model", "trainings", "forces (meV/Å)", "energies (meV/atom)", "stresses (meV/Å³)"]
    found = errors_of_models(reports)
    return header, [[str(size), name, _trainings(errors), *_shown(errors)] for size, name, errors in found]


def errors_of_models(reports: Mapping[str, Any]) -> list[tuple[int, str, Mapping[str, Any]]]:
    """Number of training structures, name and errors of each model, in order of the first.

    Args:
        reports: of studies, or of ``benchmarks/labelled_errors.py``
    """
    rows: list[tuple[int, str, Mapping[str, Any]]] = []
    for report in reports.values():
        if "models" in report:
            rows += [(model["size"], model["name"], model["errors"]) for model in report["models"]]
            continue
        for curve in report["curves"]:
            start = curve["start"].replace("_", " ")
            for point in curve["test_sets"]["all"]:
                if point["errors"]:
                    rows.append((point["size"], f"NequIP, {_START.get(start, start)}", point["errors"]))
    return sorted(rows, key=lambda row: row[0])


def _trainings(errors: Mapping[str, Any]) -> str:
    return str(next(iter(errors.values()))["count"])


def _shown(errors: Mapping[str, Any]) -> list[str]:
    """Mean and standard deviation, of more than one, in thousandths."""
    shown = []
    for name in TEST_ERRORS:
        found, digits = errors.get(name), 2 if name == STRESS_MAE else 1
        values = [] if found is None else [found["mean"], found["deviation"]][: min(found["count"], 2)]
        shown.append(" ± ".join(f"{1000 * value:.{digits}f}" for value in values) or "–")
    return shown

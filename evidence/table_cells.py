"""What stands in the cells of tables and what figures show: errors of single trainings, means, differences."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nequip_elemtransfer.study.grid import Replicate
from nequip_elemtransfer.study.report.comparison import paired_difference, spread
from nequip_elemtransfer.study.run.results import STRESS_MAE

ERROR_TITLES = ("forces (meV/Å)", "energies (meV/atom)", "stresses (meV/Å³)")  # of TEST_ERRORS


def errors_of_runs(
    report: Mapping[str, Any], start: str, size: int, quantity: str, structures: str = "all"
) -> dict[Replicate, float]:
    """Of the finished trainings of a start with so many structures, on a set of test structures."""
    found = {}
    for run in report["runs"]:
        settings = run["settings"]
        if (settings["start"], settings.get("size")) == (start, size) and quantity in run["tests"].get(structures, {}):
            found[Replicate(settings["seed"], settings.get("source"))] = run["tests"][structures][quantity]
    return found


def shown_spread(value: Mapping[str, float], digits: int = 1) -> str:
    """Mean and standard deviation over seeds, of more than one, in thousandths."""
    shown = [value["mean"], value["deviation"]] if value["count"] > 1 else [value["mean"]]
    return " ± ".join(f"{1000 * number:.{digits}f}" for number in shown)


def compared(own: Mapping[Replicate, float], other: Mapping[Replicate, float] | None, name: str) -> str:
    """What :func:`with_difference` shows, of an error of single trainings; without a difference from None."""
    difference = None if other is None else paired_difference(own, other)
    differences = {} if difference is None else {name: asdict(difference)}
    return with_difference({"errors": {name: asdict(spread([*own.values()]))}, "differences": differences}, name)


def with_difference(row: Mapping[str, Any], name: str) -> str:
    """Mean and deviation over seeds, and the difference from the other start in per cent with its interval."""
    if name not in row["errors"]:
        return "–"
    difference, text = row["differences"].get(name), shown_spread(row["errors"][name], 2 if name == STRESS_MAE else 1)
    if difference is None or difference["low"] is None:
        return text
    middle, ends = percent(difference)
    return f"{text} [{middle} %; {ends}]"


def percent(difference: Mapping[str, float]) -> tuple[str, str]:
    """A difference and its interval, in per cent of what it is a difference from."""
    share = 100 * difference["relative"] / difference["mean"]
    ends = f"{difference['low'] * share:+.0f} to {difference['high'] * share:+.0f}"
    return f"{100 * difference['relative']:+.0f}".replace("-", "−"), ends.replace("-", "−")

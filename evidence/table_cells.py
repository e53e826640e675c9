"""What stands in the cells of tables and what figures show: errors of single trainings, means, ratios."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nequip_elemtransfer.intervals import Ratio, Replicate, paired_ratio
from nequip_elemtransfer.study.report.comparison import spread
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
    """What :func:`with_ratio` shows, of an error of single trainings with the same structures; no ratio to None."""
    ratio = None if other is None else paired_ratio(own, other)
    ratios = {} if ratio is None else {name: asdict(ratio)}
    return with_ratio({"errors": {name: asdict(spread([*own.values()]))}, "ratios": ratios}, name)


def with_ratio(row: Mapping[str, Any], name: str) -> str:
    """Mean and deviation over seeds, and by how many per cent it differs from the other start, with the interval."""
    if name not in row["errors"]:
        return "–"
    ratio, text = row["ratios"].get(name), shown_spread(row["errors"][name], 2 if name == STRESS_MAE else 1)
    return text if ratio is None or ratio["low"] is None else f"{text} [{Ratio(**ratio).percent}]"

"""Write the tables of the results from the studies' report.json, or check that they are what it says.

    python evidence/write_tables.py [--check]

A table stands between ``<!-- table: VIEW STUDY ... -->`` and ``<!-- end of table -->``; a STUDY is a folder of
evidence/studies.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

from baselines_table import baselines
from claims_table import claims, commands, failed
from efficiency_table import efficiency, ten_against_scratch
from few_labels_table import none_held_back, ten_in_all
from forecast_tables import forecast_ranking, forecast_score, forecasts
from sources_table import of_sources, over_sources
from surfaces_table import other_structures, surfaces
from survival_table import survival
from table_cells import ERROR_TITLES, shown_spread, with_ratio

from nequip_elemtransfer.intervals import Ratio
from nequip_elemtransfer.study.config.study_file import ELEMENT_MAP, SCRATCH
from nequip_elemtransfer.study.quantities import DEVIATIONS, VALUES
from nequip_elemtransfer.study.report.comparison import Spread
from nequip_elemtransfer.study.report.curves import TEST_ERRORS
from nequip_elemtransfer.study.report.page import number
from nequip_elemtransfer.study.run.results import ENERGY_MAE, FORCE_MAE, STRESS_MAE

HERE = Path(__file__).parent
PAGES = (*HERE.glob("*.md"), HERE.parent / "README.md")
PROPERTY_LABELS = VALUES | DEVIATIONS
_DATA = {"mlearn_converged": "DFT", "sw_converged": "Stillinger-Weber"}
_TRANSFERS = {  # of the studies of ways to fine-tune
    "sw_recipes": "Si → Ge, Stillinger-Weber",
    "mlearn_recipes": "Si → Ge, DFT",
    "mlearn_recipe_sizes": "Si → Ge, DFT",
    "emt_recipes": "Cu → Ag",
    "emt_recipe_sizes": "Cu → Ag",
    "emt_alloy_recipes": "CuAu → AgAu",
}
_TELLING = ("lattice_constant", "C11", "C12", "C44", "vacancy_formation_energy")
_MARKED = re.compile(r"(<!-- table: (?P<view>\w+) (?P<studies>[\w ]+) -->\n).*?(<!-- end of table -->)", re.S)


def main() -> int:
    """Returns 1 if tables were to be checked and one differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a table differs")
    check = parser.parse_args().check
    return max([_write(page, check) for page in PAGES])


def _write(path: Path, check: bool) -> int:
    page = path.read_text(encoding="utf-8")
    written = _MARKED.sub(lambda found: f"{found[1]}\n{_table(found)}\n\n{found[4]}", page)
    if check and written != page:
        print(f"{path} has a table that is not what report.json says: run `python evidence/write_tables.py`.")
        return 1
    path.write_text(written, encoding="utf-8")
    return 0


def _table(found: re.Match) -> str:
    reports = {
        name: json.loads((HERE / "studies" / name / "report.json").read_text(encoding="utf-8"))
        for name in found["studies"].split()
    }
    header, rows = VIEWS[found["view"]](reports)
    aligned = "---" if found["view"] in WORDS else "---:"
    lines = [header, ["---"] + [aligned] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def sizes(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Force / energy MAE on all test structures: a row for each size, a column for each start (of each study)."""
    columns = {}
    for name, report in reports.items():
        for curve in report["curves"]:
            title = curve["start"] if len(reports) == 1 else f"{curve['start']} ({name})"
            columns[title.replace("_", " ")] = {row["size"]: row["errors"] for row in curve["test_sets"]["all"]}
    every = sorted({size for column in columns.values() for size in column})
    return ["structures", *columns], [[str(n), *(_errors(c.get(n)) for c in columns.values())] for n in every]


def cells(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Force / energy MAE on all test structures: a row for each model, labels and start, at the one size of each study.

    Of several studies, cells without a name go by that of theirs.
    """
    rows = []
    for study, report in reports.items():
        for curve in report["curves"]:
            (row,) = curve["test_sets"]["all"]
            what = ", ".join(value for name, value in curve["cell"].items() if value != "default") or study
            rows.append([f"{what}, {curve['start']}".replace("_", " "), *_errors(row["errors"]).split(" / ")])
    return ["model, labels, start", "forces (meV/Å)", "energies (meV/atom)"], rows


def tests(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Force MAE on each set of test structures: a row for each set trained on and start, at the study's one size."""
    (report,) = reports.values()
    names = [name for name in report["curves"][0]["test_sets"] if name != "all"]
    rows = []
    for curve in report["curves"]:
        errors = [shown_spread(curve["test_sets"][name][0]["errors"]["forces_mae"]) for name in names]
        rows.append([f"{curve['cell']['train_on']}, {curve['start']}".replace("_", " "), *errors])
    return ["trained on, start", *names], rows


def starts(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Errors on all test structures with their differences from scratch: a row for each size and start."""
    (report,) = reports.values()
    rows = []
    for curve in report["curves"]:
        for row in curve["test_sets"]["all"]:
            if row["errors"]:
                found = [with_ratio(row, name) for name in ("forces_mae", "per_atom_energy_mae", "stress_mae")]
                steps = row["steps"]
                best = f"{steps['mean']:.0f} ({steps['low']:.0f} to {steps['high']:.0f})" if steps else "–"
                rows.append((row["size"], [curve["start"].replace("_", " "), *found, best]))
    rows.sort(key=lambda row: row[0])
    header = ["structures", "start", *ERROR_TITLES, "steps"]
    return header, [[str(size), *row] for size, row in rows]


def divided(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Errors on each part of the test structures with their differences from scratch: a row for each size and start."""
    (report,) = reports.values()
    names = [name for name in report["curves"][0]["test_sets"] if name != "all"]
    rows = []
    for curve in report["curves"]:
        for i, point in enumerate(curve["test_sets"]["all"]):
            if not point["errors"]:
                continue
            parts = [curve["test_sets"][name][i] for name in names]
            errors = [with_ratio(part, kind) for part in parts for kind in ("forces_mae", "per_atom_energy_mae")]
            best = f"{point['steps']['mean']:.0f}" if point["steps"] else "–"
            rows.append((point["size"], [curve["start"].replace("_", " "), *errors, best]))
    rows.sort(key=lambda row: row[0])
    units = ("forces (meV/Å)", "energies (meV/atom)")
    header = ["structures", "start", *(f"{name}: {unit}" for name in names for unit in units), "steps"]
    return header, [[str(size), *row] for size, row in rows]


def crystal(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Properties beside the reference's: a row for each, a column for each start, at the study's first size."""
    (report,) = reports.values()
    first, rows = min(model["size"] for model in report["properties"]), []
    models = [model for model in report["properties"] if model["size"] == first]
    for name, label in PROPERTY_LABELS.items():
        quantities = [model["quantities"].get(name) for model in models]
        if any(quantity and quantity["values"] for quantity in quantities):
            rows.append([label, _known(report["reference"].get(name)), *map(_property, quantities)])
    return ["property", "reference", *(model["start"].replace("_", " ") for model in models)], rows


def crystals(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """The most telling properties: a row for the reference and for each start, or study, and size."""
    known = next(iter(reports.values()))["reference"]
    rows = [["reference", *(_known(known.get(name)) for name in _TELLING)]]
    for name, report in reports.items():
        sizes = {model["size"] for model in report["properties"]}
        for model in report["properties"]:
            title = model["start"] if len(reports) == 1 else name
            size = f", {model['size']} structures" if len(sizes) > 1 else ""
            rows.append(
                [
                    title.replace("_", " ") + size,
                    *(number(Spread(**model["quantities"][name]["values"])) for name in _TELLING),
                ]
            )
    return ["start", *(PROPERTY_LABELS[name] for name in _TELLING)], rows


def bases(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Errors of the starts that all studies of ways to fine-tune share: a row for each transfer, size and start."""
    rows = []
    for transfer, size, points in _transfers(reports):
        for start in (SCRATCH, ELEMENT_MAP, "adam"):
            errors = points[start]["errors"]
            found = [shown_spread(errors[name], 2 if name == STRESS_MAE else 1) for name in TEST_ERRORS]
            rows.append([transfer, str(size), start.replace("_", " "), *found])
    return ["transfer", "structures", "start", *ERROR_TITLES], rows


def ways(quantity: str, reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Difference of an error from plain Adam's in per cent: a row for each way, a column for each transfer and size."""
    columns = {f"{transfer}: {size}": points for transfer, size, points in _transfers(reports)}
    names = dict.fromkeys(name for points in columns.values() for name in points)
    rows = [
        [name.replace("_", " "), *(_relative(points.get(name), quantity) for points in columns.values())]
        for name in names
        if name not in (SCRATCH, ELEMENT_MAP, "adam")
    ]
    return ["way", *columns], rows


def _transfers(reports: Mapping[str, Any]) -> list[tuple[str, int, dict[str, Any]]]:
    """Transfer, size, and the point of each start; sizes of one transfer in order."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for study, report in reports.items():
        for curve in report["curves"]:
            for point in curve["test_sets"]["all"]:
                found.setdefault((_TRANSFERS[study], point["size"]), {})[curve["start"]] = point
    order = list(dict.fromkeys(transfer for transfer, _ in found))
    return sorted(((*key, points) for key, points in found.items()), key=lambda row: (order.index(row[0]), row[1]))


def _relative(point: Mapping[str, Any] | None, quantity: str) -> str:
    if point is None or quantity not in point["ratios"]:
        return "–"
    return Ratio(**point["ratios"][quantity]).percent.replace(" %", "")


def selection(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Test errors, mean and largest, of a selected set (first study) beside those of random draws (second)."""
    selected, drawn = (list(zip(*map(_mean_and_largest, _finished(report)))) for report in reports.values())
    rows = {
        "selected": [fmean(column) for column in selected],
        "random, median": [median(column) for column in drawn],
        "random, lowest": [min(column) for column in drawn],
        "random, highest": [max(column) for column in drawn],
    }
    better = [f"{sum(draw < one for draw in column)} of {len(column)}" for column, one in zip(drawn, rows["selected"])]
    header = [f"{which}{title}" for title in ERROR_TITLES for which in ("", "largest of ")]
    shown = [[name, *(f"{Decimal(f'{1000 * value:.3g}'):f}" for value in values)] for name, values in rows.items()]
    return ["ten structures", *header], [*shown, ["draws with a lower error", *better]]


def _finished(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [run for run in report["runs"] if run["state"] == "finished"]


def _mean_and_largest(run: Mapping[str, Any]) -> list[float]:
    errors = run["tests"]["all"]
    return [errors[name] for mean in TEST_ERRORS for name in (mean, mean.replace("_mae", "_maxabserr"))]


def _known(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _property(quantity: Mapping[str, Any] | None) -> str:
    """Mean and deviation over seeds, and how much nearer to the reference than from scratch, with the interval."""
    if quantity is None or quantity["values"] is None:
        return "–"
    difference, text = quantity["difference"], number(Spread(**quantity["values"]))
    if difference is None or difference["low"] is None:
        return text
    mean, low, high = (f"{difference[name]:+.2g}" for name in ("mean", "low", "high"))
    return f"{text} [{mean}; {low} to {high}]".replace("-", "−")


def _errors(errors: Mapping[str, Any] | None) -> str:
    if errors is None:
        return "–"
    return f"{shown_spread(errors['forces_mae'])} / {shown_spread(errors['per_atom_energy_mae'])}"


VIEWS: dict[str, Callable[[Mapping[str, Any]], tuple[Sequence[str], list[list[str]]]]] = {
    "sizes": sizes,
    "cells": cells,
    "tests": tests,
    "starts": starts,
    "divided": divided,
    "crystal": crystal,
    "crystals": crystals,
    "of_sources": of_sources,
    "over_sources": over_sources,
    "bases": bases,
    "ways_forces": partial(ways, FORCE_MAE),
    "ways_energies": partial(ways, ENERGY_MAE),
    "ways_stresses": partial(ways, STRESS_MAE),
    "selection": selection,
    "efficiency": efficiency,
    "ten_against_scratch": ten_against_scratch,
    "ten_in_all": ten_in_all,
    "none_held_back": none_held_back,
    "forecasts": forecasts,
    "forecast_ranking": forecast_ranking,
    "forecast_score": forecast_score,
    "survival": survival,
    "baselines": baselines,
    "claims": claims,
    "failed": failed,
    "commands": commands,
    "surfaces": surfaces,
    "other_structures": other_structures,
}

WORDS = {"claims", "commands", "failed"}  # views whose cells are sentences

if __name__ == "__main__":
    sys.exit(main())

"""``report.json``, ``report.html`` and PNG files of a study."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from nequip_elemtransfer.intervals import PairedDifference, Ratio
from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.output.page import page
from nequip_elemtransfer.study import quantities
from nequip_elemtransfer.study.grid import SOURCE, Grid, State, failure_reason, state_of
from nequip_elemtransfer.study.measure.evaluation import evaluation_tasks
from nequip_elemtransfer.study.report import figures
from nequip_elemtransfer.study.report.comparison import Section, Spread, cell_name, picture_file
from nequip_elemtransfer.study.report.curves import (
    TEST_ERRORS,
    Curve,
    Speed,
    forecasts,
    learning_curves,
)
from nequip_elemtransfer.study.report.property_errors import Properties, property_sections, reference_values
from nequip_elemtransfer.study.report.survival import Survival, survival_sections
from nequip_elemtransfer.study.run.results import RunResult, read_results

_SHORT = dict(zip(TEST_ERRORS, ("forces", "energies", "stresses")))
_ROUNDING = 1e-5  # in the units of the report, of what is zero by symmetry


@dataclass(frozen=True)
class Gap:
    """A run or an evaluation without a result: its state, and the reason if it failed."""

    name: str
    state: str
    reason: str


def write_report(out: Path) -> list[Path]:
    """Evaluate what is finished and write the report into the folder of the study, replacing an earlier one.

    Args:
        out: folder of the study

    Returns:
        the files

    Raises:
        FileNotFoundError: it is no folder of a study
    """
    grid = Grid.read(out)
    results = read_results(grid, out)
    curves = learning_curves(results, list(grid.test_sets), grid.baseline)
    cells = _cells(curves, results)
    # besides test errors; what the study does not have is empty
    evaluated: dict[str, Any] = {
        "reference": reference_values(grid, out),
        "properties": property_sections(grid, out),
        "stability": survival_sections(grid, out),
        "forecasts": forecasts(grid, out, results),
    }
    sections = [*evaluated["properties"], *evaluated["stability"]]
    report = json.dumps(_as_json(results, curves, evaluated), indent=1, ensure_ascii=False) + "\n"
    content = {
        "report.json": report.encode(),
        "report.html": _html(grid, results, cells, evaluated, _gaps(grid, out, results)).encode(),
        **{name: picture.png for section in sections for name, picture in section.pictures.items()},
        **{picture_file(name, cell.title): picture.png for cell in cells for name, picture in cell.pictures.items()},
    }
    with written_together([out / name for name in content]) as paths:
        for path, text in zip(paths, content.values()):
            path.write_bytes(text)
    return [out / name for name in content]


def _cells(curves: Sequence[Curve], results: Sequence[RunResult]) -> list[Section]:
    by_name: dict[str, list[Curve]] = {}
    for curve in curves:
        by_name.setdefault(curve.name, []).append(curve)
    targets = [result for result in results if result.run.settings["start"] != SOURCE]
    cells = []
    for name, members in by_name.items():
        own = [result for result in targets if members[0].cell.items() <= result.run.settings.items()]
        pictures = {"learning_curves": figures.learning_curve_figure(members)}
        validation = figures.validation_figure(own)
        if validation is not None:
            pictures["validation"] = validation
        cells.append(Section(name, members, pictures))
    return cells


def _gaps(grid: Grid, out: Path, results: Sequence[RunResult]) -> list[Gap]:
    gaps = [Gap(r.run.name, r.state.value, r.reason) for r in results if r.state is not State.FINISHED]
    for task in evaluation_tasks(grid, out):
        if not task.is_finished():
            state = state_of(task.folder)
            other = "made with other settings or of another model"
            described = other if state is State.FINISHED else state.value
            gaps.append(Gap(task.name, described, failure_reason(task.folder)))
    return gaps


def _as_json(results: Sequence[RunResult], curves: Sequence[Curve], evaluated: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": metadata.version("nequip-elemtransfer"),
        "units": {"forces": "eV/Å", "energies": "eV/atom", "stresses": "eV/Å³", "time": "s"},
        "machines": _machines(results),
        "curves": [asdict(curve) for curve in curves],
        "runs": [
            {
                "name": result.run.name,
                "settings": dict(result.run.settings),
                "state": result.state.value,
                "reason": result.reason,
                "tests": result.tests,
                "validated_on": result.validated_on,
                "validations": [asdict(validation) for validation in result.validations],
            }
            for result in results
        ],
        "reference": evaluated["reference"],
        "properties": [asdict(model) for section in evaluated["properties"] for model in section.models],
        "stability": [asdict(model) for section in evaluated["stability"] for model in section.models],
        "forecasts": [asdict(forecast) for forecast in evaluated["forecasts"]],
    }


def _machines(results: Sequence[RunResult]) -> list[Mapping[str, str]]:
    """Each once."""
    found: list[Mapping[str, str]] = []
    for result in results:
        if result.machine and result.machine not in found:
            found.append(result.machine)
    return found


def labels_used(results: Sequence[RunResult]) -> dict[tuple[str, str, int | None], int]:
    """Cell, start and size -> labelled structures, those of the validation set counted; where all runs have as many."""
    found: dict[tuple[str, str, int | None], set[int | None]] = {}
    for result in results:
        settings, others = result.run.settings, result.validated_on
        size = settings.get("size")
        used = None if size is None or others is None else size + others
        found.setdefault((cell_name(settings), settings["start"], size), set()).add(used)
    return {key: used for key, (used, *more) in found.items() if used is not None and not more}


def _html(
    grid: Grid,
    results: Sequence[RunResult],
    cells: Sequence[Section],
    evaluated: Mapping[str, Any],
    gaps: Sequence[Gap],
) -> str:
    numbers: list[Callable[..., str]] = [milli, number, percent, shift]
    tables: list[Callable[..., Any]] = [by_size, quantity_labels, structure_labels, failures]
    return page(
        __package__,
        "page.html.jinja",
        {function.__name__: function for function in (*numbers, *tables)},
        title=heading(grid),
        results=results,
        finished=sum(result.state is State.FINISHED for result in results),
        gaps=gaps,
        machines=_machines(results),
        cells=cells,
        evaluated=evaluated,
        quantities={name: _SHORT[name] for name in figures.measured([c for cell in cells for c in cell.models])},
        labels=figures.LABELS,
        labels_used=labels_used(results),
        test_sets=list(grid.test_sets)[1:],
        baseline=grid.baseline,
    )


def heading(grid: Grid) -> str:
    """What a study is about: its starts, numbers of structures and test set."""
    targets = grid.targets()
    starts = dict.fromkeys(run.settings["start"].replace("_", " ") for run in targets)
    baseline = grid.baseline.replace("_", " ")
    others = ", ".join(start for start in starts if start != baseline)
    parts = [f"{others} against {baseline}" if others and baseline in starts else ", ".join(starts)]
    sizes = sorted({run.settings["size"] for run in targets} - {None})
    if sizes:
        parts.append(f"{', '.join(map(str, sizes))} structures")
    if grid.test_sets:
        parts.append(f"tested on {Path(next(iter(grid.test_sets.values()))).name}")
    title = "; ".join(parts)
    return title[:1].upper() + title[1:]


# Filters of the page, by their names.


def milli(value: Spread | float | None) -> str:
    """``60.1 ± 1.4`` of a spread, or ``60.1`` of a number, in eV or eV/Å; a dash for nothing."""
    if value is None:
        return "–"
    if not isinstance(value, Spread):
        return f"{1000 * value:.1f}"
    return milli(value.mean) + ("" if value.deviation is None else f" ± {milli(value.deviation)}")


def number(value: Spread | float | None) -> str:
    """``5.662 ± 0.014``, to two digits of the deviation; a dash for nothing."""
    if value is None:
        return "–"
    if not isinstance(value, Spread):
        return f"{value:.4g}"
    if value.deviation is None:
        return f"{value.mean:.4g}"
    if max(abs(value.mean), value.deviation) < _ROUNDING:
        return "0 ± 0"
    if value.deviation <= 1e-6 * abs(value.mean):
        return f"{value.mean:.4g} ± 0"
    decimals = max(0, 1 - math.floor(math.log10(value.deviation)))
    return f"{value.mean:.{decimals}f} ± {value.deviation:.{decimals}f}"


def percent(value: Ratio | None) -> str:
    """``−31 % (−45 to −17)``: by how much errors differ from the baseline's."""
    return "" if value is None else value.percent


def shift(value: PairedDifference | None) -> str:
    """``−0.045 (−0.051 to −0.039)``, in the unit of the quantity."""
    if value is None:
        return ""
    text = f"{value.mean:+.2g}"
    if value.low is not None and value.high is not None:
        text += f" ({value.low:+.2g} to {value.high:+.2g})"
    return text.replace("-", "−")


def by_size(speed: Sequence[Speed]) -> list[list[Speed]]:
    """The seeds of each quantity and size together."""
    groups: dict[Any, list[Speed]] = {}
    for entry in speed:
        groups.setdefault((entry.quantity, entry.size), []).append(entry)
    return list(groups.values())


def quantity_labels(models: Sequence[Properties]) -> dict[str, str]:
    """Name -> label of the properties that any of the models has, in the order of a table."""
    known = {name for model in models for name in model.quantities}
    return {name: label for name, label in (quantities.VALUES | quantities.DEVIATIONS).items() if name in known}


def structure_labels(models: Sequence[Survival]) -> dict[str, str]:
    """The same for the structure that simulations showed."""
    known = {name for model in models for name in model.structure}
    return {name: label for name, label in quantities.STRUCTURE.items() if name in known}


def failures(models: Sequence[Properties]) -> list[tuple[str, str, str]]:
    """Property, model and reason of what has no value."""
    return [
        (name, f"{model.start}, seed {replicate}", reason)
        for model in models
        for name, quantity in model.quantities.items()
        for replicate, reason in quantity.failed.items()
    ]

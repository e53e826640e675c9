"""``report.json``, ``report.html`` and PNG files of a study."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nequip_elemtransfer import __version__
from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.output.page import Picture, page
from nequip_elemtransfer.study.folder import State, failure_reason, state_of
from nequip_elemtransfer.study.grid import SOURCE, Grid
from nequip_elemtransfer.study.measure.evaluation import Evaluation, evaluation_tasks
from nequip_elemtransfer.study.report import figures
from nequip_elemtransfer.study.report.comparison import PairedDifference, Spread
from nequip_elemtransfer.study.report.curves import TEST_ERRORS, Curve, Efficiency, Speed, learning_curves
from nequip_elemtransfer.study.report.efficiency import EQUAL, Equivalent, Reached
from nequip_elemtransfer.study.report.results import RunResult, read_results
from nequip_elemtransfer.study.report.sections import (
    EvaluatedSections,
    evaluated_sections,
    failures,
    number,
    quantity_labels,
    structure_labels,
)

_SHORT = dict(zip(TEST_ERRORS, ("forces", "energies", "stresses")))


@dataclass(frozen=True)
class Cell:
    """The curves and pictures of one cell of the grid."""

    name: str
    curves: tuple[Curve, ...]
    pictures: Mapping[str, Picture]


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
    evaluated = evaluated_sections(grid, out, results)
    data = _as_json(results, curves) | evaluated.to_dict()
    content: dict[str, bytes] = {
        "report.json": (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode(),
        "report.html": _html(grid, results, cells, evaluated, _gaps(grid, out, results)).encode(),
        **{name: picture.png for name, picture in evaluated.pictures.items()},
    }
    for cell in cells:
        for name, picture in cell.pictures.items():
            content["-".join([name, *cell.name.replace(",", "").split()]) + ".png"] = picture.png
    with written_together([out / name for name in content]) as paths:
        for path, data in zip(paths, content.values()):
            path.write_bytes(data)
    return [out / name for name in content]


def _cells(curves: Sequence[Curve], results: Sequence[RunResult]) -> list[Cell]:
    by_name: dict[str, list[Curve]] = {}
    for curve in curves:
        by_name.setdefault(curve.name, []).append(curve)
    cells = []
    for name, members in by_name.items():
        pictures = {"learning_curves": figures.learning_curve_figure(members)}
        cell = members[0].cell.items()
        validation = figures.validation_figure([r for r in results if cell <= r.run.settings.items() and _is_target(r)])
        if validation is not None:
            pictures["validation"] = validation
        cells.append(Cell(name, tuple(members), pictures))
    return cells


def _gaps(grid: Grid, out: Path, results: Sequence[RunResult]) -> list[Gap]:
    runs = [Gap(r.run.name, r.state.value, r.reason) for r in results if r.state is not State.FINISHED]
    tasks = [task for task in evaluation_tasks(grid, out) if not task.is_finished()]
    return [*runs, *(_gap(task) for task in tasks)]


def _gap(task: Evaluation) -> Gap:
    state = state_of(task.folder)
    if state is State.FINISHED:
        return Gap(task.name, "made with other settings or of another model", "")
    return Gap(task.name, state.value, failure_reason(task.folder))


def _is_target(result: RunResult) -> bool:
    return result.run.settings["start"] != SOURCE


def _as_json(results: Sequence[RunResult], curves: Sequence[Curve]) -> dict[str, Any]:
    return {
        "version": __version__,
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
                "validations": [asdict(validation) for validation in result.validations],
            }
            for result in results
        ],
    }


def _machines(results: Sequence[RunResult]) -> list[dict[str, str]]:
    """Each once."""
    found: list[dict[str, str]] = []
    for result in results:
        if result.machine and result.machine not in found:
            found.append(dict(result.machine))
    return found


def _html(
    grid: Grid,
    results: Sequence[RunResult],
    cells: Sequence[Cell],
    evaluated: EvaluatedSections,
    gaps: Sequence[Gap],
) -> str:
    return page(
        __package__,
        "page.html.jinja",
        {"milli": _milli, "structures": _structures, "seeds": _seeds, "by_size": _by_size, "steps": _steps}
        | {"seconds": _seconds, "number": number, "quantity_labels": quantity_labels}
        | {"structure_labels": structure_labels, "failures": failures, "milli_number": _milli_number}
        | {"percent": _percent, "shift": _shift, "steps_to_best": _steps_to_best},
        version=__version__,
        results=results,
        finished=sum(result.state is State.FINISHED for result in results),
        gaps=gaps,
        machines=_machines(results),
        cells=cells,
        evaluated=evaluated,
        quantities={name: _SHORT[name] for name in figures.measured([c for cell in cells for c in cell.curves])},
        labels=figures.LABELS,
        test_sets=list(grid.test_sets)[1:],
        baseline=grid.baseline,
    )


def _milli(value: Spread | None) -> str:
    """``60.1 ± 1.4`` of a spread in eV or eV/Å."""
    if value is None:
        return "–"
    deviation = "" if value.deviation is None else f" ± {1000 * value.deviation:.1f}"
    return f"{1000 * value.mean:.1f}{deviation}"


def _milli_number(value: float | None) -> str:
    """``60.1`` of a value in eV/Å; a dash for none."""
    return "–" if value is None else f"{1000 * value:.1f}"


def _percent(value: PairedDifference | None) -> str:
    """``−31 % (−45 to −17)``: of the baseline's mean."""
    if value is None or value.relative is None:
        return ""
    text = f"{100 * value.relative:+.0f} %"
    if value.low is not None and value.high is not None:
        share = 100 * value.relative / value.mean if value.mean else 0.0
        text += f" ({value.low * share:+.0f} to {value.high * share:+.0f})"
    return text.replace("-", "−")


def _shift(value: PairedDifference | None) -> str:
    """``−0.045 (−0.051 to −0.039)``, in the unit of the quantity."""
    if value is None:
        return ""
    text = f"{value.mean:+.2g}"
    if value.low is not None and value.high is not None:
        text += f" ({value.low:+.2g} to {value.high:+.2g})"
    return text.replace("-", "−")


def _steps_to_best(value: Spread | None) -> str:
    """``1200 (400 to 1600)``."""
    return "" if value is None else f"{value.mean:.0f} ({value.low:.0f} to {value.high:.0f})"


def _structures(value: Equivalent) -> str:
    bound = "" if value.bound == EQUAL else f"{value.bound} "
    return f"{bound}{value.size:.3g}"


def _seeds(value: Efficiency) -> str:
    """The factors of single seeds."""
    sign = {EQUAL: "", "more than": "> ", "less than": "< "}
    return ", ".join(f"{sign[e.bound]}{e.factor:.2g}" for e in value.of_seeds.values())


def _by_size(speed: Sequence[Speed]) -> list[list[Speed]]:
    """The seeds of each quantity and size together."""
    groups: dict[tuple, list[Speed]] = {}
    for entry in speed:
        groups.setdefault((entry.quantity, entry.size), []).append(entry)
    return list(groups.values())


def _steps(seeds: Sequence[Reached]) -> str:
    """``0, 25, never``, seed by seed."""
    return ", ".join("never" if reached.steps is None else str(reached.steps) for reached in seeds)


def _seconds(seeds: Sequence[Reached]) -> str:
    return ", ".join("–" if reached.seconds is None else f"{reached.seconds:.3g}" for reached in seeds)

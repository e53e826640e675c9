"""The sections of a study's report on properties, stability and plans, ready for the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from nequip_elemtransfer.output.page import Picture
from nequip_elemtransfer.study.config.evaluation_settings import PROPERTIES, EvaluationSettings, StabilitySettings
from nequip_elemtransfer.study.folder import REFERENCE
from nequip_elemtransfer.study.grid import Grid, Run, runs_of_sizes
from nequip_elemtransfer.study.measure.kept import read_result
from nequip_elemtransfer.study.measure.stability import ADF_EDGES, RDF_EDGES
from nequip_elemtransfer.study.property_names import ADF, DEVIATIONS, EQUATION_OF_STATE, PHONONS, RDF, STRUCTURE, VALUES
from nequip_elemtransfer.study.report import figures
from nequip_elemtransfer.study.report.comparison import Spread, cell_name, peers
from nequip_elemtransfer.study.report.forecasts import Forecast, forecasts
from nequip_elemtransfer.study.report.property_errors import Properties, properties, reference_values
from nequip_elemtransfer.study.report.results import RunResult
from nequip_elemtransfer.study.report.survival import Survival, conditions, structure_of, survival

_ROUNDING = 1e-5  # in the units of the report, of what is zero by symmetry


@dataclass(frozen=True)
class Section:
    """Models that are compared with each other, and their pictures.

    Args:
        title: of the cell and size
        models: of each start
        pictures: file name -> picture
    """

    title: str
    models: tuple[Any, ...]
    pictures: Mapping[str, Picture]


@dataclass(frozen=True)
class EvaluatedSections:
    """All that a study found besides test errors; what it does not have is empty.

    Args:
        reference: name of a property -> value of the reference
        properties: sections of :class:`.property_errors.Properties`
        stability: sections of :class:`.survival.Survival`
        forecasts: plans beside trainings
    """

    reference: dict[str, float]
    properties: tuple[Section, ...]
    stability: tuple[Section, ...]
    forecasts: tuple[Forecast, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "reference": self.reference,
            "properties": [asdict(model) for section in self.properties for model in section.models],
            "stability": [asdict(model) for section in self.stability for model in section.models],
            "forecasts": [asdict(forecast) for forecast in self.forecasts],
        }

    @property
    def pictures(self) -> dict[str, Picture]:
        """File name -> picture."""
        return {name: p for section in (*self.properties, *self.stability) for name, p in section.pictures.items()}


def evaluated_sections(grid: Grid, out: Path, results: Sequence[RunResult]) -> EvaluatedSections:
    """Evaluate what is there."""
    return EvaluatedSections(
        reference_values(grid, out),
        tuple(_property_sections(grid, out)),
        tuple(_stability_sections(grid, out)),
        tuple(forecasts(grid, out, results)),
    )


def quantity_labels(models: Sequence[Properties]) -> dict[str, str]:
    """Name -> label of the properties that any of the models has, in the order of a table."""
    known = {name for model in models for name in model.quantities}
    return {name: label for name, label in (VALUES | DEVIATIONS).items() if name in known}


def structure_labels(models: Sequence[Survival]) -> dict[str, str]:
    """The same for the structure that simulations showed."""
    known = {name for model in models for name in model.structure}
    return {name: label for name, label in STRUCTURE.items() if name in known}


def failures(models: Sequence[Properties]) -> list[tuple[str, str, str]]:
    """Property, model and reason of what has no value."""
    return [
        (name, f"{model.start}, seed {replicate}", reason)
        for model in models
        for name, quantity in model.quantities.items()
        for replicate, reason in quantity.failed.items()
    ]


def number(value: Spread | float | None) -> str:
    """``5.662 ± 0.014``, to two digits of the deviation; a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, int | float):
        return f"{value:.4g}"
    if value.deviation is None:
        return f"{value.mean:.4g}"
    if max(abs(value.mean), value.deviation) < _ROUNDING:
        return "0 ± 0"
    if value.deviation <= 1e-6 * abs(value.mean):
        return f"{value.mean:.4g} ± 0"
    decimals = max(0, 1 - math.floor(math.log10(value.deviation)))
    return f"{value.mean:.{decimals}f} ± {value.deviation:.{decimals}f}"


def _property_sections(grid: Grid, out: Path) -> list[Section]:
    settings = EvaluationSettings.from_mapping(grid.evaluations).properties
    found = []
    for title, members in _by_title(properties(grid, out)):
        starts = _first_runs(grid, settings.sizes, members[0])
        curves = {
            name: {start: result[name] for start, result in _results(out, starts).items() if result.get(name)}
            for name in (EQUATION_OF_STATE, PHONONS)
        }
        reference = read_result(out, PROPERTIES, REFERENCE) or {}
        pictures = {}
        for name, draw in ((EQUATION_OF_STATE, figures.equation_of_state_figure), (PHONONS, figures.phonon_figure)):
            if curves[name]:
                pictures[_file(name, title)] = draw(curves[name], reference.get(name))
        found.append(Section(title, members, pictures))
    return found


def _stability_sections(grid: Grid, out: Path) -> list[Section]:
    settings = EvaluationSettings.from_mapping(grid.evaluations).stability
    found = []
    for title, members in _by_title(survival(grid, out)):
        of_kind = [[m for m in members if (m.begin, m.temperature) == kind] for kind in conditions(settings)]
        pictures = {_file("survival", title): figures.survival_figure([models for models in of_kind if models])}
        peer_runs = _peers_of(grid, settings.sizes, members[0])
        for name in STRUCTURE:
            panels: dict[str, dict[str, np.ndarray]] = {}
            reference = {}
            for begin, temperature in conditions(settings):
                panel = f"{begin}, {temperature:g} K"
                seen = {
                    start: structure_of(grid, out, [run.name for run in runs], begin, temperature).get(name)
                    for start, runs in peer_runs.items()
                }
                if functions := {start: function for start, function in seen.items() if function is not None}:
                    panels[panel] = functions
                    own = structure_of(grid, out, [REFERENCE], begin, temperature).get(name)
                    reference |= {} if own is None else {panel: own}
            if panels:
                x = _axis(name, next(iter(next(iter(panels.values())).values())), settings)
                pictures[_file(name, title)] = figures.structure_figure(name, x, panels, reference)
        found.append(Section(title, members, pictures))
    return found


def _axis(name: str, function: np.ndarray, settings: StabilitySettings) -> np.ndarray:
    """Centres of the bins, or times."""
    edges = {RDF: RDF_EDGES, ADF: ADF_EDGES}.get(name)
    if edges is not None:
        return (edges[1:] + edges[:-1]) / 2
    return settings.protocol(temperature=1.0).sample_interval * np.arange(len(function))


def _by_title(models: Sequence[Any]) -> list[tuple[str, tuple[Any, ...]]]:
    """Models by cell and size, in the order in which they come."""
    grouped = groupby(models, key=lambda model: _title(model.cell, model.size))
    return [(title, tuple(members)) for title, members in grouped]


def _title(cell: str, size: int | None) -> str:
    return ", ".join(part for part in (cell, "" if size is None else f"{size} structures") if part)


def _peers_of(grid: Grid, sizes: Any, model: Properties | Survival) -> dict[str, list[Run]]:
    """Start -> runs of the cell and size that a model belongs to."""
    for starts in peers(runs_of_sizes(grid.runs, sizes), grid.baseline):
        settings = next(iter(starts.values()))[0].settings
        if (cell_name(settings), settings["size"]) == (model.cell, model.size):
            return starts
    return {}


def _first_runs(grid: Grid, sizes: Any, model: Properties) -> dict[str, Run]:
    return {start: runs[0] for start, runs in _peers_of(grid, sizes, model).items()}


def _results(out: Path, runs: Mapping[str, Run]) -> dict[str, dict[str, Any]]:
    found = {start: read_result(out, PROPERTIES, run.name) for start, run in runs.items()}
    return {start: result for start, result in found.items() if result is not None}


def _file(name: str, title: str) -> str:
    return "-".join([name, *title.replace(",", "").split()]) + ".png"

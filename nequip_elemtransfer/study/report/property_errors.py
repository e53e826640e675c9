"""Properties of trained models beside the reference's: what a training set of energies and forces never named."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nequip_elemtransfer.intervals import PairedDifference, Replicate, paired_difference
from nequip_elemtransfer.study import quantities
from nequip_elemtransfer.study.config.evaluation_settings import PROPERTIES, EvaluationSettings
from nequip_elemtransfer.study.grid import REFERENCE, Grid
from nequip_elemtransfer.study.measure.evaluation import read_result
from nequip_elemtransfer.study.report import comparison, figures
from nequip_elemtransfer.study.report.comparison import Peers, Section, Spread, spread_if_any

_SOFT = 200.0  # cm⁻¹; of softer vibrations a few cm⁻¹ are many per cent

Results = Mapping[Replicate, Mapping[str, Any]]


@dataclass(frozen=True)
class PropertySpread:
    """One property of the models of one start.

    Args:
        values: over seeds, in the unit of the property; of a function, its deviation from the reference's; None if no
            model has it
        errors: distance from the reference; None without a reference
        difference: how much nearer (negative) or further than the baseline's; None without a reference or a common
            seed
        failed: seed, and source where there are several, of a model -> why it has no value
    """

    values: Spread | None
    errors: Spread | None
    difference: PairedDifference | None
    failed: dict[str, str]


@dataclass(frozen=True)
class Properties:
    """All properties of the models of one start and size.

    Args:
        cell: name of the cell of the grid
        start: name
        size: number of training structures; None if the configs bring their own
        quantities: name in :data:`.quantities.VALUES` or :data:`.quantities.DEVIATIONS` -> values
    """

    cell: str
    start: str
    size: int | None
    quantities: dict[str, PropertySpread]


def reference_values(grid: Grid, out: Path) -> dict[str, float]:
    """The reference's values by name: those that the study gives, and else its calculator's."""
    found: dict[str, float] = (read_result(out, PROPERTIES, REFERENCE) or {"values": {}})["values"]
    return {**found, **EvaluationSettings.from_mapping(grid.evaluations).reference.values}


def properties(grid: Grid, out: Path) -> list[Properties]:
    """Properties of all models that were evaluated; empty if the study does not ask for them."""
    return [model for _, models in _compared(grid, out) for model in models]


def property_sections(grid: Grid, out: Path) -> list[Section]:
    """The same for the report, with the functions of the first model of each start."""
    reference = read_result(out, PROPERTIES, REFERENCE) or {}
    pictures = {
        quantities.EQUATION_OF_STATE: figures.equation_of_state_figure,
        quantities.PHONONS: figures.phonon_figure,
    }
    found = []
    for group, models in _compared(grid, out):
        first = {start: read_result(out, PROPERTIES, runs[0].name) or {} for start, runs in group.starts.items()}
        drawn = {}
        for name, draw in pictures.items():
            if functions := {start: result[name] for start, result in first.items() if result.get(name)}:
                drawn[comparison.picture_file(name, group.title)] = draw(functions, reference.get(name))
        found.append(Section(group.title, models, drawn))
    return found


def _compared(grid: Grid, out: Path) -> Iterator[tuple[Peers, list[Properties]]]:
    settings = EvaluationSettings.from_mapping(grid.evaluations).properties
    if settings is None:
        return
    reference = {**(read_result(out, PROPERTIES, REFERENCE) or {}), "values": reference_values(grid, out)}
    for group in comparison.peers(grid, settings.sizes):
        results = group.models(partial(read_result, out, PROPERTIES))
        models = []
        for start, own in results.items():
            others = results.get(grid.baseline, {}) if start != grid.baseline else {}
            every = {
                name: _quantity(name, own, others, reference) for name in (*quantities.VALUES, *quantities.DEVIATIONS)
            }
            known = {name: quantity for name, quantity in every.items() if quantity.values or quantity.failed}
            if known:
                models.append(Properties(group.cell, start, group.size, known))
        if models:
            yield group, models


def _quantity(name: str, own: Results, baseline: Results, reference: Mapping[str, Any]) -> PropertySpread:
    errors, others = (_distances(name, results, reference) for results in (own, baseline))
    found = {model: _found(result, name) for model, result in own.items()} if name in quantities.VALUES else errors
    values = {model: value for model, value in found.items() if value is not None}
    failed = {str(model): result["failed"][name] for model, result in own.items() if name in result["failed"]}
    difference = paired_difference(errors, others)
    return PropertySpread(spread_if_any(values), spread_if_any(errors), difference, failed)


def _distances(name: str, results: Results, reference: Mapping[str, Any]) -> dict[Replicate, float]:
    """Of the models that have a property, from the reference; empty if that has none."""
    known = _found(reference, name)
    owns = {} if known is None else {model: _found(result, name) for model, result in results.items()}
    found = {model: deviation(name, own, known) for model, own in owns.items() if own is not None}
    return {model: distance for model, distance in found.items() if distance is not None}


def _found(result: Mapping[str, Any], name: str) -> Any:
    """A number or a function; None if there is none."""
    return result["values"].get(name) if name in quantities.VALUES else result.get(name) or None


def deviation(name: str, own: Any, reference: Any) -> float | None:
    """How far a value or a function is off, in the unit of :mod:`.quantities`; None if nothing can be compared."""
    if name in quantities.VALUES:
        return float(abs(own - reference))
    if name == quantities.EQUATION_OF_STATE:  # each curve is measured from its lowest energy; the volumes are the same
        energies = [np.array(curve["energies"]) - min(curve["energies"]) for curve in (own, reference)]
        return 1000 * _root_mean_square(energies[0] - energies[1])
    if name == quantities.PHONONS:  # over the bands, in order of frequency, and the path
        return _root_mean_square(np.array(own["frequencies"]) - np.array(reference["frequencies"]))
    found, known = _joined(own, reference)
    if name == quantities.WAVENUMBERS:  # in their order, those of soft torsions left out
        stiff = known > _SOFT
        return float(100 * np.mean(np.abs(found[stiff] / known[stiff] - 1))) if stiff.any() else None
    if not len(known):
        return None
    if name == quantities.TORSIONS:  # each profile is measured from its mean
        return 1000 * _root_mean_square(found - known)
    return float(np.mean(np.abs(found - known)))  # over all bonds or angles


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _joined(own: Sequence[Any], reference: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the molecules that both have, one after another."""
    both = [(a, b) for a, b in zip(own, reference) if a is not None and b is not None and len(a) == len(b)]
    own, reference = ([number for pair in both for number in pair[i]] for i in (0, 1))
    return np.array(own, dtype=float), np.array(reference, dtype=float)

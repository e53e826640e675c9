"""Properties of trained models beside the reference's: what a training set of energies and forces never named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nequip_elemtransfer.study.config.evaluation_settings import PROPERTIES, EvaluationSettings
from nequip_elemtransfer.study.folder import REFERENCE
from nequip_elemtransfer.study.grid import Grid, Replicate, Run, runs_of_sizes
from nequip_elemtransfer.study.measure.kept import read_result
from nequip_elemtransfer.study.property_names import (
    BOND_ANGLES,
    BOND_LENGTHS,
    DEVIATIONS,
    EQUATION_OF_STATE,
    PHONONS,
    TORSIONS,
    VALUES,
    WAVENUMBERS,
)
from nequip_elemtransfer.study.report.comparison import (
    PairedDifference,
    Spread,
    cell_name,
    paired_difference,
    peers,
    spread,
)

_SOFT = 200.0  # cm⁻¹; of softer vibrations a few cm⁻¹ are many per cent


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
        quantities: name in :data:`.property_names.VALUES` or :data:`.property_names.DEVIATIONS` -> values
    """

    cell: str
    start: str
    size: int | None
    quantities: dict[str, PropertySpread]


def reference_values(grid: Grid, out: Path) -> dict[str, float]:
    """The reference's values by name: those that the study gives, and else its calculator's."""
    found = read_result(out, PROPERTIES, REFERENCE) or {"values": {}}
    return found["values"] | EvaluationSettings.from_mapping(grid.evaluations).reference.values


def properties(grid: Grid, out: Path) -> list[Properties]:
    """Properties of all models that were evaluated; empty if the study does not ask for them."""
    settings = EvaluationSettings.from_mapping(grid.evaluations).properties
    if settings is None:
        return []
    references, curves = reference_values(grid, out), read_result(out, PROPERTIES, REFERENCE) or {}
    found = []
    for starts in peers(runs_of_sizes(grid.runs, settings.sizes), grid.baseline):
        results = {start: _results(out, runs) for start, runs in starts.items()}
        for start, runs in starts.items():
            others = results.get(grid.baseline, {}) if start != grid.baseline else {}
            quantities = {
                name: _quantity(name, results[start], others, references, curves) for name in (*VALUES, *DEVIATIONS)
            }
            known = {name: quantity for name, quantity in quantities.items() if quantity.values or quantity.failed}
            if known:
                found.append(Properties(cell_name(runs[0].settings), start, runs[0].settings["size"], known))
    return found


def _results(out: Path, runs: Sequence[Run]) -> dict[Replicate, dict[str, Any]]:
    found = {run.replicate: read_result(out, PROPERTIES, run.name) for run in runs}
    return {replicate: result for replicate, result in found.items() if result is not None}


def _quantity(
    name: str,
    own: Mapping[Replicate, Mapping[str, Any]],
    baseline: Mapping[Replicate, Mapping[str, Any]],
    references: Mapping[str, float],
    curves: Mapping[str, Any],
) -> PropertySpread:
    if name in DEVIATIONS:
        errors, others = (_deviations(name, results, curves) for results in (own, baseline))
        values = errors
    else:
        values = {model: result["values"][name] for model, result in own.items() if name in result["values"]}
        errors, others = (_errors(name, results, references) for results in (own, baseline))
    failed = {str(model): result["failed"][name] for model, result in own.items() if name in result["failed"]}
    return PropertySpread(_spread(values), _spread(errors), paired_difference(errors, others), failed)


def _errors(
    name: str, results: Mapping[Replicate, Mapping[str, Any]], references: Mapping[str, float]
) -> dict[Replicate, float]:
    if name not in references:
        return {}
    found = {model: result["values"].get(name) for model, result in results.items()}
    return {model: abs(value - references[name]) for model, value in found.items() if value is not None}


def deviation(name: str, own: Any, reference: Any) -> float | None:
    """How far a function is off, in the unit that :data:`DEVIATIONS` says; None if nothing can be compared."""
    return _DEVIATION[name](own, reference)


def _deviations(
    name: str, results: Mapping[Replicate, Mapping[str, Any]], reference: Mapping[str, Any]
) -> dict[Replicate, float]:
    if not reference.get(name):
        return {}
    found = {
        model: deviation(name, result[name], reference[name]) for model, result in results.items() if result.get(name)
    }
    return {model: value for model, value in found.items() if value is not None}


def _of_equations_of_state(own: Mapping[str, Any], reference: Mapping[str, Any]) -> float:
    """Root mean square in meV/atom, each curve measured from its lowest energy; the volumes are the same."""
    energies = [np.array(curve["energies"]) - min(curve["energies"]) for curve in (own, reference)]
    return float(1000 * np.sqrt(np.mean((energies[0] - energies[1]) ** 2)))


def _of_phonons(own: Mapping[str, Any], reference: Mapping[str, Any]) -> float:
    """Root mean square in THz over the bands, in order of frequency, and the path."""
    difference = np.array(own["frequencies"]) - np.array(reference["frequencies"])
    return float(np.sqrt(np.mean(difference**2)))


def _of_lengths_or_angles(own: Sequence[Any], reference: Sequence[Any]) -> float | None:
    """Mean of the absolute differences, over all bonds or angles of the molecules that both have."""
    found, known = _joined(own, reference)
    return float(np.mean(np.abs(found - known))) if len(known) else None


def _of_wavenumbers(own: Sequence[Any], reference: Sequence[Any]) -> float | None:
    """Mean of the absolute differences in per cent, over vibrations, in their order, above those of soft torsions."""
    found, known = _joined(own, reference)
    stiff = known > _SOFT
    return float(100 * np.mean(np.abs(found[stiff] / known[stiff] - 1))) if stiff.any() else None


def _of_torsions(own: Sequence[Any], reference: Sequence[Any]) -> float | None:
    """Root mean square in meV; each profile is measured from its mean."""
    found, known = _joined(own, reference)
    return float(1000 * np.sqrt(np.mean((found - known) ** 2))) if len(known) else None


def _joined(own: Sequence[Any], reference: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the molecules that both have, one after another."""
    both = [(a, b) for a, b in zip(own, reference) if a is not None and b is not None and len(a) == len(b)]
    return tuple(np.array([number for pair in both for number in pair[i]], dtype=float) for i in (0, 1))


_DEVIATION = {
    EQUATION_OF_STATE: _of_equations_of_state,
    PHONONS: _of_phonons,
    BOND_LENGTHS: _of_lengths_or_angles,
    BOND_ANGLES: _of_lengths_or_angles,
    WAVENUMBERS: _of_wavenumbers,
    TORSIONS: _of_torsions,
}


def _spread(values: Mapping[Replicate, float]) -> Spread | None:
    return spread(list(values.values())) if values else None

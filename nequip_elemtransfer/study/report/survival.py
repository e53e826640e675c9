"""How long simulations with trained models survive, and what they show of structure and motion."""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import CensoredData, binomtest, ecdf

from nequip_elemtransfer.study.config.evaluation_settings import EvaluationSettings, StabilitySettings
from nequip_elemtransfer.study.folder import REFERENCE, simulation_name
from nequip_elemtransfer.study.grid import Grid, Replicate, Run, runs_of_sizes
from nequip_elemtransfer.study.measure.kept import read_simulations
from nequip_elemtransfer.study.property_names import ADF, MSD, RDF
from nequip_elemtransfer.study.report.comparison import (
    PairedDifference,
    Spread,
    cell_name,
    paired_difference,
    peers,
    spread,
)
from nequip_elemtransfer.study.report.intervals import CONFIDENCE


@dataclass(frozen=True)
class Survival:
    """Simulations of one kind with the models of one start; seeds and runs together.

    Args:
        cell: name of the cell of the grid
        start, size: of the training
        begin: name of the structure that simulations begin with
        temperature: K
        time: ps that were asked for
        survived, failed: ps of each run, and whether it failed, in order
        failures: criterion -> number of runs that it ended
        failed_share: share of failed runs, over seeds
        survived_interval: ends of Wilson's interval of :data:`.intervals.CONFIDENCE` for the share that survives
        difference: of the share of failed runs, from the baseline's; None without a common seed
        structure: ``rdf``, ``adf`` or ``msd`` -> mean deviation from the reference, over seeds
        structure_differences: the same names -> difference of the deviations, over seeds that both have
        structure_noise: the same names -> mean deviation of one of the reference's own simulations from the others;
            empty with one simulation
    """

    cell: str
    start: str
    size: int | None
    begin: str
    temperature: float
    time: float
    survived: tuple[float, ...]
    failed: tuple[bool, ...]
    failures: dict[str, int]
    failed_share: Spread
    survived_interval: tuple[float, float]
    difference: PairedDifference | None
    structure: dict[str, Spread]
    structure_differences: dict[str, PairedDifference]
    structure_noise: dict[str, float]

    @property
    def survivors(self) -> int:
        """Runs that lasted to the end."""
        return len(self.survived) - sum(self.failures.values())


def survival(grid: Grid, out: Path) -> list[Survival]:
    """All simulations that were run; empty if the study does not ask for them."""
    settings = EvaluationSettings.from_mapping(grid.evaluations).stability
    if settings is None:
        return []
    found = []
    for starts in peers(runs_of_sizes(grid.runs, settings.sizes), grid.baseline):
        for begin, temperature in conditions(settings):
            reference = _simulations(out, REFERENCE, settings, begin, temperature)
            models = {
                start: {run.replicate: _simulations(out, run.name, settings, begin, temperature) for run in runs}
                for start, runs in starts.items()
            }
            baseline = models.get(grid.baseline, {})
            for start, runs in starts.items():
                others = baseline if start != grid.baseline else {}
                if any(models[start].values()):
                    kind = runs[0], begin, temperature, settings.time
                    found.append(_survival(*kind, models[start], others, reference))
    return found


def conditions(settings: StabilitySettings) -> Iterator[tuple[str, float]]:
    """Name of the beginning and temperature (K) of the simulations."""
    for begin, start in settings.starts.items():
        for temperature in start.temperatures:
            yield begin, temperature


def survival_curve(survived: Sequence[float], failed: Sequence[bool]) -> dict[str, np.ndarray]:
    """Kaplan and Meier's estimate of the share of runs that go on, J. Am. Stat. Assoc. 53, 457 (1958).

    Args:
        survived: ps of each run
        failed: whether it ended there; the others were still going on

    Returns:
        ``times`` (ps), from zero, and the ``shares`` from each on, with ``low`` and ``high``, the ends of the interval
        of :data:`.intervals.CONFIDENCE` (log-log transformed); NaN where it is not defined
    """
    ended = np.array(failed, dtype=bool)
    function = ecdf(CensoredData.right_censored(np.array(survived, dtype=float), ~ended)).sf
    with warnings.catch_warnings():  # an interval is not defined before the first failure, nor after the last run
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = function.confidence_interval(CONFIDENCE, method="log-log")
    columns = {"shares": function, "low": interval.low, "high": interval.high}
    shares = {name: np.concatenate([[1.0], column.probabilities]) for name, column in columns.items()}
    return {"times": np.concatenate([[0.0], function.quantiles]), **shares}


def averages(simulations: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """RDF, ADF and mean-square displacement, averaged over the simulations that have them."""
    found = {}
    for name in (RDF, ADF, MSD):
        functions = [simulation[name] for simulation in simulations if name in simulation]
        if functions:
            found[name] = np.mean(functions, axis=0)
    return found


def structure_of(grid: Grid, out: Path, models: Sequence[str], begin: str, temperature: float) -> dict[str, np.ndarray]:
    """:func:`averages` of the simulations of some models, ``reference`` among them."""
    settings = EvaluationSettings.from_mapping(grid.evaluations).stability
    return averages([s for model in models for s in _simulations(out, model, settings, begin, temperature)])


def _simulations(
    out: Path, model: str, settings: StabilitySettings, begin: str, temperature: float
) -> list[dict[str, Any]]:
    names = [simulation_name(begin, temperature, index) for index in range(settings.runs)]
    return read_simulations(out, model, names)


def _survival(
    run: Run,
    begin: str,
    temperature: float,
    time: float,
    models: Mapping[Replicate, Sequence[Mapping[str, Any]]],
    baseline: Mapping[Replicate, Sequence[Mapping[str, Any]]],
    reference: Sequence[Mapping[str, Any]],
) -> Survival:
    everything = [simulation for simulations in models.values() for simulation in simulations]
    failures = Counter(simulation["failure"] for simulation in everything if simulation["failure"])
    structure, others = (_deviations(each, averages(reference)) for each in (models, baseline))
    differences = {name: paired_difference(own, others.get(name, {})) for name, own in structure.items()}
    shares = _failed_shares(models)
    survivors = binomtest(len(everything) - sum(failures.values()), len(everything))
    interval = survivors.proportion_ci(CONFIDENCE, method="wilson")
    return Survival(
        cell=cell_name(run.settings),
        start=run.settings["start"],
        size=run.settings["size"],
        begin=begin,
        temperature=temperature,
        time=time,
        survived=tuple(simulation["survived"] for simulation in everything),
        failed=tuple(simulation["failure"] is not None for simulation in everything),
        failures=dict(failures),
        failed_share=spread(list(shares.values())),
        survived_interval=(float(interval.low), float(interval.high)),
        difference=paired_difference(shares, _failed_shares(baseline)),
        structure={name: spread(list(own.values())) for name, own in structure.items()},
        structure_differences={name: found for name, found in differences.items() if found is not None},
        structure_noise=_noise(reference),
    )


def _failed_shares(models: Mapping[Replicate, Sequence[Mapping[str, Any]]]) -> dict[Replicate, float]:
    """Share of the runs of each model that failed."""
    return {
        model: float(np.mean([simulation["failure"] is not None for simulation in simulations]))
        for model, simulations in models.items()
        if simulations
    }


def _deviations(
    models: Mapping[Replicate, Sequence[Mapping[str, Any]]], reference: Mapping[str, np.ndarray]
) -> dict[str, dict[Replicate, float]]:
    """Name -> model -> mean absolute deviation of the model's average from the reference's."""
    found: dict[str, dict[Replicate, float]] = {}
    for model, simulations in models.items():
        for name, function in averages(simulations).items():
            if name in reference:
                found.setdefault(name, {})[model] = _deviation(function, reference[name])
    return found


def _noise(reference: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Each simulation against the average of the others."""
    found: dict[str, list[float]] = {}
    for i, one in enumerate(reference):
        others = averages([*reference[:i], *reference[i + 1 :]])
        for name, function in averages([one]).items():
            if name in others:
                found.setdefault(name, []).append(_deviation(function, others[name]))
    return {name: float(np.mean(deviations)) for name, deviations in found.items()}


def _deviation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean(np.abs(one - other)))

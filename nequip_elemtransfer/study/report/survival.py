"""How long simulations with trained models survive, and what they show of structure and motion."""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import CensoredData, binomtest, ecdf

from nequip_elemtransfer.intervals import CONFIDENCE, PairedDifference, Replicate, paired_difference
from nequip_elemtransfer.output.page import Picture
from nequip_elemtransfer.study import quantities
from nequip_elemtransfer.study.config.evaluation_settings import STABILITY, EvaluationSettings, StabilitySettings
from nequip_elemtransfer.study.grid import REFERENCE, Grid, simulation_name
from nequip_elemtransfer.study.measure.evaluation import read_all
from nequip_elemtransfer.study.measure.measurements import ADF_EDGES, RDF_EDGES
from nequip_elemtransfer.study.report import comparison, figures
from nequip_elemtransfer.study.report.comparison import Peers, Section, Spread

Simulations = Sequence[Mapping[str, Any]]
Models = Mapping[Replicate, Simulations]


@dataclass(frozen=True)
class Survival:
    """Simulations of one kind with the models of one start.

    Simulations of one model fail alike, so a model is one observation: it lasts if all of its simulations do.

    Args:
        cell: name of the cell of the grid
        start, size: of the training
        begin: name of the structure that simulations begin with
        temperature: K
        time: ps that were asked for
        models: of each simulation its model: the seed, and the source where there are several
        survived, failed: ps of each simulation, and whether it failed, in the same order
        failures: criterion -> number of simulations that it ended
        failed_share: share of failed simulations, over models
        lasting_models: number of models all of whose simulations last
        lasting_interval: ends of Wilson's interval of :data:`.CONFIDENCE` for the share of such models
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
    models: tuple[str, ...]
    survived: tuple[float, ...]
    failed: tuple[bool, ...]
    failures: dict[str, int]
    failed_share: Spread
    lasting_models: int
    lasting_interval: tuple[float, float]
    difference: PairedDifference | None
    structure: dict[str, Spread]
    structure_differences: dict[str, PairedDifference]
    structure_noise: dict[str, float]

    @property
    def survivors(self) -> int:
        """Simulations that lasted to the end."""
        return len(self.survived) - sum(self.failures.values())


@dataclass(frozen=True)
class _Condition:
    """Simulations of one beginning and temperature (K): of the reference, and of the models of each start."""

    begin: str
    temperature: float
    reference: Simulations
    starts: Mapping[str, Models]

    @property
    def title(self) -> str:
        return f"{self.begin}, {self.temperature:g} K"


def survival(grid: Grid, out: Path) -> list[Survival]:
    """All simulations that were run; empty if the study does not ask for them."""
    return [model for _, _, _, models in _compared(grid, out) for model in models]


def survival_sections(grid: Grid, out: Path) -> list[Section]:
    """The same for the report."""
    found = []
    for group, settings, conditions, models in _compared(grid, out):
        pictures = {comparison.picture_file("survival", group.title): survival_picture(models)}
        for name in quantities.STRUCTURE:
            seen = {
                condition.title: {
                    start: functions[name]
                    for start, models_of in condition.starts.items()
                    if name in (functions := averages([s for each in models_of.values() for s in each]))
                }
                for condition in conditions
            }
            seen = {title: functions for title, functions in seen.items() if functions}
            reference = {condition.title: averages(condition.reference).get(name) for condition in conditions}
            if seen:
                x = _axis(name, next(iter(next(iter(seen.values())).values())), settings)
                picture = figures.structure_figure(name, x, seen, reference)
                pictures[comparison.picture_file(name, group.title)] = picture
        found.append(Section(group.title, models, pictures))
    return found


def survival_picture(models: Sequence[Survival]) -> Picture:
    """Share of models that go on against time: a panel for each kind of simulation, a curve for each start."""
    panels: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for model in models:
        ends = first_ends(model.models, model.survived, model.failed)
        curve = {name: np.append(v, v[-1]) for name, v in survival_curve(*zip(*ends.values())).items()}
        curve["times"][-1] = model.time
        panels.setdefault(f"{model.begin}, {model.temperature:g} K", {})[model.start] = curve
    return figures.survival_figure(panels)


def _axis(name: str, function: np.ndarray, settings: StabilitySettings) -> np.ndarray:
    """Centres of the bins, or times."""
    edges = {quantities.RDF: RDF_EDGES, quantities.ADF: ADF_EDGES}.get(name)
    if edges is not None:
        return (edges[1:] + edges[:-1]) / 2
    return settings.protocol(temperature=1.0).sample_interval * np.arange(len(function))


def first_ends(
    models: Sequence[str], survived: Sequence[float], failed: Sequence[bool]
) -> dict[str, tuple[float, bool]]:
    """Model -> ps until its first simulation failed, or until the end of the shortest if none did; whether one did.

    Args:
        models, survived, failed: of each simulation, see :class:`Survival`
    """
    found: dict[str, tuple[float, bool]] = {}
    for model, time, ended in zip(models, survived, failed):
        before = found.get(model, (time, ended))
        found[model] = min(before, (time, ended), key=lambda end: (not end[1], end[0]))
    return found


def survival_curve(survived: Sequence[float], failed: Sequence[bool]) -> dict[str, np.ndarray]:
    """Kaplan and Meier's estimate of the share of models that go on, J. Am. Stat. Assoc. 53, 457 (1958).

    Args:
        survived: ps of each model, see :func:`first_ends`
        failed: whether it ended there; the others were still going on

    Returns:
        ``times`` (ps), from zero, and the ``shares`` from each on, with ``low`` and ``high``, the ends of the interval
        of :data:`.CONFIDENCE` (log-log transformed); NaN where it is not defined
    """
    ended = np.array(failed, dtype=bool)
    function = ecdf(CensoredData.right_censored(np.array(survived, dtype=float), ~ended)).sf
    with warnings.catch_warnings():  # an interval is not defined before the first failure, nor after the last run
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = function.confidence_interval(CONFIDENCE, method="log-log")
    columns = {"shares": function, "low": interval.low, "high": interval.high}
    shares = {name: np.concatenate([[1.0], column.probabilities]) for name, column in columns.items()}
    return {"times": np.concatenate([[0.0], function.quantiles]), **shares}


def averages(simulations: Simulations) -> dict[str, np.ndarray]:
    """RDF, ADF and mean-square displacement, averaged over the simulations that have them."""
    found = {}
    for name in quantities.STRUCTURE:
        functions = [simulation[name] for simulation in simulations if name in simulation]
        if functions:
            found[name] = np.mean(functions, axis=0)
    return found


def _compared(grid: Grid, out: Path) -> Iterator[tuple[Peers, StabilitySettings, list[_Condition], list[Survival]]]:
    """Runs that are compared, with the simulations of their models; nothing where there are none."""
    settings = EvaluationSettings.from_mapping(grid.evaluations).stability
    if settings is None:
        return
    for group in comparison.peers(grid, settings.sizes):
        conditions = []
        for begin, start in settings.starts.items():
            for temperature in start.temperatures:
                names = [simulation_name(begin, temperature, index) for index in range(settings.runs)]
                load = partial(read_all, out, STABILITY, names=names)
                conditions.append(_Condition(begin, temperature, load(REFERENCE), group.models(load)))
        models = [
            _survival(group, start, condition, settings.time, grid.baseline)
            for condition in conditions
            for start, own in condition.starts.items()
            if any(own.values())
        ]
        if models:
            yield group, settings, conditions, models


def _survival(group: Peers, start: str, condition: _Condition, time: float, baseline_start: str) -> Survival:
    models, reference = condition.starts[start], condition.reference
    baseline = condition.starts.get(baseline_start, {}) if start != baseline_start else {}
    everything = [simulation for simulations in models.values() for simulation in simulations]
    failures = Counter(simulation["failure"] for simulation in everything if simulation["failure"])
    structure, others = (_deviations(each, averages(reference)) for each in (models, baseline))
    differences = {name: paired_difference(own, others.get(name, {})) for name, own in structure.items()}
    shares = _failed_shares(models)
    lasting = sum(share == 0 for share in shares.values())
    interval = binomtest(lasting, len(shares)).proportion_ci(CONFIDENCE, method="wilson")
    return Survival(
        cell=group.cell,
        start=start,
        size=group.size,
        begin=condition.begin,
        temperature=condition.temperature,
        time=time,
        models=tuple(str(model) for model, simulations in models.items() for _ in simulations),
        survived=tuple(simulation["survived"] for simulation in everything),
        failed=tuple(simulation["failure"] is not None for simulation in everything),
        failures=dict(failures),
        failed_share=comparison.spread(list(shares.values())),
        lasting_models=lasting,
        lasting_interval=(float(interval.low), float(interval.high)),
        difference=paired_difference(shares, _failed_shares(baseline)),
        structure={name: comparison.spread(list(own.values())) for name, own in structure.items()},
        structure_differences={name: found for name, found in differences.items() if found is not None},
        structure_noise=_noise(reference),
    )


def _failed_shares(models: Models) -> dict[Replicate, float]:
    """Share of the simulations of each model that failed; models with none are left out."""
    return {
        model: float(np.mean([simulation["failure"] is not None for simulation in simulations]))
        for model, simulations in models.items()
        if simulations
    }


def _deviations(models: Models, reference: Mapping[str, np.ndarray]) -> dict[str, dict[Replicate, float]]:
    """Name -> model -> mean absolute deviation of the model's average from the reference's."""
    found: dict[str, dict[Replicate, float]] = {}
    for model, simulations in models.items():
        for name, function in averages(simulations).items():
            if name in reference:
                found.setdefault(name, {})[model] = _deviation(function, reference[name])
    return found


def _noise(reference: Simulations) -> dict[str, float]:
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

"""How long simulations with trained models survive, and what they show of structure and motion."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nequip_elemtransfer.study.config.evaluation_settings import EvaluationSettings, StabilitySettings
from nequip_elemtransfer.study.config.study_file import SCRATCH
from nequip_elemtransfer.study.folder import REFERENCE, simulation_name
from nequip_elemtransfer.study.grid import Grid, Run, runs_of_sizes
from nequip_elemtransfer.study.measure.kept import read_simulations
from nequip_elemtransfer.study.property_names import ADF, MSD, RDF
from nequip_elemtransfer.study.report.comparison import Spread, better_or_worse, cell_name, peers, spread


@dataclass(frozen=True)
class Survival:
    """Simulations of one kind with the models of one start; seeds and runs together.

    Args:
        cell: name of the cell of the grid
        start, size: of the training
        begin: name of the structure that simulations begin with
        temperature: K
        time: ps that were asked for
        survived: ps of each run, in order
        failures: criterion -> number of runs that it ended
        failed_share: share of failed runs, over seeds
        against_scratch: by the share of failed runs; see :func:`.comparison.better_or_worse`
        structure: ``rdf``, ``adf`` or ``msd`` -> mean deviation from the reference, over seeds
        structure_against_scratch: the same names -> words, where they can be said
    """

    cell: str
    start: str
    size: int | None
    begin: str
    temperature: float
    time: float
    survived: tuple[float, ...]
    failures: dict[str, int]
    failed_share: Spread
    against_scratch: str | None
    structure: dict[str, Spread]
    structure_against_scratch: dict[str, str]

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
    for starts in peers(runs_of_sizes(grid.runs, settings.sizes)):
        for begin, temperature in conditions(settings):
            reference = averages(_simulations(out, REFERENCE, settings, begin, temperature))
            models = {
                start: {run.name: _simulations(out, run.name, settings, begin, temperature) for run in runs}
                for start, runs in starts.items()
            }
            scratch = models.get(SCRATCH, {})
            for start, runs in starts.items():
                others = scratch if start != SCRATCH else {}
                if any(models[start].values()):
                    kind = runs[0], begin, temperature, settings.time
                    found.append(_survival(*kind, models[start], others, reference))
    return found


def conditions(settings: StabilitySettings) -> Iterator[tuple[str, float]]:
    """Name of the beginning and temperature (K) of the simulations."""
    for begin, start in settings.starts.items():
        for temperature in start.temperatures:
            yield begin, temperature


def survival_curve(survived: Sequence[float], time: float, failed: int) -> tuple[list[float], list[float]]:
    """Share of runs that have survived, as a line with steps: times (ps) and shares.

    Args:
        survived: ps of each run
        time: ps that were asked for
        failed: number of runs that failed; their times are the shortest
    """
    ends = sorted(survived)[:failed]
    times, shares = [0.0], [1.0]
    for count, end in enumerate(ends, start=1):
        times += [end, end]
        shares += [shares[-1], 1 - count / len(survived)]
    return [*times, time], [*shares, shares[-1]]


def averages(simulations: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """RDF, ADF and mean-square displacement, averaged over the simulations that have them."""
    found = {}
    for name in (RDF, ADF, MSD):
        functions = [simulation[name] for simulation in simulations if name in simulation]
        if functions:
            found[name] = np.mean(functions, axis=0)
    return found


def structure_of(
    grid: Grid, out: Path, models: Sequence[str], begin: str, temperature: float
) -> dict[str, np.ndarray]:
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
    models: Mapping[str, Sequence[Mapping[str, Any]]],
    scratch: Mapping[str, Sequence[Mapping[str, Any]]],
    reference: Mapping[str, np.ndarray],
) -> Survival:
    everything = [simulation for simulations in models.values() for simulation in simulations]
    failures = Counter(simulation["failure"] for simulation in everything if simulation["failure"])
    structure, others = _deviations(models, reference), _deviations(scratch, reference)
    words = {name: better_or_worse(structure[name], others.get(name)) for name in structure}
    share = _failed_share(models)
    return Survival(
        cell=cell_name(run.settings),
        start=run.settings["start"],
        size=run.settings["size"],
        begin=begin,
        temperature=temperature,
        time=time,
        survived=tuple(simulation["survived"] for simulation in everything),
        failures=dict(failures),
        failed_share=share,
        against_scratch=better_or_worse(share, _failed_share(scratch)),
        structure=structure,
        structure_against_scratch={name: word for name, word in words.items() if word is not None},
    )


def _failed_share(models: Mapping[str, Sequence[Mapping[str, Any]]]) -> Spread | None:
    failed = [[s["failure"] is not None for s in simulations] for simulations in models.values() if simulations]
    return spread([float(np.mean(model)) for model in failed]) if failed else None


def _deviations(
    models: Mapping[str, Sequence[Mapping[str, Any]]], reference: Mapping[str, np.ndarray]
) -> dict[str, Spread]:
    """Mean absolute deviation of each model's average from the reference's, over models."""
    found: dict[str, list[float]] = {}
    for simulations in models.values():
        for name, function in averages(simulations).items():
            if name in reference:
                found.setdefault(name, []).append(float(np.mean(np.abs(function - reference[name]))))
    return {name: spread(values) for name, values in found.items()}

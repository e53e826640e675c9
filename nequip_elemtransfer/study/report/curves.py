"""Learning curves, data efficiency and speed of the starts of a study, from its finished runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from nequip_elemtransfer.study.config.starts import SCRATCH
from nequip_elemtransfer.study.folder import State
from nequip_elemtransfer.study.grid import REPLICATED, SOURCE, Replicate
from nequip_elemtransfer.study.report.comparison import PairedDifference, Spread, cell_name, paired_difference, spread
from nequip_elemtransfer.study.report.efficiency import (
    Equivalent,
    Reached,
    equivalent_size,
    factor_interval,
    lowest,
    time_to_reach,
)
from nequip_elemtransfer.study.report.results import RunResult
from nequip_elemtransfer.study.run.metrics import ENERGY_MAE, FORCE_MAE, STRESS_MAE, Validation

TEST_ERRORS = (FORCE_MAE, ENERGY_MAE, STRESS_MAE)


@dataclass(frozen=True)
class Point:
    """Test errors at one size.

    Args:
        size: number of training structures; None if the configs bring their own
        errors: quantity -> error over seeds and sources, eV/Å, eV/atom or eV/Å³; a quantity that no run has is left out
        differences: quantity -> how much lower (negative) or higher than the baseline's; left out where no seed has
            both
        steps: of the training until its weighted validation error was lowest, over seeds; None if not logged
        missing: names of runs without a result
    """

    size: int | None
    errors: dict[str, Spread]
    differences: dict[str, PairedDifference]
    steps: Spread | None
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Efficiency:
    """How many structures from scratch equal those of a transfer.

    Args:
        size: number of structures of the transfer
        quantity: compared error
        equivalent: of the errors averaged over seeds
        of_seeds: seed -> the same of this seed's errors alone, averaged over sources
        interval: of the factor, see :func:`.efficiency.factor_interval`
    """

    size: int
    quantity: str
    equivalent: Equivalent
    of_seeds: dict[int, Equivalent]
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Speed:
    """When a start reaches the lowest validation error of the training from scratch, for one seed.

    Args:
        size: number of training structures
        seed: of both trainings
        source: of the transfer, where the study has several
        quantity: compared error
        error: lowest from scratch, eV/Å, eV/atom or eV/Å³
        scratch, start: when the two reach it
    """

    size: int | None
    seed: int
    source: str | None
    quantity: str
    error: float
    scratch: Reached
    start: Reached


@dataclass(frozen=True)
class Curve:
    """One start in one cell of the grid.

    Args:
        cell: axis -> value of all axes but start, size, seed and source
        start: name
        test_sets: name of the test set -> a point for each size; the whole test set is first
        efficiency, speed: against scratch; empty for scratch itself
    """

    cell: dict[str, Any]
    start: str
    test_sets: dict[str, tuple[Point, ...]]
    efficiency: tuple[Efficiency, ...]
    speed: tuple[Speed, ...]

    @property
    def name(self) -> str:
        """The values of the cell, without those that every run shares by default."""
        return cell_name(self.cell)


def learning_curves(results: Sequence[RunResult], test_sets: Sequence[str], baseline: str = SCRATCH) -> list[Curve]:
    """Evaluate a study.

    Args:
        results: of all runs
        test_sets: names, the whole first; empty if the configs bring their own
        baseline: start that the errors of the others are compared with
    """
    groups: dict[tuple[tuple[tuple[str, Any], ...], str], list[RunResult]] = {}
    for result in results:
        settings = dict(result.run.settings)
        start = settings.pop("start")
        if start != SOURCE:
            for axis in ("size", *REPLICATED):
                settings.pop(axis, None)
            groups.setdefault((tuple(settings.items()), start), []).append(result)
    names = list(test_sets) or sorted({name for result in results for name in result.tests}) or ["test0"]
    return [
        _curve(dict(cell), start, members, *(_others(groups, cell, start, name) for name in (baseline, SCRATCH)), names)
        for (cell, start), members in groups.items()
    ]


def _others(groups: Mapping[Any, list[RunResult]], cell: Any, start: str, name: str) -> list[RunResult]:
    """The runs that a start is compared with, none for itself."""
    return groups.get((cell, name), []) if start != name else []


def _curve(
    cell: dict[str, Any],
    start: str,
    members: list[RunResult],
    baseline: list[RunResult],
    scratch: list[RunResult],
    names: list[str],
) -> Curve:
    points = {name: tuple(_point(name, size, members, baseline) for size in _sizes(members)) for name in names}
    return Curve(cell, start, points, _efficiency(members, scratch, names[0]), _speed(members, scratch))


def _sizes(members: list[RunResult]) -> list[int | None]:
    return sorted({result.run.settings["size"] for result in members}, key=lambda size: size or 0)


def _point(name: str, size: int | None, members: list[RunResult], baseline: list[RunResult]) -> Point:
    errors, differences = {}, {}
    for quantity in TEST_ERRORS:
        own, other = _errors(members, name, quantity, size), _errors(baseline, name, quantity, size)
        if own:
            errors[quantity] = spread(list(own.values()))
            difference = paired_difference(own, other)
            if difference is not None:
                differences[quantity] = difference
    of_size = [result for result in members if result.run.settings["size"] == size]
    missing = tuple(result.run.name for result in of_size if result.state is not State.FINISHED)
    steps = [best for result in of_size if (best := _steps_to_best(result)) is not None]
    return Point(size, errors, differences, spread(steps) if steps else None, missing)


def _steps_to_best(result: RunResult) -> int | None:
    logged = [v for v in result.validations if v.weighted_sum is not None]
    if result.state is not State.FINISHED or not logged:
        return None
    return min(logged, key=lambda v: v.weighted_sum).steps


def _errors(members: Sequence[RunResult], name: str, quantity: str, size: int | None) -> dict[Replicate, float]:
    return {
        result.run.replicate: result.tests[name][quantity]
        for result in members
        if result.run.settings["size"] == size and quantity in result.tests.get(name, {})
    }


def _efficiency(members: list[RunResult], scratch: list[RunResult], name: str) -> tuple[Efficiency, ...]:
    found = []
    for quantity in TEST_ERRORS:
        of_scratch = {size: _errors(scratch, name, quantity, size) for size in _sizes(scratch) if size is not None}
        means = {size: spread(list(errors.values())).mean for size, errors in of_scratch.items() if errors}
        for size in _sizes(members):
            own = _errors(members, name, quantity, size)
            if size is None or not own or not means:
                continue
            of_seeds = {}
            for seed in dict.fromkeys(replicate.seed for replicate in own):
                error = mean(value for replicate, value in own.items() if replicate.seed == seed)
                if same := {
                    n: errors[Replicate(seed)] for n, errors in of_scratch.items() if Replicate(seed) in errors
                }:
                    of_seeds[seed] = equivalent_size(same, error, size)
            equivalent = equivalent_size(means, spread(list(own.values())).mean, size)
            found.append(Efficiency(size, quantity, equivalent, of_seeds, factor_interval(of_seeds)))
    return tuple(found)


def _speed(members: list[RunResult], scratch: list[RunResult]) -> tuple[Speed, ...]:
    partner = {_size_and_seed(result): result for result in scratch if result.state is State.FINISHED}
    found = []
    for quantity in TEST_ERRORS:
        for result in members:
            other = partner.get(_size_and_seed(result))
            if other is None or result.state is not State.FINISHED:
                continue
            own, reference = history(result, quantity), history(other, quantity)
            if own and reference:
                error = lowest(reference)
                size, _ = _size_and_seed(result)
                reached = time_to_reach(reference, error), time_to_reach(own, error)
                found.append(Speed(size, *result.run.replicate, quantity, error, *reached))
    return tuple(found)


def _size_and_seed(result: RunResult) -> tuple[int | None, int]:
    return result.run.settings["size"], result.run.settings["seed"]


def history(result: RunResult, quantity: str) -> list[tuple[int, float, float]]:
    """Steps, seconds and error of each validation of a run."""
    value: Callable[[Validation], float | None] = {
        FORCE_MAE: lambda v: v.force_mae,
        ENERGY_MAE: lambda v: v.energy_mae,
        STRESS_MAE: lambda v: v.stress_mae,
    }[quantity]
    return [(v.steps, v.seconds, value(v)) for v in result.validations if value(v) is not None]

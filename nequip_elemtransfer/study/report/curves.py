r"""Learning curves of the starts of a study, and how many structures and how many steps a start saves.

Between measured sizes, the error from scratch is taken as a power law, a straight line in :math:`\log n` and
:math:`\log` error. Since the mean of few seeds may rise by chance where more data cannot hurt, the error of a size is
the lowest of all sizes up to it.

What ``plan`` said of the transfers before training stands beside them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from nequip_elemtransfer.intervals import Ratio, Replicate, geometric_interval, paired_ratio
from nequip_elemtransfer.plan.verdict import GO
from nequip_elemtransfer.study.config.evaluation_settings import PLAN, EvaluationSettings
from nequip_elemtransfer.study.config.study_file import SCRATCH
from nequip_elemtransfer.study.grid import SOURCE, Grid, State
from nequip_elemtransfer.study.measure.evaluation import read_result
from nequip_elemtransfer.study.report import comparison
from nequip_elemtransfer.study.report.comparison import Spread, spread, spread_if_any
from nequip_elemtransfer.study.run.results import ENERGY_MAE, FORCE_MAE, STRESS_MAE, WEIGHTED_SUM, RunResult

TEST_ERRORS = (FORCE_MAE, ENERGY_MAE, STRESS_MAE)

EQUAL, MORE_THAN, LESS_THAN = "equal", "more than", "less than"


@dataclass(frozen=True)
class Equivalent:
    """How many structures from scratch reach an error.

    Args:
        size: number of structures
        bound: ``equal``, or ``more than`` or ``less than`` where the error lies outside of what was measured
        factor: ``size`` over the number of structures of the transfer
    """

    size: float
    bound: str
    factor: float

    @property
    def sign(self) -> str:
        """Of the bound."""
        return {EQUAL: "", MORE_THAN: "> ", LESS_THAN: "< "}[self.bound]


@dataclass(frozen=True)
class Reached:
    """When a training first was at or below an error, at the resolution of its validations.

    Args:
        steps: optimizer steps; None if it never was
        seconds: spent in them
        total_steps: of the training
    """

    steps: int | None
    seconds: float | None
    total_steps: int


@dataclass(frozen=True)
class Point:
    """Test errors at one size.

    Args:
        size: number of training structures; None if the configs bring their own
        errors: quantity -> error over seeds and sources, eV/Å, eV/atom or eV/Å³; a quantity that no run has is left out
        ratios: quantity -> to the baseline's errors, seed by seed; left out where no seed has both
        steps: of the training until its weighted validation error was lowest, over seeds; all where there is no
            validation; None if not logged
        missing: names of runs without a result
    """

    size: int | None
    errors: dict[str, Spread]
    ratios: dict[str, Ratio]
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
        interval: of the factor, see :func:`factor_interval`
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
    def points(self) -> tuple[Point, ...]:
        """Of the whole test set."""
        return next(iter(self.test_sets.values()))

    @property
    def name(self) -> str:
        """The values of the cell, without those that every run shares by default."""
        return comparison.cell_name(self.cell)


def learning_curves(results: Sequence[RunResult], test_sets: Sequence[str], baseline: str = SCRATCH) -> list[Curve]:
    """Evaluate a study.

    Args:
        results: of all runs
        test_sets: names, the whole first; empty if the configs bring their own
        baseline: start that the errors of the others are compared with
    """
    groups: dict[tuple[Any, str], list[RunResult]] = {}
    for result in results:
        start = result.run.settings["start"]
        if start != SOURCE:
            groups.setdefault((comparison.settings_without(result.run, "start", "size"), start), []).append(result)
    names = list(test_sets) or sorted({name for result in results for name in result.tests}) or ["test0"]
    curves = []
    for (cell, start), members in groups.items():
        compared, scratch = (groups.get((cell, name), []) if start != name else [] for name in (baseline, SCRATCH))
        points = {name: tuple(_point(name, size, members, compared) for size in _sizes(members)) for name in names}
        efficiency, speed = _efficiency(members, scratch, names[0]), _speed(members, scratch)
        curves.append(Curve(dict(cell), start, points, efficiency, speed))
    return curves


def _sizes(members: Sequence[RunResult]) -> list[int | None]:
    return sorted({result.run.settings["size"] for result in members}, key=lambda size: size or 0)


def _point(name: str, size: int | None, members: Sequence[RunResult], baseline: Sequence[RunResult]) -> Point:
    errors, ratios = {}, {}
    for quantity in TEST_ERRORS:
        own, other = _errors(members, name, quantity, size), _errors(baseline, name, quantity, size)
        if own:
            errors[quantity] = spread(list(own.values()))
            ratio = paired_ratio(own, other)
            if ratio is not None:
                ratios[quantity] = ratio
    of_size = [result for result in members if result.run.settings["size"] == size]
    missing = tuple(result.run.name for result in of_size if result.state is not State.FINISHED)
    steps = {}
    for result in of_size:
        sums = result.history(WEIGHTED_SUM)
        if result.state is State.FINISHED and sums:
            steps[result.run.replicate] = min(sums, key=lambda entry: entry[2])[0]
        elif result.state is State.FINISHED and result.validated_on == 0 and result.validations:
            steps[result.run.replicate] = result.validations[-1].steps
    return Point(size, errors, ratios, spread_if_any(steps), missing)


def _errors(members: Sequence[RunResult], name: str, quantity: str, size: int | None) -> dict[Replicate, float]:
    return {
        result.run.replicate: result.tests[name][quantity]
        for result in members
        if result.run.settings["size"] == size and quantity in result.tests.get(name, {})
    }


def _efficiency(members: Sequence[RunResult], scratch: Sequence[RunResult], name: str) -> tuple[Efficiency, ...]:
    found = []
    for quantity in TEST_ERRORS:
        of_scratch = {size: _errors(scratch, name, quantity, size) for size in _sizes(scratch) if size is not None}
        means = {size: mean(errors.values()) for size, errors in of_scratch.items() if errors}
        for size in _sizes(members):
            own = _errors(members, name, quantity, size)
            if size is None or not own or not means:
                continue
            of_seeds = {}
            for seed in dict.fromkeys(replicate.seed for replicate in own):
                error = mean(value for replicate, value in own.items() if replicate.seed == seed)
                same = {n: errors[Replicate(seed)] for n, errors in of_scratch.items() if Replicate(seed) in errors}
                if same:
                    of_seeds[seed] = equivalent_size(same, error, size)
            equivalent = equivalent_size(means, mean(own.values()), size)
            found.append(Efficiency(size, quantity, equivalent, of_seeds, factor_interval(of_seeds)))
    return tuple(found)


def _speed(members: Sequence[RunResult], scratch: Sequence[RunResult]) -> tuple[Speed, ...]:
    finished = [result for result in scratch if result.state is State.FINISHED]
    partners = {(result.run.settings["size"], result.run.settings["seed"]): result for result in finished}
    found = []
    for quantity in TEST_ERRORS:
        for result in members:
            size, (seed, source) = result.run.settings["size"], result.run.replicate
            other = partners.get((size, seed))
            if other is None or result.state is not State.FINISHED:
                continue
            own, reference = result.history(quantity), other.history(quantity)
            if own and reference:
                error = min(value for _, _, value in reference)
                reached = time_to_reach(reference, error), time_to_reach(own, error)
                found.append(Speed(size, seed, source, quantity, error, *reached))
    return tuple(found)


def equivalent_size(scratch: Mapping[int, float], error: float, size: int) -> Equivalent:
    """The number of structures at which a training from scratch has the given error.

    Args:
        scratch: number of structures -> error of the training from scratch, positive; at least one
        error: of the transferred model, in the same units, positive
        size: number of structures that it was trained on
    """
    sizes = sorted(scratch)
    errors: list[float] = []
    for n in sizes:
        errors.append(min(scratch[n], errors[-1] if errors else math.inf))
    if error > errors[0]:
        return Equivalent(sizes[0], LESS_THAN, sizes[0] / size)
    if error < errors[-1]:
        return Equivalent(sizes[-1], MORE_THAN, sizes[-1] / size)
    last = next(i for i, reached in enumerate(errors) if reached <= error)
    if last == 0 or errors[last] == error:
        return Equivalent(sizes[last], EQUAL, sizes[last] / size)
    fraction = math.log(errors[last - 1] / error) / math.log(errors[last - 1] / errors[last])
    found = sizes[last - 1] * (sizes[last] / sizes[last - 1]) ** fraction
    return Equivalent(found, EQUAL, found / size)


def factor_interval(of_seeds: Mapping[int, Equivalent]) -> tuple[float, float] | None:
    """Ends of the interval of the geometric mean of the factors, see :func:`.geometric_interval`.

    Args:
        of_seeds: seed -> what its errors alone say

    Returns:
        None with one seed, or where one knows a bound only
    """
    if not of_seeds or any(equivalent.bound != EQUAL for equivalent in of_seeds.values()):
        return None
    found = geometric_interval({Replicate(seed): equivalent.factor for seed, equivalent in of_seeds.items()})
    return None if found.low is None or found.high is None else (found.low, found.high)


def time_to_reach(history: Sequence[tuple[int, float, float]], error: float) -> Reached:
    """The first validation of a training at which its error was at most ``error``.

    Args:
        history: steps, seconds and error of each validation, in order, at least one
        error: in the same units
    """
    total = history[-1][0]
    for steps, seconds, value in history:
        if value <= error:
            return Reached(steps, seconds, total)
    return Reached(None, None, total)


@dataclass(frozen=True)
class Forecast:
    """A plan and the training that it was made for. Errors are force MAE in eV/Å.

    Args:
        cell, start, size: of the training; its seed is the first of the study
        source: of the training, where the study has several
        verdict: of the plan, see :mod:`nequip_elemtransfer.plan.verdict`; of older ones also ``go with care`` and
            ``do not``
        unexplained: part of the held-out force variance that the start leaves; None if not known
        auc: of telling target from source structures, at the lengths where it is lowest; None if not known
        predicted: of the start, on training structures that it was not fitted to; None if not known
        before: validation error of the run before its first step; None if it has none
        after: test error of the run; None if it is not finished
        scratch: the same from scratch
        agrees: whether the transfer ended below scratch, as the verdict ``go`` says; None for others, or if not known
    """

    cell: str
    start: str
    size: int | None
    source: str | None
    verdict: str
    unexplained: float | None
    auc: float | None
    predicted: float | None
    before: float | None
    after: float | None
    scratch: float | None
    agrees: bool | None


def forecasts(grid: Grid, out: Path, results: Sequence[RunResult]) -> list[Forecast]:
    """All plans that were made; empty if the study does not ask for them."""
    settings = EvaluationSettings.from_mapping(grid.evaluations).plan
    if settings is None:
        return []
    by_name = {result.run.name: result for result in results}
    plans = ((run, read_result(out, PLAN, run.name)) for run in grid.targets(settings.sizes))
    return [_forecast(by_name[run.name], plan, results) for run, plan in plans if plan is not None]


def _forecast(result: RunResult, plan: Mapping[str, Any], results: Sequence[RunResult]) -> Forecast:
    settings, verdict = result.run.settings, plan["verdict"]["word"]
    partner = {axis: value for axis, value in settings.items() if axis != "source"} | {"start": SCRATCH}
    scratch = next((_tested(other) for other in results if other.run.settings == partner), None)
    after = _tested(result)
    unexplained, _, auc = plan["verdict"]["numbers"].values()
    _, element_map, *_, last = plan["ladder"]  # the start is one of its steps
    predicted = (last if plan["rescales"] else element_map)["force_mae"]
    return Forecast(
        cell=comparison.cell_name(settings),
        start=settings["start"],
        size=settings["size"],
        source=result.run.replicate.source,
        verdict=verdict,
        unexplained=unexplained,
        auc=auc,
        predicted=None if predicted is None else predicted["value"],
        before=result.validations[0].force_mae if result.validations else None,
        after=after,
        scratch=scratch,
        agrees=None if verdict != GO or after is None or scratch is None else after < scratch,
    )


def _tested(result: RunResult) -> float | None:
    """Force MAE on the whole test set."""
    return next(iter(result.tests.values()), {}).get(FORCE_MAE)

r"""How many structures, and how many steps, a start saves: pure functions of the numbers of learning curves.

Between measured sizes, the error from scratch is taken as a power law, a straight line in :math:`\log n` and
:math:`\log` error. Since the mean of few seeds may rise by chance where more data cannot hurt, the error of a size is
the lowest of all sizes up to it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from nequip_elemtransfer.study.grid import Replicate
from nequip_elemtransfer.study.report.intervals import reach

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
    """Ends of the interval of :data:`.intervals.CONFIDENCE` of the geometric mean of the factors.

    By Student's t over their logarithms.

    Args:
        of_seeds: seed -> what its errors alone say

    Returns:
        None with one seed, or where one knows a bound only
    """
    if any(equivalent.bound != EQUAL for equivalent in of_seeds.values()):
        return None
    logarithms = {Replicate(seed): math.log(equivalent.factor) for seed, equivalent in of_seeds.items()}
    half = reach(logarithms) if logarithms else None
    if half is None:
        return None
    middle = mean(logarithms.values())
    return math.exp(middle - half), math.exp(middle + half)


def lowest(history: Sequence[tuple[int, float, float]]) -> float:
    """The lowest error of a training.

    Args:
        history: steps, seconds and error of each validation, at least one
    """
    return min(error for _, _, error in history)


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

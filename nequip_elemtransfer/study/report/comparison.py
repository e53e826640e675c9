"""Which runs are compared with each other, over what spread, and with what certainty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from typing import Any

from scipy.stats import t as student_t

from nequip_elemtransfer.study.config.study_file import DEFAULT
from nequip_elemtransfer.study.grid import SOURCE, Run

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """Mean of a quantity over seeds.

    Args:
        mean, low, high: mean, smallest and largest value
        deviation: standard deviation of the sample; None with one value
        count: number of values
    """

    mean: float
    low: float
    high: float
    deviation: float | None
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and spread of at least one value."""
    return Spread(mean(values), min(values), max(values), stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class PairedDifference:
    """Of a quantity between two starts, seed by seed: subsets, weights and batches of a seed are the same.

    Args:
        mean: of the differences, in the unit of the quantity
        low, high: ends of the interval of :data:`CONFIDENCE`, by Student's t over the pairs; None with one pair
        relative: the mean over the mean of the other start's values; None where that is zero
        effect: the mean over the standard deviation of the differences (Cohen's d); None with one pair or without
            spread
        count: number of pairs
    """

    mean: float
    low: float | None
    high: float | None
    relative: float | None
    effect: float | None
    count: int


def paired_difference(own: Mapping[int, float], other: Mapping[int, float]) -> PairedDifference | None:
    """How much lower or higher a quantity is than that of another start.

    Args:
        own, other: seed -> value; seeds that one of them lacks are left out

    Returns:
        None without a common seed
    """
    seeds = [seed for seed in own if seed in other]
    if not seeds:
        return None
    differences = [own[seed] - other[seed] for seed in seeds]
    base, middle, n = mean(other[seed] for seed in seeds), mean(differences), len(seeds)
    relative = middle / base if base else None
    if n == 1:
        return PairedDifference(middle, None, None, relative, None, n)
    deviation = stdev(differences)
    reach = float(student_t.ppf((1 + CONFIDENCE) / 2, n - 1)) * deviation / sqrt(n)
    effect = middle / deviation if deviation else None
    return PairedDifference(middle, middle - reach, middle + reach, relative, effect, n)


def peers(runs: Sequence[Run], baseline: str) -> list[dict[str, list[Run]]]:
    """Runs that differ only in start and seed, as start -> runs, for each cell and size; the baseline first."""
    found: dict[tuple, dict[str, list[Run]]] = {}
    for run in runs:
        settings = dict(run.settings)
        start = settings.pop("start")
        if start != SOURCE:
            settings.pop("seed")
            found.setdefault(tuple(settings.items()), {}).setdefault(start, []).append(run)
    return [dict(sorted(starts.items(), key=lambda item: item[0] != baseline)) for starts in found.values()]


def cell_name(settings: Mapping[str, Any]) -> str:
    """The values of a cell, without those that every run shares by default."""
    own = (value for axis, value in settings.items() if axis not in ("start", "size", "seed"))
    return ", ".join(str(value) for value in own if value != DEFAULT)

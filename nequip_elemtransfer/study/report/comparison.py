"""Which runs are compared with each other, over what spread, and with what certainty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from nequip_elemtransfer.study.config.study_file import DEFAULT
from nequip_elemtransfer.study.grid import REPLICATED, SOURCE, Replicate, Run
from nequip_elemtransfer.study.report.intervals import reach


@dataclass(frozen=True)
class Spread:
    """Mean of a quantity over seeds, and sources where there are several.

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
        low, high: ends of the interval of :data:`.intervals.CONFIDENCE`, see :func:`.intervals.reach`; None with one
            pair
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


def paired_difference(own: Mapping[Replicate, float], other: Mapping[Replicate, float]) -> PairedDifference | None:
    """How much lower or higher a quantity is than that of another start.

    Trainings of one seed are compared, and of one source where both have one. Seeds that a start or one of the sources
    lacks are left out.

    Returns:
        None without a common seed
    """
    pairs = _pairs(own, other)
    if not pairs:
        return None
    differences = {replicate: a - b for replicate, (a, b) in pairs.items()}
    base, middle, n = mean(b for _, b in pairs.values()), mean(differences.values()), len(pairs)
    relative = middle / base if base else None
    half = reach(differences)
    if half is None:
        return PairedDifference(middle, None, None, relative, None, n)
    deviation = stdev(differences.values())
    effect = middle / deviation if deviation else None
    return PairedDifference(middle, middle - half, middle + half, relative, effect, n)


def _pairs(own: Mapping[Replicate, float], other: Mapping[Replicate, float]) -> dict[Replicate, tuple[float, float]]:
    pairs = {
        Replicate(one.seed, one.source or another.source): (own[one], other[another])
        for one in own
        for another in other
        if one.seed == another.seed and (one.source == another.source or None in (one.source, another.source))
    }
    sources = {replicate.source for replicate in pairs}
    return {
        replicate: pair
        for replicate, pair in pairs.items()
        if all(Replicate(replicate.seed, source) in pairs for source in sources)
    }


def peers(runs: Sequence[Run], baseline: str) -> list[dict[str, list[Run]]]:
    """Runs that differ only in start, seed and source, as start -> runs, for each cell and size; the baseline first."""
    found: dict[tuple, dict[str, list[Run]]] = {}
    for run in runs:
        settings = dict(run.settings)
        start = settings.pop("start")
        if start != SOURCE:
            for axis in REPLICATED:
                settings.pop(axis, None)
            found.setdefault(tuple(settings.items()), {}).setdefault(start, []).append(run)
    return [dict(sorted(starts.items(), key=lambda item: item[0] != baseline)) for starts in found.values()]


def cell_name(settings: Mapping[str, Any]) -> str:
    """The values of a cell, without those that every run shares by default."""
    own = (value for axis, value in settings.items() if axis not in ("start", "size", *REPLICATED))
    return ", ".join(str(value) for value in own if value != DEFAULT)

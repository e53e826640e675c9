"""Which runs are compared with each other, over what spread, and in what words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from nequip_elemtransfer.study.config.study_file import DEFAULT, SCRATCH
from nequip_elemtransfer.study.grid import SOURCE, Run

BETTER, WORSE, SIMILAR = "better", "worse", "within the spread"


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


def better_or_worse(own: Spread | None, other: Spread | None) -> str | None:
    """``better`` or ``worse`` if every value is below or above every other one, else ``within the spread``.

    Returns:
        None where either has fewer than two values
    """
    if own is None or other is None or min(own.count, other.count) < 2:
        return None
    return BETTER if own.high < other.low else WORSE if own.low > other.high else SIMILAR


def peers(runs: Sequence[Run]) -> list[dict[str, list[Run]]]:
    """Runs that differ only in start and seed, as start -> runs, for each cell and size of the grid; scratch first."""
    found: dict[tuple, dict[str, list[Run]]] = {}
    for run in runs:
        settings = dict(run.settings)
        start = settings.pop("start")
        if start != SOURCE:
            settings.pop("seed")
            found.setdefault(tuple(settings.items()), {}).setdefault(start, []).append(run)
    return [dict(sorted(starts.items(), key=lambda item: item[0] != SCRATCH)) for starts in found.values()]


def cell_name(settings: Mapping[str, Any]) -> str:
    """The values of a cell, without those that every run shares by default."""
    own = (value for axis, value in settings.items() if axis not in ("start", "size", "seed"))
    return ", ".join(str(value) for value in own if value != DEFAULT)

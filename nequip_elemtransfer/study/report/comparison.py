"""Which runs are compared with each other, over what spread, and with what certainty."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from typing import Any, TypeVar

import numpy as np
from scipy.stats import t as student_t

from nequip_elemtransfer.output.page import Picture
from nequip_elemtransfer.study.config.study_file import DEFAULT
from nequip_elemtransfer.study.grid import REPLICATED, Grid, Replicate, Run

T = TypeVar("T")
CONFIDENCE = 0.95


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


def spread_if_any(values: Mapping[Replicate, float]) -> Spread | None:
    """Mean and spread over models; None without a value."""
    return spread(list(values.values())) if values else None


@dataclass(frozen=True)
class PairedDifference:
    """Of a quantity between two starts, seed by seed: subsets, weights and batches of a seed are the same.

    Args:
        mean: of the differences, in the unit of the quantity
        low, high: ends of the interval of :data:`CONFIDENCE`, see :func:`reach`; None with one pair
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


def reach(values: Mapping[Replicate, float]) -> float | None:
    """Half the width of the interval of :data:`CONFIDENCE` of the mean.

    Of one source, Student's t over the seeds. Of several, each seed with each, both are random: trainings that share a
    source are alike, and so are those that share a seed. The variance of the mean is then that of the crossed random
    model without interaction, its degrees of freedom those of Satterthwaite, Biometrics Bulletin 2, 110 (1946); a
    component that comes out negative is zero.

    Args:
        values: a number for each seed and source, none missing

    Returns:
        None of one value
    """
    seeds = dict.fromkeys(replicate.seed for replicate in values)
    sources = dict.fromkeys(replicate.source for replicate in values)
    table = np.array([[values[Replicate(seed, source)] for source in sources] for seed in seeds], dtype=float)
    if table.size == 1:
        return None
    variance, freedom = (table.var(ddof=1), table.size - 1) if 1 in table.shape else _crossed(table)
    return float(student_t.ppf((1 + CONFIDENCE) / 2, freedom)) * sqrt(variance / table.size)


def _crossed(table: np.ndarray) -> tuple[float, float]:
    """The size of the table times the variance of its mean, and its degrees of freedom."""
    rows, columns = table.shape
    by_row, by_column = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    rest = table - by_row - by_column + table.mean()
    freedoms = np.array([rows - 1, columns - 1, (rows - 1) * (columns - 1)])
    squares = np.array([columns * by_row.var() * rows, rows * by_column.var() * columns, (rest**2).sum()]) / freedoms
    used = np.array([squares[0] > squares[2], squares[1] > squares[2]], dtype=float)
    parts = np.array([*used, 1 - used.sum()]) * squares
    total = float(parts.sum())
    return total, total**2 / float((parts**2 / freedoms).sum()) if total else 1.0


@dataclass(frozen=True)
class Peers:
    """Runs that differ only in start, seed and source.

    Args:
        cell: see :func:`cell_name`
        size: number of training structures; None if the configs bring their own
        starts: start -> runs, the baseline first
    """

    cell: str
    size: int | None
    starts: Mapping[str, Sequence[Run]]

    @property
    def title(self) -> str:
        """Cell and size."""
        return ", ".join(filter(None, [self.cell, "" if self.size is None else f"{self.size} structures"]))

    def models(self, load: Callable[[str], T | None]) -> dict[str, dict[Replicate, T]]:
        """Start -> model -> what is loaded by the name of its run, without what is not there."""
        return {
            start: {run.replicate: found for run in runs if (found := load(run.name)) is not None}
            for start, runs in self.starts.items()
        }


@dataclass(frozen=True)
class Section:
    """What is compared with each other, and its pictures.

    Args:
        title: of the cell, and the size where there are several sections of a cell
        models: what is known of each start
        pictures: name -> picture
    """

    title: str
    models: Sequence[Any]
    pictures: Mapping[str, Picture]


def peers(grid: Grid, sizes: Sequence[int | str] | None) -> list[Peers]:
    """The trainings of the target with one of the sizes, None for any, by what they are compared with."""
    found: dict[Any, dict[str, list[Run]]] = {}
    for run in grid.targets(sizes):
        found.setdefault(settings_without(run, "start"), {}).setdefault(run.settings["start"], []).append(run)
    groups = []
    for starts in found.values():
        settings = next(iter(starts.values()))[0].settings
        ordered = dict(sorted(starts.items(), key=lambda item: item[0] != grid.baseline))
        groups.append(Peers(cell_name(settings), settings["size"], ordered))
    return groups


def settings_without(run: Run, *axes: str) -> tuple[tuple[str, Any], ...]:
    """What a run shares with others: its settings without seed, source and some axes."""
    return tuple((axis, value) for axis, value in run.settings.items() if axis not in (*axes, *REPLICATED))


def cell_name(settings: Mapping[str, Any]) -> str:
    """The values of a cell, without those that every run shares by default."""
    own = (value for axis, value in settings.items() if axis not in ("start", "size", *REPLICATED))
    return ", ".join(str(value) for value in own if value != DEFAULT)


def picture_file(name: str, title: str) -> str:
    """Name of a picture's file, without spaces."""
    return "-".join([name, *title.replace(",", "").split()]) + ".png"

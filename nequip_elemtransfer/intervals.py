"""What repeated trainings say of a mean, and of the ratio of two errors, with intervals of 95 %.

Errors are positive and differ by factors, so they are compared as ratios: means are geometric, and the interval is that
of the mean logarithm, whose ends are never zero. Sets of trainings are paired where they share what differs between
their members, as two starts share the structures of a seed; sets of different sizes are not, and are compared as two
samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import fmean
from typing import NamedTuple, TypeVar

import numpy as np
from scipy.stats import t as student_t

T = TypeVar("T")
CONFIDENCE = 0.95


class Replicate(NamedTuple):
    """Which of the trainings that are alike in all else.

    Args:
        seed: of the subset, the random weights and the order of batches; of a cross-validation, the fold
        source: name of the trained source, where there are several and the training has one
    """

    seed: int
    source: str | None = None

    def __str__(self) -> str:
        return f"{self.seed}" if self.source is None else f"{self.seed}, source {self.source}"


@dataclass(frozen=True)
class Interval:
    """A mean and its interval of :data:`CONFIDENCE`.

    Args:
        middle: the mean
        low, high: ends; None of one value
        count: number of values
    """

    middle: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Ratio:
    """Of the errors of one start to those of another.

    Args:
        ratio: of the geometric means
        low, high: ends of the interval of :data:`CONFIDENCE`, never zero; None where a spread is not known
        count: number of pairs; of unpaired sets, of values in the smaller
        paired: whether the errors were compared pair by pair
    """

    ratio: float
    low: float | None
    high: float | None
    count: int
    paired: bool

    @property
    def told_apart(self) -> bool:
        """Whether 1 lies outside the interval; if not, the errors are not told apart, which is not equality."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high

    @property
    def percent(self) -> str:
        """``−31 % (−45 to −17)``: by how much the errors are lower or higher, with the interval."""
        text = f"{100 * (self.ratio - 1):+.0f} %"
        if self.low is not None and self.high is not None:
            text += f" ({100 * (self.low - 1):+.0f} to {100 * (self.high - 1):+.0f})"
        return text.replace("-", "−")


@dataclass(frozen=True)
class PairedDifference:
    """Of a quantity that may be zero, between two starts, seed by seed.

    Args:
        mean: of the differences, in the unit of the quantity
        low, high: ends of the interval of :data:`CONFIDENCE`; None with one pair
        count: number of pairs
    """

    mean: float
    low: float | None
    high: float | None
    count: int


def mean_interval(values: Mapping[Replicate, float]) -> Interval:
    """Of the mean of at least one value; see :func:`_of_mean`."""
    found = _of_mean(values)
    low, high = found.ends
    return Interval(found.mean, low, high, len(values))


def geometric_interval(values: Mapping[Replicate, float]) -> Interval:
    """Of the geometric mean of positive values, at least one: its ends are never zero."""
    found = mean_interval(_logarithms(values))
    return Interval(exp(found.middle), _exp(found.low), _exp(found.high), len(values))


def paired_ratio(
    own: Mapping[Replicate, float], other: Mapping[Replicate, float], *, overlap: float = 0.0
) -> Ratio | None:
    """By which factor errors differ from another start's: trainings of one seed are compared with each other.

    Of the same seed both have the same structures, and a source is compared with itself where both have one. Seeds that
    a start or one of the sources lacks are left out.

    Args:
        overlap: of folds of a cross-validation, test structures over training structures: what they share makes their
            mean less certain (Nadeau and Bengio, Machine Learning 52, 239 (2003))

    Returns:
        None without a common seed, or where an error is zero
    """
    pairs = _pairs(own, other)
    if not pairs or any(min(pair) <= 0 for pair in pairs.values()):
        return None
    found = _of_mean({replicate: log(a / b) for replicate, (a, b) in pairs.items()}, overlap)
    return _ratio(found, len(pairs), paired=True)


def unpaired_ratio(own: Mapping[Replicate, float], other: Mapping[Replicate, float]) -> Ratio | None:
    """By which factor errors differ between sets that have no structures in common by seed, as of two sizes.

    Welch's t of the logarithms, Biometrika 34, 28 (1947).

    Returns:
        None if one is empty or an error is zero
    """
    own, other = _complete(own), _complete(other)
    if not own or not other or min(*own.values(), *other.values()) <= 0:
        return None
    ours, theirs = (_of_mean(_logarithms(values)) for values in (own, other))
    return _ratio(ours.less(theirs), min(len(own), len(other)), paired=False)


def paired_difference(own: Mapping[Replicate, float], other: Mapping[Replicate, float]) -> PairedDifference | None:
    """How much lower or higher a quantity is that may be zero, by the pairs of :func:`paired_ratio`.

    Returns:
        None without a common seed
    """
    pairs = _pairs(own, other)
    if not pairs:
        return None
    found = mean_interval({replicate: a - b for replicate, (a, b) in pairs.items()})
    return PairedDifference(found.middle, found.low, found.high, found.count)


class _Mean(NamedTuple):
    """Of a sample: its mean, the variance of that, and its degrees of freedom; the variance is None of one value."""

    mean: float
    variance: float | None
    freedom: float

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """Of the interval of :data:`CONFIDENCE`."""
        if self.variance is None:
            return None, None
        half = float(student_t.ppf((1 + CONFIDENCE) / 2, self.freedom)) * sqrt(self.variance)
        return self.mean - half, self.mean + half

    def less(self, other: "_Mean") -> "_Mean":
        """The difference of the means of two samples, with the degrees of freedom of Welch and Satterthwaite."""
        mean = self.mean - other.mean
        if self.variance is None or other.variance is None:
            return _Mean(mean, None, 0.0)
        variance = self.variance + other.variance
        parts = self.variance**2 / self.freedom + other.variance**2 / other.freedom
        return _Mean(mean, variance, variance**2 / parts if parts else 1.0)


def _of_mean(values: Mapping[Replicate, float], overlap: float = 0.0) -> _Mean:
    """The mean over seeds and sources, and how certain it is.

    Of one source, Student's t over the seeds. Of several, each seed with each, both are random: trainings that share a
    source are alike, and so are those that share a seed. The variance of the mean is then that of the crossed random
    model without interaction, its degrees of freedom those of Satterthwaite, Biometrics Bulletin 2, 110 (1946); a
    component that comes out negative is zero.

    Args:
        values: a number for each seed and source, none missing
        overlap: see :func:`paired_ratio`
    """
    seeds = dict.fromkeys(replicate.seed for replicate in values)
    sources = dict.fromkeys(replicate.source for replicate in values)
    table = np.array([[values[Replicate(seed, source)] for source in sources] for seed in seeds], dtype=float)
    middle = fmean(values.values())
    if table.size == 1:
        return _Mean(middle, None, 0.0)
    variance, freedom = (float(table.var(ddof=1)), table.size - 1) if 1 in table.shape else _crossed(table)
    return _Mean(middle, variance * (1 / table.size + overlap), freedom)


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


def _ratio(found: _Mean, count: int, *, paired: bool) -> Ratio:
    low, high = found.ends
    return Ratio(exp(found.mean), _exp(low), _exp(high), count, paired)


def _exp(end: float | None) -> float | None:
    return None if end is None else exp(end)


def _logarithms(values: Mapping[Replicate, float]) -> dict[Replicate, float]:
    return {replicate: log(value) for replicate, value in values.items()}


def _pairs(own: Mapping[Replicate, float], other: Mapping[Replicate, float]) -> dict[Replicate, tuple[float, float]]:
    return _complete(
        {
            Replicate(one.seed, one.source or another.source): (own[one], other[another])
            for one in own
            for another in other
            if one.seed == another.seed and (one.source == another.source or None in (one.source, another.source))
        }
    )


def _complete(values: Mapping[Replicate, T]) -> dict[Replicate, T]:
    """Without the seeds that one of the sources lacks."""
    sources = {replicate.source for replicate in values}
    return {
        replicate: value
        for replicate, value in values.items()
        if all(Replicate(replicate.seed, source) in values for source in sources)
    }

"""How certain a mean over seeds, and over sources, is."""

from collections.abc import Mapping
from math import sqrt

import numpy as np
from scipy.stats import t as student_t

from nequip_elemtransfer.study.grid import Replicate

CONFIDENCE = 0.95


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
    table = np.array([[values[Replicate(*pair)] for pair in row] for row in _pairs(values)], dtype=float)
    if table.size == 1:
        return None
    variance, freedom = (table.var(ddof=1), table.size - 1) if 1 in table.shape else _crossed(table)
    return float(student_t.ppf((1 + CONFIDENCE) / 2, freedom)) * sqrt(variance / table.size)


def _pairs(values: Mapping[Replicate, float]) -> list[list[tuple[int, str | None]]]:
    """A row for each seed, a column for each source."""
    sources = dict.fromkeys(replicate.source for replicate in values)
    return [[(seed, source) for source in sources] for seed in dict.fromkeys(replicate.seed for replicate in values)]


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

r"""Errors on structures that were held out, over all folds, and how certain they are.

The mean error :math:`E` over the structures of all folds is a ratio of sums, of errors :math:`a_g` and numbers of
labels :math:`w_g` of :math:`n` groups. The standard error of its logarithm is, linearized,

.. math::

    s_g^2 = \frac{1}{n (n - 1)} \sum_g \left(\frac{a_g - E w_g}{E \bar w}\right)^2 .

The folds' own errors :math:`E_f` differ by more than groups explain where trainings differ, and the model that is
trained in the end is one training more:

.. math::

    s^2 = s_g^2 + \max(0,\ \mathrm{var}(E_f) / E^2 - k\,s_g^2)

with :math:`k` folds. The interval is that of Student's t with :math:`n - 1` degrees of freedom. Its ends are never
zero. How often it holds the error of all structures is measured in ``evidence/race.md``.
"""

from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
from scipy.stats import t as student_t

from nequip_elemtransfer.config import LabelKind
from nequip_elemtransfer.intervals import CONFIDENCE, Interval, Ratio
from nequip_elemtransfer.structures.labels import Labels

# the error falls as a power of the number of structures; no more than this is believed
_STEEPEST = 1.0


@dataclass(frozen=True)
class HeldOutErrors:
    """Sums of errors of one kind of label over each structure that was held out.

    Args:
        absolute, squared: sums over the structure's labels, in eV and Å; energies per atom; shape (n,)
        weights: number of labels, shape (n,)
        groups: number of each structure's group, shape (n,)
        folds: number of the fold that held it out, shape (n,)
    """

    absolute: np.ndarray
    squared: np.ndarray
    weights: np.ndarray
    groups: np.ndarray
    folds: np.ndarray

    def mae(self) -> Interval:
        """Mean absolute error, with its interval."""
        return _pooled(self.absolute, self.weights, self.groups, self.folds)

    def rmse(self) -> Interval:
        """Root mean square error, with its interval."""
        found = _pooled(self.squared, self.weights, self.groups, self.folds)
        low, high = (None if end is None else sqrt(end) for end in (found.low, found.high))
        return Interval(sqrt(found.middle), low, high, found.count)


def held_out_errors(
    kind: LabelKind, predicted: Labels, reference: Labels, n_atoms: np.ndarray, groups: np.ndarray, folds: np.ndarray
) -> HeldOutErrors | None:
    """Errors of predictions.

    Args:
        predicted, reference: of the structures, NaN where missing
        n_atoms, groups, folds: of each structure, shape (n,)

    Returns:
        None where no structure has a label
    """
    difference = predicted.of(kind) - reference.of(kind)
    if kind == "energy":
        difference = difference / n_atoms
    structure = np.repeat(np.arange(len(n_atoms)), n_atoms) if kind == "forces" else np.arange(len(n_atoms))
    rows = difference.reshape(len(difference), -1)
    there = np.isfinite(rows)
    sums = [
        np.bincount(structure, values.sum(axis=1), len(n_atoms))
        for values in (np.where(there, np.abs(rows), 0.0), np.where(there, rows, 0.0) ** 2, there)
    ]
    known = sums[2] > 0
    if not known.any():
        return None
    return HeldOutErrors(*(values[known] for values in (*sums, groups, folds)))


def exponent(half: Ratio, factor: float) -> Interval | None:
    """How fast errors fall with the number of structures: b of ``n**-b``.

    Args:
        half: ratio of the errors with all structures of a fold to those with some of them
        factor: of the numbers of structures, above one

    Returns:
        with its interval, from 0 to 1; None where there is no interval
    """
    if half.low is None or half.high is None or factor <= 1:
        return None
    ends = [-log(value) / log(factor) for value in (half.ratio, half.high, half.low)]
    middle, low, high = (min(max(end, 0.0), _STEEPEST) for end in ends)
    return Interval(middle, low, high, half.count)


def at_size(error: Interval, slope: Interval | None, factor: float) -> Interval:
    """An error with more structures, the exponent's own uncertainty in its ends.

    Args:
        error: with some number of structures
        slope: see :func:`exponent`; None leaves the error as it is
        factor: by how much more structures there are
    """
    if slope is None or slope.low is None or slope.high is None:
        return error
    low = None if error.low is None else error.low * factor**-slope.high
    high = None if error.high is None else error.high * factor**-slope.low
    return Interval(error.middle * factor**-slope.middle, low, high, error.count)


def _pooled(sums: np.ndarray, weights: np.ndarray, groups: np.ndarray, folds: np.ndarray) -> Interval:
    by_group, of_group = _sums(sums, groups), _sums(weights, groups)
    middle, n = float(sums.sum() / weights.sum()), len(by_group)
    by_fold = _sums(sums, folds) / _sums(weights, folds)
    if n < 2 or middle <= 0:
        return Interval(middle, None, None, n)
    influence = (by_group - middle * of_group) / (middle * of_group.mean())
    of_groups = float((influence**2).sum()) / (n * (n - 1))
    of_folds = float(by_fold.var(ddof=1)) / middle**2 if len(by_fold) > 1 else 0.0
    variance = of_groups + max(0.0, of_folds - len(by_fold) * of_groups)
    half = float(student_t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sqrt(variance)
    return Interval(middle, exp(log(middle) - half), exp(log(middle) + half), n)


def _sums(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    _, place = np.unique(labels, return_inverse=True)
    return np.bincount(place, values)

"""Errors to expect: closed forms of their intervals, and how they fall with the number of structures."""

from math import exp, log, sqrt

import numpy as np
import pytest
from scipy.stats import t as student_t

from nequip_elemtransfer.intervals import Interval, Ratio
from nequip_elemtransfer.race.errors import HeldOutErrors, at_size, exponent, held_out_errors
from nequip_elemtransfer.structures.labels import Labels


def _errors(values, folds):
    values = np.array(values, dtype=float)
    n = len(values)
    return HeldOutErrors(values, values**2, np.ones(n), np.arange(n), np.array(folds))


def test_pooled_errors_and_their_intervals():
    values, folds = [1.0, 2.0, 4.0, 5.0], [0, 1, 0, 1]
    mae, rmse = _errors(values, folds).mae(), _errors(values, folds).rmse()
    assert mae.middle == 3.0 and rmse.middle == pytest.approx(sqrt(46 / 4)) and mae.count == 4
    of_groups = np.var(values, ddof=1) / 4 / 3.0**2  # of equally many labels it is that of a mean
    of_folds = np.var([2.5, 3.5], ddof=1) / 3.0**2
    half = student_t.ppf(0.975, 3) * sqrt(of_groups + max(0.0, of_folds - 2 * of_groups))
    assert (mae.low, mae.high) == (pytest.approx(3 * exp(-half)), pytest.approx(3 * exp(half)))
    assert rmse.low > 0


def test_a_structure_without_errors_widens_no_interval_without_bounds():
    """A perfect crystal has no forces, and a model no errors of them."""
    found = _errors([0.0, 3.0, 4.0, 5.0, 4.0], range(5)).mae()
    assert 0 < found.low < found.middle < found.high < 3 * found.middle


def test_folds_that_differ_more_than_their_structures_widen_the_interval():
    """All structures of a fold alike, the folds not: what differs are the trainings."""
    same, other = _errors([2, 2, 2, 2, 2, 2], [0, 0, 1, 1, 2, 2]), _errors([1, 1, 2, 2, 4, 4], [0, 0, 1, 1, 2, 2])
    assert same.mae().high == pytest.approx(2.0)
    shuffled = _errors([1, 2, 4, 1, 2, 4], [0, 0, 0, 1, 1, 1])
    assert other.mae().high > shuffled.mae().high > 7 / 3


def test_copies_count_once():
    values, folds = np.array([1.0, 1.0, 2.0, 4.0]), np.array([0, 0, 1, 1])
    copies = HeldOutErrors(values, values**2, np.ones(4), np.array([0, 0, 1, 2]), folds)
    assert copies.mae().count == 3


def test_labels_that_are_missing_are_left_out():
    reference = Labels(np.array([1.0, np.nan, 3.0]), np.zeros((6, 3)), np.full((3, 3, 3), np.nan))
    predicted = Labels(np.array([1.5, 2.0, 4.0]), np.full((6, 3), 0.1), np.zeros((3, 3, 3)))
    sizes, numbers = np.array([2, 2, 2]), np.arange(3)
    energies = held_out_errors("energy", predicted, reference, sizes, numbers, numbers)
    assert energies.absolute.tolist() == [0.25, 0.5] and energies.groups.tolist() == [0, 2]  # per atom
    forces = held_out_errors("forces", predicted, reference, sizes, numbers, numbers)
    assert forces.mae().middle == pytest.approx(0.1) and forces.weights.tolist() == [6, 6, 6]
    assert held_out_errors("stress", predicted, reference, sizes, numbers, numbers) is None


def test_a_power_law_is_found_and_followed():
    """Errors that go as n**-0.5: the exponent of twice the structures, and the error with other numbers."""
    slope = exponent(Ratio(2**-0.5, 2**-0.7, 2**-0.3, 5, True), 2.0)
    assert (slope.middle, slope.low, slope.high) == pytest.approx((0.5, 0.3, 0.7))
    found = at_size(Interval(1.0, 0.8, 1.25, 10), slope, 10 / 8)
    assert found.middle == pytest.approx(0.8**0.5)
    assert (found.low, found.high) == (pytest.approx(0.8 * 0.8**0.7), pytest.approx(1.25 * 0.8**0.3))
    assert at_size(found, None, 2.0) == found
    # structures that seem to do harm are not believed
    assert exponent(Ratio(1.2, 1.1, 1.3, 5, True), 2.0).middle == 0.0
    assert exponent(Ratio(0.5, None, None, 1, True), 2.0) is None and log(2) > 0

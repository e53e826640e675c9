"""The rule by which a start is stopped, and the comparison of two starts at a validation."""

from math import exp, log

import pytest
from scipy.stats import norm

from nequip_elemtransfer.intervals import Ratio, Replicate, geometric_interval
from nequip_elemtransfer.race.course import MARKS, STOP_MARK
from nequip_elemtransfer.race.rule import LINES, outlook
from nequip_elemtransfer.race.standings import Mark, duel, inverse, leader


def _ratio(value, low=None, high=None):
    return Ratio(value, value if low is None else low, value if high is None else high, 5, True)


def test_a_start_from_scratch_catches_up():
    line = LINES["forces"]
    found = outlook(_ratio(1.0), "forces", catching_up=True)
    assert found.ratio == pytest.approx(exp(line.intercept)) and not found.told_apart
    assert log(found.high / found.low) == pytest.approx(2 * norm.ppf(0.95) * line.spread)
    # between two transfers nothing has to be caught up
    assert outlook(_ratio(1.0), "forces", catching_up=False).ratio == 1.0


def test_the_folds_own_uncertainty_widens_it():
    sure, unsure = (
        outlook(_ratio(0.5, low, high), "forces", catching_up=True) for low, high in ((0.5, 0.5), (0.3, 0.8))
    )
    assert sure.told_apart and sure.ratio == unsure.ratio and unsure.high > sure.high
    assert outlook(Ratio(0.5, None, None, 1, True), "forces", catching_up=True) is None


def _curves(**errors):
    """Forces' curves of starts: errors of three folds at a third of the budget and at its end."""
    found = {}
    for start, marks in errors.items():
        found[start] = {}
        for mark, values in zip((STOP_MARK, MARKS), marks):
            folds = {Replicate(i): value for i, value in enumerate(values)}
            found[start][mark] = Mark(mark, folds, geometric_interval(folds))
    return {"forces": found}


def test_a_start_that_is_far_behind_has_lost():
    curves = _curves(transfer=[(1.0, 1.1, 1.2)], scratch=[(4.0, 4.5, 4.6)])
    assert leader(curves["forces"], STOP_MARK) == "transfer"
    found = duel("scratch", "transfer", STOP_MARK, curves, "forces")
    turned = duel("transfer", "scratch", STOP_MARK, curves, "forces")
    assert found.decided and found.lost and turned.decided and not turned.lost
    assert turned.expected["forces"].ratio == pytest.approx(inverse(found.expected["forces"]).ratio)


def test_a_start_from_scratch_that_is_level_wins():
    """Level at a third of the budget, it is expected to end ahead; with folds this alike that is certain."""
    even = (1.0, 1.01, 0.99)
    curves = _curves(transfer=[even], scratch=[tuple(0.85 * error for error in even)])
    found = duel("transfer", "scratch", STOP_MARK, curves, "forces")
    assert found.lost and found.expected["forces"].ratio > found.so_far["forces"].ratio


def test_close_starts_are_not_told_apart():
    curves = _curves(transfer=[(1.0, 1.2, 0.9), (0.8, 1.0, 0.7)], scratch=[(1.4, 1.1, 1.0), (0.7, 1.1, 0.8)])
    assert not duel("scratch", "transfer", STOP_MARK, curves, "forces").decided
    at_end = duel("scratch", "transfer", MARKS, curves, "forces")
    assert not at_end.decided and at_end.expected == at_end.so_far  # nothing is foreseen at the end
    assert duel("scratch", "transfer", 7, curves, "forces") is None

"""Differences between starts, over seeds and over sources: closed forms, and how often their intervals are right."""

import math

import numpy as np
import pytest
from scipy.stats import t as student_t

from nequip_elemtransfer.study.grid import Replicate
from nequip_elemtransfer.study.report.comparison import CONFIDENCE, paired_difference, reach


def of_seeds(*values, first=0):
    return {Replicate(first + i): value for i, value in enumerate(values)}


def crossed(table):
    """A row for each seed, a column for each source."""
    return {Replicate(i, "abc"[j]): value for i, row in enumerate(table) for j, value in enumerate(row)}


def test_paired_difference():
    """Differences -1, -2, -6 of the common seeds: mean -3, t(0.975, 2) = 4.302653, deviation √7."""
    found = paired_difference(of_seeds(1.0, 2.0, 4.0, 9.0), of_seeds(2.0, 4.0, 10.0))
    assert (found.mean, found.count) == (-3.0, 3)
    assert found.high - found.mean == pytest.approx(4.3026527 * math.sqrt(7 / 3)) == found.mean - found.low
    assert found.relative == pytest.approx(-3.0 / (16 / 3)) and found.effect == pytest.approx(-3 / math.sqrt(7))
    assert paired_difference(of_seeds(1.0), of_seeds(1.0, first=1)) is None
    alone = paired_difference(of_seeds(1.0), of_seeds(2.0))
    assert (alone.mean, alone.low, alone.high, alone.effect) == (-1.0, None, None, None)


def test_starts_with_sources_and_without():
    """A seed from scratch is compared with that seed from every source, and a source with itself."""
    one, other = crossed([[1.0, 2.0], [3.0, 4.0]]), crossed([[2.0, 4.0], [6.0, 8.0]])
    scratch = of_seeds(10.0, 20.0, 30.0)
    assert paired_difference(one, other).mean == (-1 - 2 - 3 - 4) / 4
    against_scratch = paired_difference(one, scratch)
    assert (against_scratch.mean, against_scratch.count) == ((-9 - 8 - 17 - 16) / 4, 4)
    assert paired_difference(scratch, one).mean == -against_scratch.mean
    del one[Replicate(1, "b")]  # a failed training: its seed is left out, of the other source too
    found = paired_difference(one, other)
    assert (found.mean, found.count) == (-1.5, 2)


def test_one_source_is_students_t_over_seeds_and_one_seed_over_sources():
    assert reach(crossed([[1.0], [2.0], [6.0]])) == reach(of_seeds(1.0, 2.0, 6.0))
    assert reach(crossed([[1.0, 2.0, 6.0]])) == pytest.approx(4.3026527 * math.sqrt(7 / 3))
    assert reach(of_seeds(1.0)) is None


def test_sources_that_differ_in_all_seeds_alike_count_as_sources():
    """Four seeds add nothing to what three sources say: t(0.975, 2), deviation 1."""
    table = np.array([[0.0, 1.0, 2.0]]).repeat(4, axis=0)
    assert reach(crossed(table)) == pytest.approx(4.3026527 / math.sqrt(3))
    assert reach(crossed(table.T[:, :3])) == pytest.approx(4.3026527 / math.sqrt(3))


def test_variance_of_a_crossed_table():
    """Mean squares by hand: 6 of seeds, 4.5 of sources, 0.5 of the rest; freedom 10² / (6² + 4.5²/2 + 0.5²/2)."""
    table = [[1.0, 5.0, 3.0], [4.0, 6.0, 5.0]]
    expected = student_t.ppf(0.975, 100 / (36 + 10.125 + 0.125)) * math.sqrt(10 / 6)
    assert reach(crossed(table)) == pytest.approx(expected)
    assert reach(crossed(np.transpose(table))) == pytest.approx(reach(crossed(table)))


def test_no_spread_at_all():
    assert reach(crossed([[2.0, 2.0], [2.0, 2.0]])) == 0.0


@pytest.mark.parametrize("of_seed, of_source, rest", [(1, 0, 1), (0, 1, 1), (1, 1, 1), (0.5, 2, 0.5)])
def test_the_interval_holds_the_mean_as_often_as_it_says(of_seed, of_source, rest):
    """Of 1000 draws of five seeds and three sources, whatever it is that differs; Student's t over all does not."""
    random = np.random.default_rng(0)
    tables = (
        of_seed * random.normal(size=(1000, 5, 1))
        + of_source * random.normal(size=(1000, 1, 3))
        + rest * random.normal(size=(1000, 5, 3))
    )
    held = np.mean([abs(table.mean()) < reach(crossed(table)) for table in tables])
    pooled = np.mean([abs(table.mean()) < reach(of_seeds(*table.flat)) for table in tables])
    assert held > CONFIDENCE - 0.03 and pooled < CONFIDENCE - 0.08


def test_the_interval_of_one_source():
    """Of 2000 draws of three pairs without a difference, 95 % hold zero."""
    draws = np.random.default_rng(0).normal(size=(2000, 2, 3))
    found = [paired_difference(of_seeds(*own), of_seeds(*other)) for own, other in draws]
    assert np.mean([d.low < 0 < d.high for d in found]) == pytest.approx(0.95, abs=0.015)

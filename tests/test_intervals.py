"""Means and ratios of errors over seeds and sources: closed forms, and how often their intervals are right."""

import math

import numpy as np
import pytest
from scipy.stats import t as student_t

from nequip_elemtransfer.intervals import (
    CONFIDENCE,
    Interval,
    Replicate,
    geometric_interval,
    mean_interval,
    paired_difference,
    paired_ratio,
    unpaired_ratio,
)

T2 = 4.3026527  # t(0.975, 2)


def of_seeds(*values, first=0):
    return {Replicate(first + i): value for i, value in enumerate(values)}


def crossed(table):
    """A row for each seed, a column for each source."""
    return {Replicate(i, "abc"[j]): value for i, row in enumerate(table) for j, value in enumerate(row)}


def half(values):
    found = mean_interval(values)
    return found.high - found.middle


def test_paired_difference():
    """Differences -1, -2, -6 of the common seeds: mean -3, t(0.975, 2) = 4.302653, deviation √7."""
    found = paired_difference(of_seeds(1.0, 2.0, 4.0, 9.0), of_seeds(2.0, 4.0, 10.0))
    assert (found.mean, found.count) == (-3.0, 3)
    assert found.high - found.mean == pytest.approx(T2 * math.sqrt(7 / 3)) == found.mean - found.low
    assert paired_difference(of_seeds(1.0), of_seeds(1.0, first=1)) is None
    alone = paired_difference(of_seeds(1.0), of_seeds(2.0))
    assert (alone.mean, alone.low, alone.high) == (-1.0, None, None)


def test_paired_ratio():
    """Ratios 1/2, 1/4 and 1/8: logarithms −1, −2 and −3 times ln 2, of deviation ln 2."""
    found = paired_ratio(of_seeds(1.0, 2.0, 4.0, 9.0), of_seeds(2.0, 8.0, 32.0))
    assert (found.ratio, found.count, found.paired) == (pytest.approx(1 / 4), 3, True)
    width = 2 ** (T2 / math.sqrt(3))
    assert (found.low, found.high) == (pytest.approx(1 / 4 / width), pytest.approx(1 / 4 * width))
    assert not found.told_apart and found.percent == "−75 % (−96 to +40)"


def test_a_ratio_turned_round_is_its_inverse():
    own, other = crossed([[1.0, 1.1, 1.3], [2.0, 2.5, 2.2]]), of_seeds(3.0, 5.0)
    for ratio in (paired_ratio, unpaired_ratio):
        one, back = ratio(own, other), ratio(other, own)
        assert (one.ratio, one.low, one.high) == pytest.approx((1 / back.ratio, 1 / back.high, 1 / back.low))


def test_a_ratio_has_no_unit():
    own, other = of_seeds(0.5, 0.7, 0.8), of_seeds(0.9, 1.1, 1.0)
    meV = [{seed: 1000 * error for seed, error in errors.items()} for errors in (own, other)]
    for ratio in (paired_ratio, unpaired_ratio):
        assert ratio(*meV).high == pytest.approx(ratio(own, other).high)


def test_an_interval_of_a_wide_ratio_is_never_below_zero():
    """Differences of −9, −0.1 and −5 of means of 5 would reach below −100 %."""
    found = paired_ratio(of_seeds(1.0, 1.0, 1.0), of_seeds(10.0, 1.1, 6.0))
    assert 0 < found.low < 1 < found.high
    assert geometric_interval(of_seeds(0.01, 0.5, 10.0)).low > 0


def test_a_ratio_of_one_pair_has_no_interval_and_tells_nothing_apart():
    found = paired_ratio(of_seeds(1.0), of_seeds(10.0))
    assert found.ratio == pytest.approx(0.1) and found.percent == "−90 %"
    assert (found.low, found.high, found.told_apart) == (None, None, False)
    found = unpaired_ratio(of_seeds(1.0), of_seeds(10.0, 11.0))
    assert (found.low, found.count, found.paired) == (None, 1, False)
    assert paired_ratio(of_seeds(1.0), of_seeds(1.0, first=1)) is None is unpaired_ratio({}, of_seeds(1.0))


def test_of_nothing_and_of_zero_there_is_no_ratio():
    assert paired_ratio(of_seeds(0.0, 1.0), of_seeds(1.0, 1.0)) is None
    assert unpaired_ratio(of_seeds(1.0, 1.0), of_seeds(1.0, 0.0)) is None


def test_unpaired_ratio_is_welchs():
    """Logarithms 0, 1, 2 and 4, 4, 4, 8: variances of the means 1/3 and 1."""
    own = of_seeds(*np.exp([0.0, 1.0, 2.0]))
    other = of_seeds(*np.exp([4.0, 4.0, 4.0, 8.0]))
    found = unpaired_ratio(own, other)
    freedom = (4 / 3) ** 2 / ((1 / 3) ** 2 / 2 + 1**2 / 3)
    width = student_t.ppf(0.975, freedom) * math.sqrt(4 / 3)
    assert math.log(found.ratio) == pytest.approx(1 - 5)
    assert math.log(found.high) == pytest.approx(-4 + width) and math.log(found.low) == pytest.approx(-4 - width)
    assert (found.count, found.paired) == (3, False)


def test_pairing_takes_out_what_seeds_share():
    """Seeds differ by factors of ten, and each by 10 % between the starts."""
    own, other = of_seeds(1.0, 10.0, 100.01), of_seeds(1.1, 11.0, 110.0)
    assert paired_ratio(own, other).told_apart and not unpaired_ratio(own, other).told_apart


def test_folds_that_share_structures_are_less_certain():
    """Five folds: the variance of the mean is s² (1/5 + 1/4)."""
    own, other = of_seeds(1.0, 1.2, 1.5, 0.9, 1.1), of_seeds(2.0, 2.0, 2.0, 2.0, 2.0)
    plain, folds = paired_ratio(own, other), paired_ratio(own, other, overlap=1 / 4)
    assert math.log(folds.high / folds.ratio) == pytest.approx(1.5 * math.log(plain.high / plain.ratio))


def test_starts_with_sources_and_without():
    """A seed from scratch is compared with that seed from every source, and a source with itself."""
    one, other = crossed([[1.0, 2.0], [3.0, 4.0]]), crossed([[2.0, 4.0], [6.0, 8.0]])
    scratch = of_seeds(10.0, 20.0, 30.0)
    assert paired_difference(one, other).mean == (-1 - 2 - 3 - 4) / 4
    assert paired_ratio(one, other).ratio == pytest.approx(0.5)
    against_scratch = paired_difference(one, scratch)
    assert (against_scratch.mean, against_scratch.count) == ((-9 - 8 - 17 - 16) / 4, 4)
    assert paired_difference(scratch, one).mean == -against_scratch.mean
    del one[Replicate(1, "b")]  # a failed training: its seed is left out, of the other source too
    found = paired_difference(one, other)
    assert (found.mean, found.count) == (-1.5, 2)


def test_one_source_is_students_t_over_seeds_and_one_seed_over_sources():
    assert half(crossed([[1.0], [2.0], [6.0]])) == half(of_seeds(1.0, 2.0, 6.0))
    assert half(crossed([[1.0, 2.0, 6.0]])) == pytest.approx(T2 * math.sqrt(7 / 3))
    assert mean_interval(of_seeds(1.0)) == Interval(1.0, None, None, 1)


def test_sources_that_differ_in_all_seeds_alike_count_as_sources():
    """Four seeds add nothing to what three sources say: t(0.975, 2), deviation 1."""
    table = np.array([[0.0, 1.0, 2.0]]).repeat(4, axis=0)
    assert half(crossed(table)) == pytest.approx(T2 / math.sqrt(3))
    assert half(crossed(table.T[:, :3])) == pytest.approx(T2 / math.sqrt(3))


def test_variance_of_a_crossed_table():
    """Mean squares by hand: 6 of seeds, 4.5 of sources, 0.5 of the rest; freedom 10² / (6² + 4.5²/2 + 0.5²/2)."""
    table = [[1.0, 5.0, 3.0], [4.0, 6.0, 5.0]]
    expected = student_t.ppf(0.975, 100 / (36 + 10.125 + 0.125)) * math.sqrt(10 / 6)
    assert half(crossed(table)) == pytest.approx(expected)
    assert half(crossed(np.transpose(table))) == pytest.approx(half(crossed(table)))


def test_no_spread_at_all():
    assert half(crossed([[2.0, 2.0], [2.0, 2.0]])) == 0.0
    assert unpaired_ratio(of_seeds(2.0, 2.0), of_seeds(1.0, 1.0)).low == 2.0


@pytest.mark.parametrize("of_seed, of_source, rest", [(1, 0, 1), (0, 1, 1), (1, 1, 1), (0.5, 2, 0.5)])
def test_the_interval_holds_the_mean_as_often_as_it_says(of_seed, of_source, rest):
    """Of 1000 draws of five seeds and three sources, whatever it is that differs; Student's t over all does not."""
    random = np.random.default_rng(0)
    tables = (
        of_seed * random.normal(size=(1000, 5, 1))
        + of_source * random.normal(size=(1000, 1, 3))
        + rest * random.normal(size=(1000, 5, 3))
    )
    held = np.mean([abs(table.mean()) < half(crossed(table)) for table in tables])
    pooled = np.mean([abs(table.mean()) < half(of_seeds(*table.flat)) for table in tables])
    assert held > CONFIDENCE - 0.03 and pooled < CONFIDENCE - 0.08


def test_the_interval_of_one_source():
    """Of 2000 draws of three pairs that differ by a fifth on average, 95 % hold that ratio."""
    draws = np.exp(np.random.default_rng(0).normal(size=(2000, 2, 3)))
    found = [paired_ratio(of_seeds(*(0.8 * own)), of_seeds(*other)) for own, other in draws]
    assert np.mean([d.low < 0.8 < d.high for d in found]) == pytest.approx(0.95, abs=0.015)


def test_the_interval_of_two_samples():
    """Of 2000 draws of three and five that spread differently, Welch's holds the ratio in 95 % or a little more."""
    random = np.random.default_rng(1)
    held = [
        found.low < 1 < found.high
        for own, other in zip(np.exp(random.normal(size=(2000, 3))), np.exp(0.3 * random.normal(size=(2000, 5))))
        if (found := unpaired_ratio(of_seeds(*own), of_seeds(*other)))
    ]
    assert len(held) == 2000 and 0.93 < np.mean(held) < 0.98

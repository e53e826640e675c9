"""Learning curves on closed forms, where the answer is known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nequip_elemtransfer.study.report.comparison import spread
from nequip_elemtransfer.study.report.curves import (
    EQUAL,
    LESS_THAN,
    MORE_THAN,
    Equivalent,
    Reached,
    equivalent_size,
    factor_interval,
    time_to_reach,
)

SIZES = (5, 10, 25, 50, 100, 152)


def power_law(a, b):
    return {n: a * n**-b for n in SIZES}


@given(st.floats(0.01, 10), st.floats(0.05, 1.5), st.floats(0, 1))
def test_power_law(a, b, place):
    """An error a n*⁻ᵇ is that of n* structures, wherever n* lies between the sizes."""
    n = 5 * (152 / 5) ** place
    found = equivalent_size(power_law(a, b), a * n**-b * (1 - 1e-12) if place == 0 else a * n**-b, 10)
    if found.bound == EQUAL:  # at the ends, rounding decides
        assert found.size == pytest.approx(n, rel=1e-6) and found.factor == pytest.approx(n / 10, rel=1e-6)
    else:
        assert min(abs(math.log(n / end)) for end in (5, 152)) < 1e-9


def test_factor_of_a_better_prefactor():
    """Errors a n⁻ᵇ and c a n⁻ᵇ: the factor is c^(-1/b), here 0.5^(-1/0.5) = 4, at every n."""
    scratch = power_law(1.0, 0.5)
    for n in (5, 10, 25):
        assert equivalent_size(scratch, 0.5 * n**-0.5, n).factor == pytest.approx(4.0)


def test_beyond_the_data():
    scratch = power_law(1.0, 0.5)
    assert equivalent_size(scratch, 0.99 * 152**-0.5, 10) == Equivalent(152, MORE_THAN, 15.2)
    assert equivalent_size(scratch, 1.01 * 5**-0.5, 10) == Equivalent(5, LESS_THAN, 0.5)


def test_at_a_measured_size():
    scratch = {5: 0.4, 10: 0.3, 20: 0.2}
    assert [equivalent_size(scratch, error, 10).size for error in (0.4, 0.3, 0.2)] == [5, 10, 20]
    assert {equivalent_size(scratch, error, 10).bound for error in (0.4, 0.3, 0.2)} == {EQUAL}


def test_a_rise_by_chance_is_no_need_for_more_data():
    """10 structures do what 20 do not: 0.3 is reached at 10, and between 10 and 40 the line starts from 20."""
    scratch = {5: 0.4, 10: 0.3, 20: 0.35, 40: 0.15}
    assert equivalent_size(scratch, 0.3, 10).size == 10
    assert equivalent_size(scratch, math.sqrt(0.3 * 0.15), 10).size == pytest.approx(20 * math.sqrt(2))


def test_interval_of_the_factor():
    """Of 2 and 8: the mean logarithm is that of 4, its standard error that of 2, and t is 12.706 with two seeds."""
    seeds = {0: Equivalent(20, EQUAL, 2.0), 1: Equivalent(80, EQUAL, 8.0)}
    assert factor_interval(seeds) == pytest.approx((4 * 2**-12.7062, 4 * 2**12.7062), rel=1e-4)
    assert factor_interval(seeds | {2: Equivalent(152, MORE_THAN, 15.2)}) is None
    assert factor_interval({0: seeds[0]}) is factor_interval({}) is None


def test_monotone():
    """A lower error never needs fewer structures."""
    scratch = {5: 0.4, 10: 0.3, 20: 0.35, 40: 0.15}
    sizes = [equivalent_size(scratch, 0.4 - 0.001 * k, 10).size for k in range(250)]
    assert sizes == sorted(sizes)


def test_one_size():
    assert equivalent_size({10: 0.3}, 0.2, 5) == Equivalent(10, MORE_THAN, 2.0)
    assert equivalent_size({10: 0.3}, 0.3, 5) == Equivalent(10, EQUAL, 2.0)


def test_spread():
    found = spread([1.0, 2.0, 6.0])
    assert (found.mean, found.low, found.high, found.count) == (3.0, 1.0, 6.0, 3)
    assert found.deviation == pytest.approx(math.sqrt(7))  # (4 + 1 + 9) / 2
    assert spread([4.0]).deviation is None


def test_time_to_reach():
    scratch = [(0, 0.0, 1.0), (25, 2.0, 0.4), (50, 4.0, 0.2), (75, 6.0, 0.3)]
    start = [(0, 0.0, 0.5), (25, 3.0, 0.2), (50, 6.0, 0.1)]
    assert time_to_reach(scratch, 0.2) == Reached(50, 4.0, 75)
    assert time_to_reach(start, 0.2) == Reached(25, 3.0, 50)
    assert time_to_reach(start, 0.05) == Reached(None, None, 50)
    assert time_to_reach(start, 0.6) == Reached(0, 0.0, 50)

"""Ratios by shopper: values and errors by hand, and a sequence that daily peeking does not break."""

import math

import numpy as np
import pytest
from hubspoke.errors import InvalidDataError, UsageError
from hubspoke.evaluation.ratios import Measured, apart, by_shopper, ratio, sequential_quantile
from hypothesis import given
from hypothesis import strategies as st


def test_a_ratio_by_hand() -> None:
    # 3 of 4 in all; residuals 1 - 0.75, 2 - 2.25 and 0 - 0 leave 0.125, times 3/2, rooted, over 4.
    got = ratio(np.array([1.0, 2.0, 0.0]), np.array([1.0, 3.0, 0.0]))
    assert (got.value, got.n) == (0.75, 3) and got.error == pytest.approx(math.sqrt(1.5 * 0.125) / 4)


def test_over_ones_it_is_a_mean_with_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(3, 2, 50)
    got = ratio(values, np.ones(50))
    assert got.value == pytest.approx(values.mean()) and got.error == pytest.approx(values.std(ddof=1) / math.sqrt(50))
    once = got.estimate()
    assert once.high - once.value == pytest.approx(1.959964 * got.error, rel=1e-6)


def test_the_rows_of_a_shopper_stand_together() -> None:
    assert by_shopper(np.array([7, 3, 7]), np.array([1.0, 2.0, 4.0])).tolist() == [2.0, 5.0]


def test_the_error_is_what_repetition_shows() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 20, (2000, 200)).astype(float)
    totals = rng.binomial(sizes.astype(int), 0.3).astype(float)
    found = [ratio(a, b) for a, b in zip(totals, sizes, strict=True)]
    assert np.std([one.value for one in found]) == pytest.approx(np.mean([one.error for one in found]), rel=0.05)


def test_errors_of_different_shoppers_add_up_as_squares() -> None:
    assert Measured(5, 3, 10).minus(Measured(2, 4, 20)) == Measured(3, 5, 30)


@pytest.mark.parametrize("shoppers", [0, 1, 3])
def test_what_cannot_be_divided_is_refused(shoppers: int) -> None:
    with pytest.raises(InvalidDataError, match=f"in {shoppers} shoppers"):
        ratio(np.ones(shoppers), np.zeros(shoppers))


def test_a_sequence_by_hand() -> None:
    # alpha = exp(-2): rho^2 = (4 + log 5) / planned; at n = planned the spread is 5 + log 5.
    level = 1 - math.exp(-2)
    rho = 4 + math.log(5)
    wanted = math.sqrt(2 * (rho + 1) / rho * (0.5 * math.log(rho + 1) + 2))
    assert sequential_quantile(500, 500, level) == pytest.approx(wanted)


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.floats(0.5, 0.999))
def test_a_sequence_is_wider_than_one_look(n: int, planned: int, level: float) -> None:
    measured = Measured(1.0, 0.1, n)
    once, always = measured.estimate(level), measured.at_any_look(planned, level)
    assert always.low < once.low <= 1.0 <= once.high < always.high


@pytest.mark.parametrize(("n", "planned", "level"), [(0, 10, 0.95), (10, 0, 0.95), (10, 10, 1.0), (10, 10, 0.0)])
def test_no_sequence_of_nothing(n: int, planned: int, level: float) -> None:
    with pytest.raises(UsageError, match="no sequence"):
        sequential_quantile(n, planned, level)


def test_a_difference_of_intervals_is_as_wide_as_both_together() -> None:
    one, other = Measured(5.0, 0.5, 40), Measured(3.0, 0.25, 40)
    found = apart(one.estimate(), other.estimate(), 40)
    assert (found.value, found.error, found.n) == (2.0, pytest.approx(0.75), 40)
    # Wider than that of other shoppers.
    assert found.error > one.minus(other).error

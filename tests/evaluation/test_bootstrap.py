"""Intervals: right on cases with a known answer, seeded, and small in memory."""

import math
import tracemalloc

import numpy as np
import pytest
from hubspoke.errors import InvalidDataError, UsageError
from hubspoke.evaluation.bootstrap import mean_interval, paired_difference, quantile_interval


def test_equal_values_have_their_mean_as_interval_to_the_last_digit() -> None:
    got = mean_interval(np.full(325, 5.640163870665654))
    assert got.low == got.value == got.high == np.full(325, 5.640163870665654).mean()


@pytest.mark.parametrize(
    "values", [np.repeat([0.0, 1.0], [700, 300]), np.random.default_rng(3).normal(0.3, 0.5, 1000)], ids=["share", "any"]
)
def test_the_interval_is_the_normal_one(values: np.ndarray) -> None:
    got = mean_interval(values, resamples=4000)
    half = 1.96 * values.std() / math.sqrt(1000)
    expected = (values.mean(), values.mean() - half, values.mean() + half)
    assert (got.value, got.low, got.high) == pytest.approx(expected, abs=0.003)


def test_the_same_seed_gives_the_same_interval_in_any_order_of_users() -> None:
    values = np.random.default_rng(1).random(300)
    assert mean_interval(values, seed=5).low == mean_interval(values[::-1], seed=5).low
    assert mean_interval(values, seed=5).low != mean_interval(values, seed=6).low


def test_pairing_removes_what_the_users_have_in_common() -> None:
    rng = np.random.default_rng(2)
    user = rng.normal(0, 10, 400)
    a, b = user + 1 + rng.normal(0, 0.1, 400), user
    got = paired_difference(a, b)
    assert got.value == pytest.approx(1, abs=0.02) and got.high - got.low < 0.05
    assert paired_difference(b, a).value == pytest.approx(-got.value)


def test_a_hundred_thousand_users_stay_small() -> None:
    values = np.random.default_rng(0).random(100_000)
    tracemalloc.start()
    mean_interval(values, resamples=40)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * 2**20


def test_nothing_to_average_is_an_error() -> None:
    with pytest.raises(InvalidDataError, match="at least one user"):
        mean_interval(np.array([]))
    with pytest.raises(UsageError, match="3 users with 2"):
        paired_difference(np.ones(3), np.ones(2))


def test_a_quantile_has_an_interval_that_holds_it() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1.0, 102.0))
    median, tail = quantile_interval(values, 0.5), quantile_interval(values, 0.99)
    assert (median.value, tail.value) == (51.0, 100.0)  # the 51st and the 100th of 101 numbers
    assert 40 < median.low < 51 < median.high < 62
    assert tail.low < 100 <= tail.high <= 101
    assert quantile_interval(values[::-1], 0.5) == median  # the order is no matter
    assert quantile_interval(np.full(3, 7.0), 0.95) == quantile_interval(np.array([7.0]), 0.5)
    with pytest.raises(InvalidDataError, match="measure at least one"):
        quantile_interval(np.array([]), 0.5)

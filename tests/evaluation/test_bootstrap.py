"""Intervals: right on cases with a known answer, seeded, and small in memory."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hubspoke.errors import InvalidDataError, UsageError
from hubspoke.evaluation.bootstrap import mean_interval, paired_difference


def test_a_constant_has_no_width() -> None:
    got = mean_interval(np.full(50, 0.25))
    assert (got.value, got.low, got.high) == (0.25, 0.25, 0.25)


def test_the_interval_of_a_share_is_the_normal_one() -> None:
    values = np.repeat([0.0, 1.0], [700, 300])
    got = mean_interval(values, resamples=4000)
    half = 1.96 * math.sqrt(0.3 * 0.7 / 1000)
    assert got.value == pytest.approx(0.3)
    assert got.low == pytest.approx(0.3 - half, abs=0.003)
    assert got.high == pytest.approx(0.3 + half, abs=0.003)


def test_a_continuous_sample_has_the_normal_interval_too() -> None:
    values = np.random.default_rng(3).normal(2, 5, 2000)
    got = mean_interval(values)
    half = 1.96 * values.std() / math.sqrt(2000)
    assert got.high - got.low == pytest.approx(2 * half, rel=0.06)


def test_the_same_seed_gives_the_same_interval_in_any_order_of_users() -> None:
    values = np.random.default_rng(1).random(300)
    assert mean_interval(values, seed=5).low == mean_interval(values[::-1], seed=5).low
    assert mean_interval(values, seed=5).low != mean_interval(values, seed=6).low


def test_pairing_removes_what_the_users_have_in_common() -> None:
    rng = np.random.default_rng(2)
    user = rng.normal(0, 10, 400)
    a, b = user + 1 + rng.normal(0, 0.1, 400), user
    got = paired_difference(a, b)
    assert got.value == pytest.approx(1, abs=0.02)
    assert got.high - got.low < 0.05
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


def test_equal_values_have_their_mean_as_interval_to_the_last_digit():
    values = np.full(325, 5.640163870665654)
    found = mean_interval(values)
    assert found.low == found.value == found.high == values.mean()

"""Experiments: stable assignment, a split that is checked, and looking every day without being fooled."""

import numpy as np
import pytest
from hubspoke.errors import InvalidDataError, UsageError
from hubspoke.evaluation.experiments import MISMATCH, effect, is_treated, mismatch, position
from hubspoke.evaluation.ratios import Measured, sequential_quantile
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, kstest

SHARES = st.floats(0, 1)


@given(st.text(), st.text(), SHARES, SHARES)
def test_who_is_in_stays_in_when_the_share_grows(shopper: str, salt: str, a: float, b: float) -> None:
    less, more = sorted((a, b))
    assert not is_treated(shopper, salt, less) or is_treated(shopper, salt, more)
    assert not is_treated(shopper, salt, 0.0) and is_treated(shopper, salt, 1.0)


def test_positions_are_even_and_those_of_two_experiments_unrelated() -> None:
    a, b = (np.array([position(f"u{n}", salt) for n in range(5000)]) for salt in ("spring", "summer"))
    assert kstest(a, "uniform").pvalue > 0.01 and kstest(b, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.05


def test_positions_never_change_with_a_version() -> None:
    # Shoppers of a running experiment must not change sides by an update.
    assert position("ann", "spring") == pytest.approx(0.9209949362113846, abs=1e-15)
    assert position("b", "a") != position("", "ab") != position("ab", "")


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(UsageError, match="0 to 1"):
        is_treated("ann", "spring", share)


def test_a_mismatch_by_hand() -> None:
    # (60 - 50)^2 / 50 twice is 4, and P(|Z| > 2) = 0.0455.
    assert mismatch({"a": 60, "b": 40}, {"a": 1, "b": 1}) == pytest.approx(0.0455, abs=1e-4)
    assert mismatch({"a": 50, "b": 50}, {"a": 0.5, "b": 0.5}) == 1.0
    assert mismatch({"a": 821_588, "b": 815_482}, {"a": 0.5, "b": 0.5}) < MISMATCH


@given(st.lists(st.integers(0, 500), min_size=2, max_size=8).filter(any))
def test_a_mismatch_is_that_of_scipy(counts: list[int]) -> None:
    shares = {str(n): n + 1.0 for n in range(len(counts))}
    expected = np.array([*shares.values()]) / sum(shares.values()) * sum(counts)
    wanted = chi2.sf(((np.array(counts) - expected) ** 2 / expected).sum(), len(counts) - 1)
    assert mismatch(dict(zip(shares, counts, strict=True)), shares) == pytest.approx(wanted, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(
    ("counts", "shares"),
    [({"a": 1}, {"a": 1}), ({"a": 1, "b": 1}, {"a": 1, "c": 1}), ({"a": 0, "b": 0}, {"a": 1, "b": 1}),
     ({"a": 1, "b": 1}, {"a": 1, "b": 0}), ({}, {})],
)  # fmt: skip
def test_counts_and_shares_belong_together(counts: dict[str, int], shares: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="two variants"):
        mismatch(counts, shares)


def test_an_effect_by_hand() -> None:
    # Means 1 and 2, each with variance 2 over 2 shoppers: errors 1 and 1.
    got = effect(np.array([0.0, 2.0]), np.array([1.0, 3.0]), planned=4)
    assert (got.control, got.treatment) == (Measured(1.0, 1.0, 2), Measured(2.0, 1.0, 2))
    assert got.once.value == 1.0 and got.once.high - 1 == pytest.approx(1.959964 * 2**0.5, rel=1e-6)
    assert got.always.high - 1 == pytest.approx(sequential_quantile(4, 4) * 2**0.5) and not got.clear


def test_an_effect_of_ratios() -> None:
    # Revenue per impression: 6 / 4 against 2 / 4, whoever saw how many.
    sizes = np.array([1.0, 3.0])
    got = effect(np.array([1.0, 1.0]), np.array([0.0, 6.0]), planned=100, control_sizes=sizes, treatment_sizes=sizes)
    assert got.once.value == 1.0


def test_a_large_difference_is_clear() -> None:
    rng = np.random.default_rng(0)
    assert effect(rng.normal(0, 1, 1000), rng.normal(0.5, 1, 1000), planned=2000).clear


@pytest.mark.parametrize("bad", [np.array([1.0, np.nan]), np.array([1.0, np.inf])])
def test_values_without_a_number_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(InvalidDataError, match="count who did nothing as 0"):
        effect(bad, np.ones(2), planned=4)
    with pytest.raises(InvalidDataError, match="2 values and 3 sizes"):
        effect(np.ones(2), np.ones(2), planned=4, control_sizes=np.ones(3))


def test_looking_every_day_fools_the_single_look_and_not_the_sequence() -> None:
    """500 A/A experiments of 28 days: revenue of shoppers of whom few buy, looked at each evening."""
    rng = np.random.default_rng(20)
    runs, days, daily = 500, 28, 50
    sums = np.zeros((2, 2, runs, days))  # of values and of squares, by variant
    for variant in range(2):
        bought = rng.random((runs, days, daily)) < 0.2
        revenue = np.where(bought, rng.lognormal(3, 0.5, bought.shape), 0)
        sums[variant] = [np.cumsum((revenue**power).sum(axis=2), axis=1) for power in (1, 2)]
    n = daily * np.arange(1, days + 1)
    means = sums[:, 0] / n
    variances = (sums[:, 1] / n - means**2) / (n - 1)  # of the means
    distance = np.abs(means[1] - means[0]) / np.sqrt(variances.sum(axis=0))  # (runs, days) in standard errors
    allowed = np.array([sequential_quantile(2 * int(own), planned=2 * daily * days) for own in n])
    assert (distance > 1.96).any(axis=1).mean() > 0.2
    assert (distance > allowed).any(axis=1).mean() < 0.05

"""Off-policy estimates: by hand, unbiased over all outcomes, and refused where the log cannot say."""

from itertools import product

import numpy as np
import pytest
from hubspoke.errors import HubspokeError, InvalidDataError, UsageError
from hubspoke.evaluation.examination import exposures
from hubspoke.evaluation.off_policy import Weighted, as_logged, doubly_robust, ips, snips, weigh, weighted_share
from hypothesis import given
from hypothesis import strategies as st

# Two rows of one shopper, one of another: weights 2, 0.5 and 0.5 have the mean 1.
SHOPPERS = np.array([5, 5, 9])
LOGGED, TARGET = np.array([0.25, 0.5, 0.8]), np.array([0.5, 0.25, 0.4])
REWARDS = np.array([3.0, 0.0, 6.0])


@pytest.fixture
def few() -> Weighted:
    return weigh(SHOPPERS, LOGGED, TARGET, floor=1)


def test_estimates_by_hand(few: Weighted) -> None:
    assert few.weights.tolist() == [2.0, 0.5, 0.5]
    assert as_logged(few, REWARDS).value == 3.0
    assert ips(few, REWARDS).value == 3.0  # (2 x 3 + 0 + 0.5 x 6) / 3
    assert snips(few, np.array([3.0, 6.0, 0.0])).value == 3.0  # (6 + 3 + 0) / 3
    # By shopper 6 and 3 over 2 and 1 places: no residuals at all.
    assert ips(few, REWARDS).error == 0.0
    # The model says 1 of what was shown and 2 of what would be: 2 + (2 x 2 + 0.5 x -1 + 0.5 x 5) / 3.
    assert doubly_robust(few, REWARDS, np.ones(3), np.full(3, 2.0)).value == 4.0
    assert weighted_share(few, np.array([3.0, 0.0, 0.0]), REWARDS).value == pytest.approx(6 / 9)
    assert few.effective_sample_size == pytest.approx(3**2 / (2.5**2 + 0.5**2))


def test_a_clip_is_stated() -> None:
    got = weigh(SHOPPERS, LOGGED, TARGET, clip=1.0, floor=1)
    assert got.weights.tolist() == [1.0, 0.5, 0.5] and (got.clip, got.clipped) == (1.0, pytest.approx(1 / 3))
    assert ips(got, REWARDS).value == 2.0 and snips(got, REWARDS).value == 3.0


def test_by_places_it_is_unbiased_over_all_lists() -> None:
    """Two products at two places: the first one leads 3 times in 4, and would 1 time in 4."""
    examined, wanted, leads = np.array([1.0, 0.5]), np.array([0.4, 0.2]), {0: 0.75, 1: 0.25}
    logged = exposures(np.array([[0.75, 0.25], [0.25, 0.75]]), examined)  # (products,)
    target = exposures(np.array([[0.25, 0.75], [0.75, 0.25]]), examined)
    found = balance = 0.0
    for first, second in product(leads, repeat=2):  # of one list of each of two shoppers
        shown = np.array([first, 1 - first, second, 1 - second])
        looked = np.tile(examined, 2)
        log = Weighted(np.array([0, 0, 1, 1]), target[shown] / logged[shown], looked, None, 0.0)
        found += leads[first] * leads[second] * ips(log, looked * wanted[shown]).value
        balance += leads[first] * leads[second] * float((log.weights * looked).sum() / looked.sum())
        assert snips(log, looked * 3.0).value == pytest.approx(3.0 * 0.75)
    assert found == pytest.approx(float(target @ wanted) / 2) and balance == pytest.approx(1.0)


WORLDS = st.tuples(
    st.lists(st.floats(0.1, 1), min_size=3, max_size=3),
    st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda own: sum(own) > 0.1),
    st.lists(st.floats(-5, 5), min_size=3, max_size=3),
)


def enumerated(logged: np.ndarray, rewards: np.ndarray, estimate: object) -> float:
    """The mean of an estimate over all logs of two shoppers with one row each, as likely as they are."""
    total = 0.0
    for shown in product(range(3), repeat=2):
        rows = np.array(shown)
        total += float(np.prod(logged[rows])) * estimate(rows, rewards[rows])  # type: ignore[operator]
    return total


@given(WORLDS, st.lists(st.floats(-5, 5), min_size=3, max_size=3))
def test_ips_and_dr_are_unbiased_over_all_logs(
    world: tuple[list[float], list[float], list[float]], model: list[float]
) -> None:
    logged, target, rewards = (np.array(part) for part in world)
    logged, target, said = logged / logged.sum(), target / target.sum(), np.array(model)
    truth = float(target @ rewards)

    def log(rows: np.ndarray) -> Weighted:
        return Weighted(np.array([0, 1]), target[rows] / logged[rows], np.ones(2), None, 0.0)

    def dr(rows: np.ndarray, own: np.ndarray) -> float:
        return doubly_robust(log(rows), own, said[rows], np.full(2, target @ said)).value

    assert enumerated(logged, rewards, lambda rows, own: ips(log(rows), own).value) == pytest.approx(truth, abs=1e-9)
    assert enumerated(logged, rewards, dr) == pytest.approx(truth, abs=1e-9)


LOGS = st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 1), st.floats(-10, 10)), min_size=4, max_size=30).filter(
    lambda rows: len({row[0] for row in rows}) > 1
)


def weighted(rows: list[tuple[int, float, float]]) -> tuple[Weighted, np.ndarray]:
    shoppers, weights, rewards = map(np.array, zip(*rows, strict=True))
    return Weighted(shoppers, weights, np.ones(len(rows)), None, 0.0), rewards


@given(LOGS, st.floats(-100, 100))
def test_a_constant_moves_snips_by_itself(rows: list[tuple[int, float, float]], constant: float) -> None:
    log, rewards = weighted(rows)
    before, after = snips(log, rewards), snips(log, rewards + constant)
    assert after.value == pytest.approx(before.value + constant, abs=1e-9)
    assert after.error == pytest.approx(before.error, abs=1e-6)


@given(LOGS)
def test_dr_without_a_model_is_ips_and_snips_stays_within_the_rewards(rows: list[tuple[int, float, float]]) -> None:
    log, rewards = weighted(rows)
    nothing = np.zeros(len(rewards))
    assert doubly_robust(log, rewards, nothing, nothing) == ips(log, rewards)
    assert rewards.min() - 1e-9 <= snips(log, rewards).value <= rewards.max() + 1e-9
    part = np.abs(rewards) * (rewards > 0)
    if part.any():
        assert 0 <= weighted_share(log, part, np.abs(rewards)).value <= 1 + 1e-12


@given(LOGS)
def test_the_effective_sample_is_never_more_than_the_shoppers(rows: list[tuple[int, float, float]]) -> None:
    log, _ = weighted(rows)
    assert 1 - 1e-9 <= log.effective_sample_size <= len(np.unique(log.shoppers)) + 1e-9


@given(LOGS)
def test_a_policy_judged_by_its_own_log_is_what_was(rows: list[tuple[int, float, float]]) -> None:
    shoppers, logged, rewards = map(np.array, zip(*rows, strict=True))
    log = weigh(shoppers, logged, logged, floor=1)
    assert ips(log, rewards) == as_logged(log, rewards)
    assert snips(log, rewards).value == pytest.approx(rewards.mean())


N = np.arange(1000)


@pytest.mark.parametrize(
    ("logged", "target", "words"),
    [
        (np.where(N < 3, np.nan, 0.5), np.full(1000, 0.5), "3 of 1000 rows have no logged probability"),
        (np.full(1000, 0.5), np.where(N < 3, np.nan, 0.5), "3 of 1000 rows have no target probability"),
        (np.where(N < 3, 0.0, 0.5), np.full(1000, 0.5), "such as 0, where one is above 0"),
        (np.where(N < 3, 1.5, 0.5), np.full(1000, 0.5), "such as 1.5"),
        (np.full(1000, 0.5), np.where(N < 3, -0.5, 0.5), "target probability such as -0.5, where one is 0 to 1"),
        (np.full(1000, 0.01), np.where(N < 20, 0.5, 0.0), "worth 20.0 shoppers to the other policy, of 1000"),
        (np.full(1000, 0.5), np.zeros(1000), "worth 0.0 shoppers"),
        # The other policy puts half its weight on what was never shown.
        (np.full(1000, 0.5), np.full(1000, 0.25), "mean is 0.500"),
        # What was logged is the probability of something else.
        (np.full(1000, 0.1), np.where(N % 2, 0.1, 0.2), "mean is 1.500"),
    ],
)  # fmt: skip
def test_a_log_that_cannot_say_is_refused(logged: np.ndarray, target: np.ndarray, words: str) -> None:
    with pytest.raises(InvalidDataError) as refused:
        weigh(N, logged, target)
    assert words in str(refused.value)


def test_rows_and_clips_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="do not belong together"):
        weigh(SHOPPERS, LOGGED[:2], TARGET)
    with pytest.raises(UsageError, match="clip above 0"):
        weigh(SHOPPERS, LOGGED, TARGET, clip=0)
    with pytest.raises(HubspokeError, match="one number for each row"):
        ips(weigh(SHOPPERS, LOGGED, TARGET, floor=1), np.array([1.0, np.nan, 0.0]))


def test_the_interval_holds_the_truth_and_that_of_the_log_does_not() -> None:
    """A marketplace of shoppers of two kinds, each with two lists; the better policy is known."""
    rng = np.random.default_rng(3)
    wanted = np.array([[0.3, 0.05], [0.05, 0.3]])  # kind of shopper x product
    logging, better = np.array([[0.3, 0.7], [0.7, 0.3]]), np.array([[0.9, 0.1], [0.1, 0.9]])
    truth = float((better * wanted).sum(axis=1).mean())
    held, naive = 0, 0
    for _ in range(200):
        kind = rng.integers(2, size=500).repeat(4)
        shown = (rng.random(2000) < logging[kind, 1]).astype(np.int64)
        rewards = (rng.random(2000) < wanted[kind, shown]).astype(float)
        log = weigh(np.arange(500).repeat(4), logging[kind, shown], better[kind, shown])
        for estimate in (ips(log, rewards), snips(log, rewards)):
            interval = estimate.estimate()
            held += interval.low <= truth <= interval.high
        wrong = as_logged(log, rewards).estimate()
        naive += wrong.low <= truth <= wrong.high
    assert 0.92 <= held / 400 <= 0.98 and naive == 0

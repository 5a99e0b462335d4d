"""Features of candidates, each by hand, and what is NaN where it cannot be known."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hubspoke.catalog.parsing import DAY_US
from hubspoke.catalog.sequences import History
from hubspoke.ranking.counts import Counts
from hubspoke.ranking.features import FEATURES, NAMES, CatalogFeatures, Request, affinity, places, standardised
from hubspoke.ranking.items import ItemFacts
from hypothesis import given
from hypothesis import strategies as st

ITEMS = pl.DataFrame(
    {
        "price": [10.0, 20.0, None, 0.0],
        "cost": [4.0, None, 1.0, 1.0],
        "available": [True, False, True, True],
        "created_at": [datetime(1970, 1, 31, tzinfo=UTC), None, None, None],
        "category_path": [["garden", "hoses"], ["garden", "pots"], ["pets"], None],
        "brand": ["acme", "acme", None, "zen"],
    }
)
COUNTS = Counts(
    moment=40 * DAY_US,
    dated=True,
    taken=np.array([[6, 2, 2], [2, 1, 0], [0, 0, 0], [0, 0, 0]]),
    first=np.array([10, 30, 0, 0]) * DAY_US,
    last=np.array([40, 35, 0, 0]) * DAY_US,
    again=np.array([0.5, 0.0, 0.0, 0.0], np.float32),
)
# Items 1, 0, 0; the last event on 1970-02-10 at six, a Tuesday.
HISTORY = History(np.array([1, 0, 0]), np.array([30 * DAY_US, 38 * DAY_US, 40 * DAY_US + DAY_US // 4]))
ROWS = np.array([0, 1, 2, 3])
NAN = float("nan")
SCORES = {
    "spoke": np.array([4.0, 2.0, 2.0, 0.0]),
    "behaviour": np.array([1.0, 1.0, 1.0, 1.0]),
    "hub": np.full(4, np.nan),
    "item_cf": np.array([0.0, 3.0, 0.0, 0.0]),
}


def made(counts: Counts = COUNTS, history: History = HISTORY, clock: bool = True, **asked: int) -> dict[str, list]:
    features = CatalogFeatures(ItemFacts.of(ITEMS), counts, clock)
    request = Request(history, np.zeros(2, np.float32), np.zeros(2, np.float32), **asked)
    matrix = features.matrix(request, ROWS, SCORES)
    assert matrix.shape == (4, len(FEATURES)) and matrix.dtype == np.float32
    return {name: matrix[:, place].tolist() for place, name in enumerate(NAMES)}


def test_every_feature_by_hand() -> None:
    found = made(moment=42 * DAY_US)
    root = 2**0.5
    expected = {
        "spoke_score": [root, 0, 0, -root],
        "spoke_rank": [1, 2, 2, 4],
        "behaviour_score": [0, 0, 0, 0],
        "behaviour_rank": [1, 1, 1, 1],
        "hub_score": [NAN] * 4,
        "hub_rank": [NAN] * 4,
        "item_cf_rank": [2, 1, 2, 2],
        "popularity": np.log([7 / 3, 1, 1 / 3, 1 / 3]),
        "popularity_28d": np.log([3 / 1.75, 2 / 1.75, 1 / 1.75, 1 / 1.75]),
        "popularity_7d": np.log([3 / 1.5, 1 / 1.5, 1 / 1.5, 1 / 1.5]),
        "item_idle_days": [2, 7, NAN, NAN],
        "item_known_days": [32, 12, NAN, NAN],
        "taken_again": [0.5, 0, NAN, NAN],
        "times_taken": [2, 1, 0, 0],
        "days_since_taken": [1.75, 12, NAN, NAN],
        "events_since_taken": [0, 2, NAN, NAN],
        "price": [10, 20, NAN, NAN],
        "price_ratio": [0, np.log(2), NAN, NAN],
        "margin": [0.6, NAN, NAN, NAN],
        "in_stock": [1, 0, 1, 1],
        "item_age_days": [12, NAN, NAN, NAN],
        "category_affinity": [1.9 / 2.71, 0.81 / 2.71, 0, NAN],
        "department_affinity": [1, 1, 0, NAN],
        "brand_affinity": [1, 1, NAN, 0],
        "session_length": [3] * 4,
        "shopper_idle_days": [1.75] * 4,
        "hour": [6] * 4,
        "weekday": [1] * 4,
    }
    for name, values in expected.items():
        assert found[name] == pytest.approx(list(values), abs=1e-6, nan_ok=True), name
    assert set(NAMES) - set(expected) == {"item_cf_score", "momentum"}


def test_the_moment_is_the_newest_that_is_known() -> None:
    assert made()["days_since_taken"][0] == 0  # the shopper's last event is later than what is counted
    early = History(np.array([0]), np.array([DAY_US]))
    assert made(history=early)["days_since_taken"][0] == 39


def test_what_has_no_times_tells_no_days() -> None:
    found = made(Counts(0, False, COUNTS.taken, COUNTS.first, COUNTS.last, COUNTS.again), History(HISTORY.items))
    dated = ("popularity_28d", "popularity_7d", "momentum", "item_idle_days", "item_known_days", "days_since_taken")
    for name in (*dated, "shopper_idle_days", "hour", "weekday"):
        assert np.isnan(found[name]).all(), name
    assert found["events_since_taken"][0] == 0
    assert np.isnan(made(clock=False)["hour"]).all() and made(clock=False)["weekday"] == [1] * 4


def test_nobody_known_has_no_past() -> None:
    found = made(history=History(np.array([], np.int64)))
    assert found["times_taken"] == [0] * 4
    for name in ("price_ratio", "category_affinity", "days_since_taken", "events_since_taken"):
        assert np.isnan(found[name]).all(), name


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=20), st.randoms())
def test_a_candidate_has_one_place_however_candidates_are_ordered(scores: list[int], order: object) -> None:
    values = np.array(scores, np.float64)
    shuffled = np.random.default_rng(len(scores)).permutation(len(values))
    assert places(values)[shuffled].tolist() == places(values[shuffled]).tolist()
    assert standardised(values)[shuffled] == pytest.approx(standardised(values[shuffled]))
    # Another scale and another zero say the same.
    assert standardised(3 * values + 7) == pytest.approx(standardised(values))


def test_affinity_is_a_share_of_weights() -> None:
    assert affinity(np.array([1, 2, -1]), np.array([1.0, 3.0, 9.0]), np.array([1, 2, 3, -1])) == pytest.approx(
        [0.25, 0.75, 0.0, NAN], nan_ok=True
    )
    assert np.isnan(affinity(np.array([-1]), np.array([1.0]), np.array([1]))).all()


def test_a_price_beyond_single_precision_is_none() -> None:
    facts = ItemFacts.of(ITEMS.with_columns(price=pl.Series([1e300, 20.0, 1e39, -1.0])))
    np.testing.assert_array_equal(facts.price, np.array([np.nan, 20.0, np.nan, np.nan], np.float32))


def test_prices_far_apart_have_a_ratio_and_those_near_nothing_are_none() -> None:
    items = ITEMS.with_columns(price=pl.Series([1e-300, 1e-37, 3e38, 1.0]), cost=pl.Series([1.0, 1e300, 0.0, 1e38]))
    facts = ItemFacts.of(items)
    assert np.isnan(facts.price).tolist() == [True, False, False, False]
    assert facts.margin == pytest.approx([NAN, NAN, 1.0, -1e38], nan_ok=True)
    features = CatalogFeatures(facts, COUNTS, True)
    request = Request(History(np.array([2])), np.zeros(2, np.float32), np.zeros(2, np.float32))
    ratio = features.matrix(request, ROWS, SCORES)[:, NAMES.index("price_ratio")]
    assert ratio == pytest.approx([NAN, np.log(1e-37 / 3e38), 0.0, np.log(1 / 3e38)], nan_ok=True, rel=1e-5)

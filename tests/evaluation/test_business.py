"""What recommendations earn, by hand, and a simulation that is named one."""

import numpy as np
import pytest
from hubspoke.errors import InvalidDataError
from hubspoke.evaluation.business import Earnings, business_metrics, simulated_metrics, top_sellers
from hubspoke.evaluation.catalogue import CATALOGUE, SIMULATED
from hubspoke.evaluation.off_policy import weigh

SHOPPERS = np.array([1, 1, 2])
EARNED = Earnings(np.array([10.0, 0.0, 30.0]), np.array([4.0, 0.0, -1.0]), np.array([True, False, False]))


def test_the_largest_sellers() -> None:
    sellers, revenue = ["c", "a", "b", "a"], np.array([5.0, 2.0, 5.0, 2.0])
    assert top_sellers(sellers, revenue, 1) == {"b"} and top_sellers(sellers, revenue, 2) == {"b", "c"}
    assert top_sellers(sellers, revenue) == {"a", "b", "c"} and top_sellers([], np.array([])) == frozenset()


def test_what_the_policy_in_service_earned() -> None:
    ones = np.ones(3)
    got = business_metrics(weigh(SHOPPERS, ones, ones, floor=1), EARNED)
    assert {name: one.value for name, one in got.items()} == {
        "revenue_per_impression": pytest.approx(40 / 3),
        "margin_per_impression": 1.0,
        "tail_revenue_share": 0.25,
    }


def test_what_another_policy_would_have_earned() -> None:
    weighted = weigh(SHOPPERS, np.array([0.25, 0.5, 0.8]), np.array([0.5, 0.25, 0.4]), floor=1)  # 2, 0.5, 0.5
    got = business_metrics(weighted, EARNED)
    assert got["revenue_per_impression"].value == pytest.approx(35 / 3)
    assert got["margin_per_impression"].value == pytest.approx(7.5 / 3)
    assert got["tail_revenue_share"].value == pytest.approx(20 / 35)


def test_what_is_not_known_is_left_out() -> None:
    ones = np.ones(3)
    nothing = Earnings(np.zeros(3), tail=np.zeros(3, dtype=np.bool_))
    assert [*business_metrics(weigh(SHOPPERS, ones, ones, floor=1), nothing)] == ["revenue_per_impression"]
    assert [*simulated_metrics(SHOPPERS, ones, nothing, 10)] == ["simulated_revenue_per_impression@10"]


def test_a_simulation_by_hand() -> None:
    # 10 at place 1 in full, 30 at place 3 at a half, over two lists of 4.
    got = simulated_metrics(SHOPPERS, np.array([1.0, 7.0, 2.5]), EARNED, 4)
    assert {name: one.value for name, one in got.items()} == {
        "simulated_revenue_per_impression@4": 25 / 8,
        "simulated_margin_per_impression@4": 3.5 / 8,
        "simulated_tail_revenue_share@4": 10 / 25,
    }
    with pytest.raises(InvalidDataError, match="no held-out purchases"):
        simulated_metrics(np.array([], dtype=np.int64), np.array([]), EARNED, 4)


def test_everything_that_is_measured_is_defined() -> None:
    ones = np.ones(3)
    defined = {name for name, own in CATALOGUE.items() if own.dimension == "business"}
    measured = {*business_metrics(weigh(SHOPPERS, ones, ones, floor=1), EARNED)}
    simulated = {name.replace("@4", "@k") for name in simulated_metrics(SHOPPERS, ones, EARNED, 4)}
    assert defined == measured | simulated and all(name.startswith(SIMULATED) for name in simulated)

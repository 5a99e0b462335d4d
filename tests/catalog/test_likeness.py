"""Likeness of two categories: every number by hand, and the laws that all of them keep."""

from math import exp, log

import numpy as np
import polars as pl
import pytest
from hubspoke.catalog.likeness import (
    CatalogProfile,
    Shopping,
    attribute_likeness,
    content_likeness,
    gini,
    known_share,
    mean_known,
    mean_ranks,
    price_likeness,
    profile_catalog,
    shopping_likeness,
    weighted_jaccard,
)
from hubspoke.catalog.schema import ITEM_SCHEMA
from hypothesis import given
from hypothesis import strategies as st

shares = st.dictionaries(st.sampled_from("abcd"), st.floats(0.01, 1.0), max_size=4)
vectors = st.lists(st.floats(-1, 1), min_size=3, max_size=3).map(np.array)
parts = st.floats(0, 1)
shoppings = st.builds(Shopping, st.floats(1, 50), parts, parts, st.none() | parts)


def catalog(*rows: dict[str, object]) -> CatalogProfile:
    return profile_catalog(pl.DataFrame([{"item_id": str(n), **row} for n, row in enumerate(rows)], schema=ITEM_SCHEMA))


def said(**values: str) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def test_a_catalog_is_told_in_shares_of_its_items() -> None:
    found = catalog(
        {"brand": "Acme", "price": 1.0, "currency": "EUR", "attributes": said(colour="Red", size="S")},
        {"brand": "acme ", "price": 4.0, "currency": "EUR", "attributes": said(colour="red")},
        {"brand": None, "price": 9.0, "currency": "USD", "attributes": said(colour="blue")},
        {"brand": "Bolt", "price": 0.0, "currency": "EUR", "attributes": None},
    )
    assert found.keys == {"colour": 0.75, "size": 0.25}
    assert found.values == {"colour=red": 0.5, "colour=blue": 0.25, "size=s": 0.25}
    assert found.brands == {"acme": 0.5, "bolt": 0.25}
    # The prices in the currency of most, from 1 to 4.
    assert (found.currency, len(found.prices)) == ("EUR", 101)
    assert (found.prices[0], found.prices[50], found.prices[-1]) == pytest.approx((0.0, log(2), log(4)))


def test_two_catalogs_by_hand() -> None:
    ours = catalog({"brand": "a", "price": 2.0, "attributes": said(colour="red")}, {"brand": "b", "price": 2.0})
    theirs = catalog({"brand": "b", "price": 6.0, "attributes": said(colour="blue", size="s")})
    found = attribute_likeness(ours, theirs)
    assert found.keys == pytest.approx(0.5 / 2.0)  # colour .5 and 1, size 0 and 1
    assert found.values == 0.0
    assert found.brands == pytest.approx(0.5 / 1.5)  # a .5 and 0, b .5 and 1
    assert found.prices == pytest.approx(1 / 3)  # three times as dear
    # What one of them lacks is unknown, and so are prices in two currencies.
    bare = attribute_likeness(ours, catalog({"price": 2.0, "currency": "EUR"}))
    assert (bare.keys, bare.values, bare.brands, bare.prices) == (None, None, None, None)
    assert len(catalog().prices) == 0


def test_prices_quantile_by_quantile() -> None:
    ours, theirs = np.log([1.0, 2.0]), np.log([1.0, 8.0])
    assert price_likeness(ours, theirs) == pytest.approx(exp(-log(4) / 2))  # level at one end, four times at the other
    assert price_likeness(ours, np.zeros(0)) is None


def test_content_by_the_angle_of_means() -> None:
    ours, theirs = np.array([2.0, 0.0]), np.array([1.0, 1.0])
    assert content_likeness(ours, theirs) == pytest.approx(0.5**0.5)
    assert content_likeness(ours, -ours) == -1.0
    assert content_likeness(ours, np.zeros(2)) is None


def test_shopping_statistic_by_statistic() -> None:
    found = shopping_likeness(Shopping(4.0, 0.5, 0.2), Shopping(5.0, 0.1, 0.3, 0.9))
    assert found == pytest.approx({"session_length": 0.8, "repeats": 0.6, "skew": 0.9, "content": None})


def test_how_skewed_counts_are() -> None:
    assert gini(np.array([3, 3, 3])) == 0.0
    assert gini(np.array([0, 0, 0, 8])) == 0.75  # all on one of four: 1 - 1/4
    assert gini(np.array([1, 3])) == 0.25  # mean absolute difference of a pair 1, over twice the mean 2
    assert gini(np.zeros(3, np.int64)) == 0.0


def test_who_is_known_elsewhere() -> None:
    assert known_share({"ann", "bob", "cid"}, {"bob", "dan"}) == pytest.approx(1 / 3)
    assert known_share({"bob", "dan"}, {"ann", "bob", "cid"}) == 0.5
    assert known_share({"ann"}, {"bob"}) == 0.0  # nobody, and that is known
    assert known_share(set(), {"bob"}) is known_share({"ann"}, set()) is None


def test_places_are_shared_and_what_is_unknown_has_none() -> None:
    columns = [[0.9, 0.1, 0.5, None], [None, 0.3, 0.3, None]]
    assert mean_ranks(columns) == [1.0, 2.25, 1.75, None]  # (3 + 1.5) / 2 and (2 + 1.5) / 2
    assert mean_known([None, 0.2, 0.4]) == pytest.approx(0.3)
    assert mean_known([None]) is None


@given(shares, shares)
def test_shares_are_compared_the_same_both_ways(a, b) -> None:
    found = weighted_jaccard(a, b)
    assert found == weighted_jaccard(b, a)
    assert (found is None) == (not a or not b)
    assert found is None or 0.0 <= found <= 1.0
    assert not a or weighted_jaccard(a, a) == 1.0


@given(vectors, vectors)
def test_content_is_never_more_alike_than_to_itself(a, b) -> None:
    found = content_likeness(a, b)
    assert found == content_likeness(b, a)
    assert found is None or -1.0 - 1e-9 <= found <= 1.0
    assert content_likeness(a, a) in (None, pytest.approx(1.0))


@given(vectors, vectors)
def test_prices_are_never_more_alike_than_to_themselves(a, b) -> None:
    found = price_likeness(a, b)
    assert found is not None and 0.0 < found <= 1.0
    assert (found, price_likeness(a, a)) == (price_likeness(b, a), 1.0)


@given(shoppings, shoppings)
def test_shopping_is_compared_the_same_both_ways(a, b) -> None:
    found = shopping_likeness(a, b)
    assert found == shopping_likeness(b, a)
    assert all(own is None or 0.0 <= own <= 1.0 for own in found.values())
    assert all(own in (None, 1.0) for own in shopping_likeness(a, a).values())


@given(st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc")))
def test_a_share_of_shoppers_is_one_of_oneself(a, b) -> None:
    found = known_share(a, b)
    assert found is None or 0.0 <= found <= 1.0
    assert known_share(a, a) in (None, 1.0)

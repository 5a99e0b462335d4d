"""Filters: what each condition passes, what is not known of an item, and what is refused with a reason."""

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.catalog.schema import ITEM_SCHEMA
from hubspoke.errors import UsageError
from hubspoke.retrieval.filter_text import parse_filter
from hubspoke.retrieval.filters import Filter, read_filter
from hypothesis import given
from hypothesis import strategies as st

ITEMS = pl.DataFrame(
    {
        "item_id": ["a", "b", "c", "d"],
        "title": ["A", "B", "C", "D"],
        "brand": ["Oak", "Elm", None, "Oak"],
        "category_path": [["garden", "hoses"], ["garden"], ["pets"], None],
        "price": [10.0, 60.0, None, 50.0],
        "available": [True, False, True, True],
        "created_at": [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3, 4)],
        "attributes": [
            [{"key": "color", "value": "red"}, {"key": "size", "value": "10.5"}],
            [{"key": "color", "value": "blue"}, {"key": "size", "value": "XL"}],
            [],
            None,
        ],
    }
    | {name: [None] * 4 for name in ("description", "currency", "image", "image_sha256", "cost")},
    schema_overrides=ITEM_SCHEMA,
)


def passing(asked: Filter) -> str:
    return "".join(np.array(ITEMS["item_id"])[asked.passes(ITEMS)])


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("price<=50", "ad"),
        ("not price <= 50", "bc"),  # c has no price, so the condition is not met
        ("price >= 10 and price < 60", "ad"),
        ("price = 60", "b"),
        ("price in (10, 50.0)", "ad"),
        ("category = garden", "ab"),  # with all that lies below
        ("category in ('garden > hoses', \"pets\")", "ac"),
        ("brand = Oak or category = pets", "acd"),
        ("brand not in ('Oak')", "bc"),
        ("brand != Oak", "bc"),
        ("available", "acd"),
        ("not available", "b"),
        ("available = false", "b"),
        ("attributes.color = 'red'", "a"),
        ("attributes.size > 10", "a"),  # XL is no number
        ("attributes.size = 10.5", "a"),
        ("price <= '30'", "a"),
        ("price >= 1e9", ""),
        ("created_at >= 2024-01-03", "cd"),
        ("created_at < 2024-01-02T12:00:00+00:00", "ab"),
        ("item_id in (a, 'c')", "ac"),
        ("not (price > 20 and brand = Oak)", "abc"),
        ("price < 20 or price > 40 and available", "ad"),  # `and` binds more
        ("(price < 20 or price > 40) and not available", "b"),
    ],
)
def test_a_line_passes_what_it_says_and_is_the_same_as_json(text: str, ids: str) -> None:
    asked = parse_filter(text)
    assert passing(asked) == ids
    again = read_filter(json.loads(str(asked)))
    assert (again, hash(again)) == (asked, hash(asked))


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ({}, "abcd"),
        ({"must": [{"field": "brand", "exists": True}]}, "abd"),
        ({"must": [{"field": "price", "exists": False}]}, "c"),
        ({"must": [{"field": "price", "range": {"gt": 10, "lte": 60}}]}, "bd"),
        ({"must_not": [{"field": "brand", "any": ["Elm"]}, {"field": "price", "range": {"lt": 20}}]}, "cd"),
        ({"should": [{"field": "item_id", "any": ["a"]}, {"must": [{"field": "item_id", "any": ["b"]}]}]}, "ab"),
        ({"must_not": [{"should": [{"field": "item_id", "any": ["a", "b"]}]}]}, "cd"),
    ],
)
def test_json_passes_what_it_says(value: Any, ids: str) -> None:
    assert passing(read_filter(value)) == ids


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("price <", "at its end: a value is expected"),
        ("price <= cheap", "at must.0.range.lte: .* valid number"),
        ("price in ('cheap')", "price is compared with numbers"),
        ("colour = red", "no field 'colour'; filter by item_id"),
        ("attributes.c = red", "No item has an attribute 'c'; the catalog has color, size"),
        ("price in ()", r"at `\)`: a value is expected"),
        ("(price < 3", r"`\)` is expected"),
        ("price < 3 )", "or the end is expected"),
        ("price ~ 3", "at `~ 3`"),
        ("and", "at `and`: a field is expected"),
        ("brand > 3", "brand has no order"),
        ("brand", "brand is neither true nor false"),
        ("available in (1)", "available is not compared"),
        ("(" * 9 + "price < 3" + ")" * 9, "nests more than 8 deep"),
        ("not " * 5000 + "available", "nests more than 8 deep"),
        (" and ".join(["price < 3"] * 201), "201 conditions"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_filter(text).passes(ITEMS)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "dictionary"),
        ({"must": {}}, "must"),
        ({"must": [{"field": "price"}]}, "exactly one of"),
        ({"must": [{"field": "price", "range": {}}]}, "needs one of gt"),
        ({"must": [{"field": "price", "range": {"lt": float("nan")}}]}, "finite"),
        ({"must": [{"field": "price", "range": {"lt": "2024-01-01"}}]}, "bounds of price are numbers"),
        ({"must": [{"field": "created_at", "range": {"lt": 3, "gt": "2024-01-01"}}]}, "numbers or moments"),
        ({"must": [{"field": "price", "range": {"lt": "50"}}]}, "at must.0.range.lt: .* valid number"),
        ({"must": [{"field": "price", "range": {"lt": True}}]}, "at must.0.range.lt: .* valid number"),
        ({"must": [{"field": "created_at", "range": {"lt": "50"}}]}, "must.0.range.lt"),
        ({"must": [{"field": "available", "is": "true"}]}, "at must.0.is: .* valid boolean"),
        ({"must": [{"field": "brand", "exists": 1}]}, "at must.0.exists: .* valid boolean"),
        ({"must": [{"field": "brand", "any": []}]}, "at least 1"),
        ({"must": [{"field": "brand", "any": ["x"], "boost": 3}]}, "boost"),
        ({"either": []}, "either"),
    ],
)
def test_json_that_is_no_filter_is_refused(value: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_filter(value)


conditions = st.sampled_from(["price<=50", "brand=Oak", "available", "category=garden", "attributes.color=red"])


@given(one=conditions, other=conditions)
def test_de_morgan_holds_though_not_all_is_known(one: str, other: str) -> None:
    neither = parse_filter(f"not ({one} or {other})"), parse_filter(f"not {one} and not {other}")
    assert passing(neither[0]) == passing(neither[1])
    not_both = parse_filter(f"not ({one} and {other})"), parse_filter(f"not {one} or not {other}")
    assert passing(not_both[0]) == passing(not_both[1])


@given(text=st.text(max_size=60))
def test_any_line_is_a_filter_or_is_refused(text: str) -> None:
    try:
        assert len(parse_filter(text).passes(ITEMS)) == len(ITEMS)
    except UsageError as error:
        assert str(error).endswith(".")

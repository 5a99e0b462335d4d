from typing import Any

import polars as pl
import pytest
from hubspoke.catalog import parsing
from hypothesis import given, settings
from hypothesis import strategies as st


def pairs(frame: pl.DataFrame, given_column: pl.Series | None = None, columns: list[str] | None = None) -> list[Any]:
    found = parsing.attributes(frame, frame.columns if columns is None else columns, given_column, frame.height)
    return [[(pair["key"], pair["value"]) for pair in row] for row in found.values.to_list()]


@settings(deadline=None)
@given(st.lists(st.tuples(st.none() | st.text("ab", min_size=1), st.none() | st.integers(0, 9)), max_size=8))
def test_attributes_hold_exactly_the_filled_cells(rows: list[tuple[str | None, int | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"x": pl.String, "y": pl.Int64}, orient="row")
    assert pairs(frame) == [[(k, str(v)) for k, v in zip("xy", row, strict=True) if v is not None] for row in rows]


@pytest.mark.parametrize(
    "cells",
    [
        [[{"key": "a", "value": "1"}]], [[{"name": "a", "v": 1}]], [{"a": "1"}], ['{"a": 1, "b": null}'], ["{'a': 1}"],
        ['[{"name": "a", "value": 1}]'],
    ],
)  # fmt: skip
def test_given_attributes_come_first(cells: list[Any]) -> None:
    assert pairs(pl.DataFrame({"c": ["red"]}), pl.Series(cells)) == [[("a", "1"), ("c", "red")]]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('{"UPC": "0012", "Size": ["S", "M"]}', [("UPC", "0012"), ("Size", "S; M")]),
        ('{"id": 5, "name": "Lighting", "slug": "l"}', [("x", "Lighting")]),
        ('[{"name": "wood"}, {"name": "oak"}]', [("x", "wood; oak")]),
        ('[{"key": "Colour", "value": "red"}]', [("Colour", "red")]),
        ("['wood', 'oak']", [("x", "wood; oak")]),
        ('{"Rank": {"Office": 5, "Home": 6}}', [("Rank", "Office: 5; Home: 6")]),
        ("<b>Oak</b> &amp; steel", [("x", "Oak & steel")]),
        ("[]", []), ("NULL", []), ("{}", []), ('{"a": "null", "taken": "1"}', [("x.taken", "1")]),
        ("{broken", [("x", "{broken")]),
    ],
)  # fmt: skip
def test_lists_and_objects_in_any_column(cell: str, expected: list[tuple[str, str]]) -> None:
    frame = pl.DataFrame({"taken": [None], "x": [cell]}, schema={"taken": pl.String, "x": pl.String})
    assert pairs(frame) == [expected]


def test_dtypes_of_parquet_and_bytes_that_are_left_out() -> None:
    frame = pl.DataFrame(
        {
            "n": [{"c": "red", "m": None}],
            "l": [[1, 2]],
            "t": [b"text"],
            "b": [b"\xff"],
            "d": pl.Series([1000], dtype=pl.Duration("ms")),
        }
    )
    assert pairs(frame) == [[("l", "1; 2"), ("t", "text"), ("d", "PT1S"), ("c", "red")]]
    assert parsing.attributes(frame, frame.columns, None, 1).left_out == ("b",)

from __future__ import annotations

import polars as pl
import pytest
from hubspoke.catalog.feeds.base import decoded

PAIR = pl.Struct({"a": pl.Int64(), "b": pl.String()})


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (['{"a": 1, "b": "x"}', None, '{"c": 2}'], [{"a": 1, "b": "x"}, None, {"a": None, "b": None}]),
        (["", '{"a": 1}', " "], [None, {"a": 1, "b": None}, None]),
        (['{"a":\n1}', "x", '{"a": 2}'], [{"a": 1, "b": None}, None, {"a": 2, "b": None}]),
        (['{"a": 1}\n{"a": 2}', "", '{"a": 3}'], [None, None, {"a": 3, "b": None}]),
        ([], []),
    ],
)
def test_every_cell_of_json_keeps_its_row(cells: list[str | None], found: list[object]) -> None:
    assert decoded(pl.Series("json", cells, dtype=pl.String), PAIR).to_list() == found

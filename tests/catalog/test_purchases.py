"""What purchases earned."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.purchases import purchases
from hubspoke.catalog.schema import EVENT_SCHEMA, ITEM_SCHEMA
from hubspoke.errors import InvalidDataError


def _frame(schema: Any, *rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def _events(*rows: dict[str, Any]) -> pl.DataFrame:
    return _frame(EVENT_SCHEMA, *({"user_id": "ann", "event_type": "purchase", **row} for row in rows))


ITEMS = _frame(
    ITEM_SCHEMA,
    {"item_id": "pot", "price": 5.0, "cost": 2.0, "currency": "EUR"},
    {"item_id": "pan", "price": 7.0, "currency": "EUR"},
    {"item_id": "lid", "price": 9.0, "currency": "USD"},
)


def test_an_event_tells_what_was_paid_for_all_its_pieces_and_else_the_catalog_does() -> None:
    found = purchases(
        _events(
            {"item_id": "pot", "value": 8.0, "quantity": 2},
            {"item_id": "pot", "quantity": 3},
            {"item_id": "pan"},
            {"item_id": "gone"},
            {"item_id": "pan", "event_type": "view"},
        ),
        ITEMS,
    )
    assert found["revenue"].to_list() == [8.0, 15.0, 7.0, None]
    assert found["cost"].to_list() == [4.0, 6.0, None, None]
    assert found.columns == [*EVENT_SCHEMA, "revenue", "cost"]


def test_prices_in_several_currencies_are_not_added() -> None:
    told = _events({"item_id": "pan", "value": 1.0}, {"item_id": "lid", "value": 2.0})
    assert purchases(told, ITEMS)["revenue"].to_list() == [1.0, 2.0]
    with pytest.raises(InvalidDataError, match=r"priced in EUR, USD, which cannot be added"):
        purchases(_events({"item_id": "pan"}, {"item_id": "lid"}), ITEMS)

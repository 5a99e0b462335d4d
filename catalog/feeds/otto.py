"""OTTO: sessions of clicks, carts and orders, as JSON Lines or flat."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import polars as pl

from ..layout import Layout
from ..tables import Table
from .base import Shaped, has
from .shaping import Renamed, exploded

EVENTS = pl.List(pl.Struct({"aid": pl.String(), "ts": pl.String(), "type": pl.String()}))


class Otto(Renamed):
    """A row a session with its events nested, or a row an event."""

    name = "otto"
    kind = "events"
    title = "OTTO sessions (JSON Lines, Parquet or CSV)"
    export = "the research set's otto-recsys-train.jsonl, or train.parquet"
    reads: ClassVar = {
        "user_id": "session",
        "item_id": "aid",
        "timestamp": "ts",
        "event_type": "type",
        "session_id": "session",
    }
    # The flat form has numbers in place of the words.
    words: ClassVar = {
        "clicks": "click",
        "carts": "cart",
        "orders": "purchase",
        "0": "click",
        "1": "cart",
        "2": "purchase",
    }

    def matches(self, table: Table) -> bool:
        """Whether it has sessions of nested events, or their columns flat."""
        columns = set(table.frame.columns)
        return columns == {"session", "events"} or columns == {"session", "aid", "ts", "type"}

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """A row an event."""
        if not has(table, "events"):
            return super().shape(table, layout)
        self.require(table, ("session",))
        flat, step = exploded(table, "events", EVENTS)
        shaped = super().shape(flat, layout)
        return replace(shaped, table=replace(shaped.table, faults=flat.faults), steps=(step, *shaped.steps))

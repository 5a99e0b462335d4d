"""RetailRocket: a shop's events, and properties of its items in long form."""

from __future__ import annotations

from typing import ClassVar

import polars as pl

from ..layout import Layout
from ..parsing import text
from ..schema import ATTRIBUTES
from ..tables import Table
from ..validation import Step
from .base import Feed, Shaped, has
from .shaping import Renamed, beside

LONG = ("timestamp", "itemid", "property", "value")
NAMED = {"categoryid": "category_path", "790": "price", "available": "available"}


class RetailRocketEvents(Renamed):
    """Views, carts and transactions of visitors."""

    name = "retailrocket"
    kind = "events"
    title = "RetailRocket events (CSV)"
    export = "the research set's events.csv"
    reads: ClassVar = {"user_id": "visitorid", "item_id": "itemid", "timestamp": "timestamp", "event_type": "event"}
    words: ClassVar = {"view": "view", "addtocart": "cart", "transaction": "purchase"}


class RetailRocketItems(Feed):
    """Properties one a row, each at a time; the newest value of each counts."""

    name = "retailrocket"
    kind = "items"
    title = "RetailRocket item properties (CSV)"
    export = "the research set's item_properties_part1.csv and item_properties_part2.csv"
    reads: ClassVar = {
        "item_id": "itemid",
        "category_path": "property categoryid",
        "price": "property 790",
        "available": "property available",
        "attributes": "all other properties",
    }

    def matches(self, table: Table) -> bool:
        """Whether it is the long form."""
        return has(table, *LONG)

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """One row an item, at its first source row."""
        self.require(table, LONG)
        long = table.frame.select(
            text(table.frame["itemid"]).alias("item_id"),
            text(table.frame["property"]).alias("key"),
            text(table.frame["value"]),
            pl.col("timestamp").cast(pl.Int64, strict=False),
            table.rows.alias("row"),
        )
        made = long.group_by("item_id", maintain_order=True).agg(pl.col("row").min())
        by_time = long.sort("timestamp", maintain_order=True)
        newest = by_time.unique(["item_id", "key"], keep="last", maintain_order=True)
        own = newest.filter(pl.col("key").is_in(list(NAMED)))
        for key, name in NAMED.items():
            named = own.filter(pl.col("key") == key).select("item_id", pl.col("value").alias(name))
            made = made.join(named, on="item_id", how="left", maintain_order="left", nulls_equal=True)
        rest = newest.filter(~pl.col("key").is_in(list(NAMED)) & pl.col("value").is_not_null()).sort("item_id", "key")
        pairs = rest.group_by("item_id").agg(pl.struct("key", "value").alias("attributes"))
        made = made.join(pairs, on="item_id", how="left", maintain_order="left", nulls_equal=True)
        # `n552.000` is a number, whose comma is a point.
        price = pl.col("price").str.strip_prefix("n").cast(pl.Float64, strict=False)
        made = made.with_columns(price, pl.col("attributes").cast(ATTRIBUTES)).sort("row")
        notes = ("of each property of an item the newest value counts; 790 is read as the price",)
        step = Step("properties gathered by item", table.frame.height, made.height)
        items = beside(Table(made.drop("row"), made["row"]), table, "items", LONG)
        return Shaped(items, self.reads, notes, (step,))

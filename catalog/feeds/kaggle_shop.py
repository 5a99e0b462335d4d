"""eCommerce behaviour data from a multi-category store (Kaggle): one log of events that also names the products."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import polars as pl

from ..layout import SKIP, Layout
from ..parsing import text
from ..tables import Table
from ..validation import Step
from .base import Shaped
from .shaping import Renamed

LOG = ("event_time", "event_type", "product_id", "category_code", "brand", "price", "user_id")


class KaggleShopEvents(Renamed):
    """Views, carts and purchases."""

    name = "kaggle-shop"
    kind = "events"
    title = "eCommerce behaviour log (Kaggle, CSV)"
    export = "the data set's monthly files, such as 2019-Oct.csv"
    reads: ClassVar = {
        "user_id": "user_id",
        "item_id": "product_id",
        "timestamp": "event_time",
        "event_type": "event_type",
        "session_id": "user_session",
        "value": "price",
    }
    lacks = ("session_id",)
    words: ClassVar = {"remove_from_cart": SKIP}
    # Facts about the product, which its catalog has.
    aside = ("category_id", "category_code", "brand")

    def matches(self, table: Table) -> bool:
        """Whether the log has the names of this data set."""
        return set(LOG) <= set(table.frame.columns)

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """Only a purchase earns the price."""
        shaped = super().shape(table, layout)
        earned = pl.when(pl.col("event_type") == "purchase").then("value").alias("value")
        frame = shaped.table.frame.with_columns(earned)
        return shaped.reframed(frame, value="price of purchases")


class KaggleShopItems(Renamed):
    """The products that the log names, each as its last event has it."""

    name = "kaggle-shop"
    kind = "items"
    title = "products of an eCommerce behaviour log (Kaggle, CSV)"
    export = KaggleShopEvents.export
    reads: ClassVar = {
        "item_id": "product_id",
        "category_path": "category_code",
        "brand": "brand",
        "price": "price",
    }
    aside = ("event_time", "event_type", "user_id", "user_session")

    def matches(self, table: Table) -> bool:
        """Whether the log has the names of this data set."""
        return set(LOG) <= set(table.frame.columns)

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """One row a product; `electronics.smartphone` is a path."""
        shaped = super().shape(table, layout)
        frame = shaped.table.frame.with_columns(shaped.table.rows.alias("source row"))
        frame = frame.unique("item_id", keep="last", maintain_order=True)
        path = text(frame["category_path"]).str.split(".")
        made = Table(frame.drop("source row").with_columns(path.alias("category_path")), frame["source row"])
        step = Step("events gathered by product", table.frame.height, made.frame.height)
        return replace(shaped, table=made, steps=(step,), notes=("each product is as its last event has it",))

"""Instacart: order lines joined with their orders, and products."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import polars as pl

from ...errors import InvalidDataError
from ..layout import Layout
from ..parsing import text
from ..tables import Table
from ..validation import Step
from .base import Shaped, has
from .shaping import Renamed

LINES = ("order_id", "product_id", "add_to_cart_order", "reordered")
ORDERS = ("order_id", "user_id", "order_number")


class InstacartOrders(Renamed):
    """Products that users ordered: orders are numbered per user, their moments are not known."""

    name = "instacart"
    kind = "events"
    title = "Instacart order lines (CSV)"
    export = "the research set's order_products__prior.csv joined with orders.csv on order_id"
    reads: ClassVar = {
        "user_id": "user_id",
        "item_id": "product_id",
        "timestamp": "order_number",
        "session_id": "order_id",
        "position": "add_to_cart_order",
        "event_type": "always purchase",
    }
    event_type = "purchase"

    def matches(self, table: Table) -> bool:
        """Whether they are the research set's order lines, joined or not."""
        return has(table, *LINES) or (has(table, *ORDERS) and has(table, "order_dow", "order_hour_of_day"))

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """Lines that name their user; orders and lines in one table are joined first."""
        if not has(table, *LINES) or not has(table, *ORDERS):
            kind, other = (
                ("order lines without their users", "orders.csv")
                if has(table, *LINES)
                else ("orders without their products", "order_products__prior.csv")
            )
            raise InvalidDataError(
                f"The table holds {kind} (columns {', '.join(table.frame.columns)}); join it with {other} on order_id."
            )
        joined, steps = _joined(table)
        shaped = super().shape(joined, layout)
        return replace(shaped, steps=(*steps, *shaped.steps))


class InstacartProducts(Renamed):
    """The products, with the names of aisle and department where these are joined."""

    name = "instacart"
    kind = "items"
    title = "Instacart products (CSV)"
    export = "the research set's products.csv"
    reads: ClassVar = {"item_id": "product_id", "title": "product_name", "category_path": "department > aisle"}
    lacks = ("category_path",)

    def matches(self, table: Table) -> bool:
        """Whether it has the ids of aisle and department."""
        return has(table, "product_id", "product_name", "aisle_id", "department_id")

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """Department and aisle become the category where the table names them."""
        shaped = super().shape(table, layout)
        if not has(table, "department", "aisle"):
            return shaped
        levels = [text(table.frame[name]) for name in ("department", "aisle")]
        path = pl.DataFrame(levels).select(category_path=pl.concat_list(pl.all()).list.drop_nulls())
        frame = shaped.table.frame.drop("department", "aisle").hstack(path)
        return shaped.reframed(frame, category_path="department > aisle")


def _joined(table: Table) -> tuple[Table, tuple[Step, ...]]:
    """Lines beside the orders of the same table, as two files read together give it."""
    frame = table.frame.with_columns(table.rows.alias("source row"))
    orders = pl.col("product_id").is_null() & pl.col("user_id").is_not_null()
    apart = frame.filter(orders)
    if apart.height == 0:
        return table, ()
    known = [name for name in (*ORDERS, "order_dow", "order_hour_of_day", "days_since_prior_order") if has(table, name)]
    lines = frame.filter(pl.col("product_id").is_not_null())
    lines = lines.drop(known[1:]).join(apart.select(known), on="order_id", how="left", maintain_order="left")
    step = Step("orders joined to their lines", frame.height, lines.height)
    return Table(lines.drop("source row"), lines["source row"]), (step,)

"""Shopify's orders: a row a line item, the order's own fields on its first row only."""

from __future__ import annotations

import re
from typing import ClassVar

import polars as pl

from ..layout import Layout
from ..parsing import text
from ..tables import Table
from ..validation import Step
from .base import Feed, Shaped, has
from .shaping import amounts, beside, counted

NEEDED = ("Name", "Lineitem quantity", "Lineitem price", "Created at")
# Fields of the order, which its further rows leave empty.
ORDER = ("Financial Status", "Cancelled at", "Created at", "Customer ID", "Email", "Phone")
USERS = ("Customer ID", "Email", "Phone")
NO_SALE = ("refunded", "voided", "expired")
# What concerns people and payments is nothing to recommend by, and nobody's business here.
ASIDE = (
    r"(Billing|Shipping|Tax|Payment|Discount|Receipt|Duties|Device|Accepts|Risk|Note|Fulfil|Paid|Refunded|Outstanding"
    r"|Next Payment|Lineitem (fulfil|requires|taxable|compare)|Total|Subtotal|Currency|Employee).*|Location|Id|Tags"
)


class ShopifyOrders(Feed):
    """Purchases, one per line item; what was refunded, voided or cancelled is none."""

    name = "shopify-orders"
    kind = "events"
    title = "Shopify orders export (CSV)"
    export = "Admin > Orders > Export"
    reads: ClassVar = {
        "user_id": "Customer ID, else Email, else Phone",
        "item_id": "Lineitem sku",
        "timestamp": "Created at",
        "event_type": "always purchase",
        "session_id": "Name",
        "value": "Lineitem price x Lineitem quantity",
        "quantity": "Lineitem quantity",
    }

    def matches(self, table: Table) -> bool:
        """Whether it has line items of orders."""
        return has(table, "Name", "Lineitem name", "Lineitem quantity", "Lineitem price", "Created at")

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """Order fields filled down, sales only."""
        self.require(table, NEEDED)
        # What is mapped by hand to a field of the order is filled down as well.
        claimed = {name: layout.claimed[name] for name in ("user_id", "timestamp") if name in layout.claimed}
        fields = dict.fromkeys((*ORDER, *claimed.values()))
        orders = [text(table.frame[name]).alias(name) for name in fields if name in table.frame.columns]
        filled = pl.DataFrame([text(table.frame["Name"]), *orders]).with_columns(
            pl.col(column.name).drop_nulls().first().over("Name") for column in orders
        )
        users = [claimed["user_id"]] if "user_id" in claimed else [name for name in USERS if name in filled.columns]
        self.require(table, () if users else ("Email",))
        item = "Lineitem sku" if has(table, "Lineitem sku") else "Lineitem name"
        status = _status(filled)
        sold = ~status.is_in(["cancelled", *NO_SALE])
        frame = pl.DataFrame(
            [
                filled.select(pl.coalesce(*users)).to_series().alias("user_id"),
                table.frame[item].alias("item_id"),
                filled[claimed.get("timestamp", "Created at")].alias("timestamp"),
                filled["Name"].alias("session_id"),
                amounts(table.frame["Lineitem price"], table.frame["Lineitem quantity"]).alias("value"),
                table.frame["Lineitem quantity"].alias("quantity"),
            ]
        ).with_columns(event_type=pl.lit("purchase"))
        aside = [name for name in table.frame.columns if re.fullmatch(ASIDE, name)]
        used = (*NEEDED, item, *fields, *aside)
        made = beside(Table(frame.filter(sold), table.rows.filter(sold)), table, "events", used)
        notes = []
        if not sold.all():
            notes.append(f"lines of orders that are no sales were left out: {counted(status.filter(~sold))}")
        if partly := int((status == "partially_refunded").sum()):
            notes.append(f"{partly} lines of partially refunded orders stay: the export does not say which went back")
        step = Step("lines of orders that are no sales left out", table.frame.height, made.frame.height)
        return Shaped(made, {**self.reads, "item_id": item, **claimed}, tuple(notes), (step,))


def _status(orders: pl.DataFrame) -> pl.Series:
    """What became of the order of each line; a cancelled one is cancelled whatever its payment says."""
    none = pl.lit(None, dtype=pl.String)
    paid = pl.col("Financial Status").str.to_lowercase() if "Financial Status" in orders.columns else none
    cancelled = pl.col("Cancelled at") if "Cancelled at" in orders.columns else none
    ends = pl.when(paid.is_in(NO_SALE).fill_null(False)).then(paid)
    return orders.select(
        status=ends.when(cancelled.is_not_null()).then(pl.lit("cancelled")).otherwise(paid).fill_null("")
    ).to_series()

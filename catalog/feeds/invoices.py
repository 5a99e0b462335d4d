"""Invoices line by line, as in the Online Retail data sets of the UCI repository."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import polars as pl

from ..layout import Layout
from ..parsing import numbers, text
from ..tables import Table
from ..validation import Step
from .base import Feed, Shaped, has
from .shaping import Renamed, amounts, beside

# The first edition's names, and what the second one calls the same.
NAMES = {"Invoice": "InvoiceNo", "Price": "UnitPrice", "Customer ID": "CustomerID", "Customer_ID": "CustomerID"}
NEEDED = ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")
ITEMS = ("StockCode", "Description", "UnitPrice")


def first_edition(table: Table) -> Table:
    """The table with the names of the first edition."""
    names = {new: old for new, old in NAMES.items() if new in table.frame.columns and old not in table.frame.columns}
    return replace(table, frame=table.frame.rename(names))


class Invoices(Renamed):
    """Lines of invoices; those of a number with a C in front are returns."""

    name = "retail-invoices"
    kind = "events"
    title = "Online Retail invoices (UCI)"
    export = "the data set's Online Retail.xlsx or online_retail_II.xlsx, saved as CSV"
    reads: ClassVar = {
        "user_id": "CustomerID",
        "item_id": "StockCode",
        "timestamp": "InvoiceDate",
        "session_id": "InvoiceNo",
        "value": "UnitPrice",
        "quantity": "Quantity",
        "event_type": "purchase, or return where InvoiceNo begins with C",
    }
    event_type = "purchase"
    aside = ("Description",)

    def matches(self, table: Table) -> bool:
        """Whether it has the names of either edition."""
        return has(first_edition(table), *NEEDED)

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """Purchases and returns with what the line cost."""
        shaped = super().shape(first_edition(table), layout)
        frame = shaped.table.frame
        returned = text(frame["session_id"]).str.to_lowercase().str.starts_with("c").fill_null(False)
        kind = pl.select(pl.when(returned).then(pl.lit("return")).otherwise(pl.lit("purchase"))).to_series()
        value = amounts(frame["value"], frame["quantity"])
        frame = frame.with_columns(kind.alias("event_type"), value.alias("value"))
        return shaped.reframed(frame, value="UnitPrice x Quantity")


class InvoiceItems(Feed):
    """The products that invoices name, each as its last line has it."""

    name = "retail-invoices"
    kind = "items"
    title = "products of Online Retail invoices (UCI)"
    export = Invoices.export
    reads: ClassVar = {"item_id": "StockCode", "title": "Description", "price": "UnitPrice"}

    def matches(self, table: Table) -> bool:
        """Whether it has the names of either edition."""
        return has(first_edition(table), *NEEDED, "Description")

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """One row a product: its last description, and its last price above nothing."""
        table = first_edition(table)
        self.require(table, ITEMS)
        sold = (numbers(table.frame[self.reads["price"]])[0] > 0).fill_null(False)
        frame = table.frame.select(
            *(pl.col(source).alias(name) for name, source in self.reads.items()), table.rows.alias("row"), sold=sold
        )
        made = frame.group_by("item_id", maintain_order=True).agg(
            pl.col("title").drop_nulls().last(),
            pl.coalesce(pl.col("price").filter("sold").last(), pl.col("price").last()),
            pl.col("row").first(),
        )
        step = Step("lines gathered by product", table.frame.height, made.height)
        notes = ("each product is as its last line has it",)
        items = beside(Table(made.drop("row"), made["row"]), table, "items", (*NEEDED, *ITEMS, "Country"))
        return Shaped(items, self.reads, notes, (step,))

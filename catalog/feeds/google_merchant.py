"""Product data as Google Merchant Center takes it, which other shopping platforms take too: text or XML, a row an item.

Names are read with blanks or underscores, in any case, and with or without the `g:` of XML.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import ClassVar

import polars as pl

from .. import parsing
from ..layout import Layout
from ..schema import Kind
from ..tables import Table
from .base import Feed, Shaped
from .fields import Fields, addresses, constant, on_sale, pairs, spaced, states, words

COLUMNS = {
    "item_id": ("id",),
    "title": ("title",),
    "description": ("description", "summary", "content"),  # the latter two are those of Atom
    "brand": ("brand",),
    "category_path": ("product type", "google product category"),
    "price": ("price",),
    "currency": ("price",),
    "image": ("image link", "additional image link"),
    "available": ("availability",),
    "cost": ("cost of goods sold",),
}
AVAILABLE = {
    "in stock": True, "preorder": True, "pre order": True, "backorder": True, "back order": True,
    "available for order": True, "limited availability": True, "out of stock": False, "discontinued": False,
}  # fmt: skip
# Names that only these tables have, and names of which they have several.
OWN = {
    "google product category", "fb product category", "item group id", "identifier exists",
    "sale price effective date", "additional image link",
}  # fmt: skip
TELLING = {"link", "image link", "product type", "condition", "gtin", "mpn"}


class GoogleMerchant(Feed):
    """Text or XML for Google Merchant Center."""

    name = "google-merchant"
    kind: ClassVar[Kind] = "items"
    title = "Google Merchant Center product data (TSV, CSV or XML)"
    export = "The address of the product feed that the shop gives to Merchant Center"
    reads: ClassVar[Mapping[str, str]] = {
        "item_id": "id",
        "title": "title",
        "description": "description, or the summary or content of Atom",
        "brand": "brand",
        "category_path": "product_type, else google_product_category where it is a path and no number",
        "price": "price, or sale_price within sale_price_effective_date",
        "currency": "the currency of the price",
        "image": "image_link and additional_image_link",
        "available": "availability",
        "cost": "cost_of_goods_sold",
        "attributes": "the price where a sale price is read, and all further columns",
    }

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self._now = now or (lambda: datetime.now(UTC))

    def matches(self, table: Table) -> bool:
        """The names of XML, or an id, a title and several names of Google."""
        names = set(Fields(table, prefix="g").names)
        told = any(spaced(name).startswith("g ") for name in table.frame.columns)
        told = told or not names.isdisjoint(OWN) or len(names & TELLING) >= 2
        return told and {"id", "title"} <= names and not names.isdisjoint({"price", "availability", "image link"})

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """As many rows as the table has."""
        fields = Fields(table, prefix="g")
        if not fields.has("id"):
            self.require(table, ["id"])
        sources = {name: self.reads[name] for name in (*words(fields, COLUMNS), "attributes")}
        price, span = fields.text("price"), fields.text("sale price effective date")
        dates = span.str.split_exact("/", 1).struct.rename_fields(["starts", "ends"]).struct.unnest()
        paid = on_sale(price, fields.text("sale price"), dates["starts"], dates["ends"], self._now())
        height = table.frame.height
        frame = pl.DataFrame(
            {
                **{name: fields.text(*columns) for name, columns in COLUMNS.items()},
                "description": fields.first(*COLUMNS["description"]),
                "category_path": self._category(fields),
                "price": paid,
                "currency": parsing.code_of(parsing.money(paid).signs),
                "image": pl.select(
                    pl.concat_list(
                        addresses(fields.text("image link")).fill_null([]),
                        addresses(fields.text("additional image link")).fill_null([]),
                    ).list.unique(maintain_order=True)
                ).to_series(),
                "available": states(fields.text("availability"), AVAILABLE),
                "attributes": pairs(
                    [(constant("regular_price", height), price.set((price == paid).fill_null(True), None))], height
                ),
            }
        )
        rest = fields.rest(layout, sources)
        frame = frame.select(*sources).with_columns(**rest)
        return Shaped(Table(frame, table.rows, table.faults), sources)

    def _category(self, fields: Fields) -> pl.Series:
        """The shop's own path before Google's; a number of Google's taxonomy is no path and stays an attribute."""
        google = parsing.paths(fields.raw("google product category")).values
        number = google.list.get(0, null_on_oob=True).str.contains(r"^\d+$").fill_null(False) & (google.list.len() == 1)
        own = parsing.paths(fields.raw("product type")).values
        fields.leave("google product category", number.fill_null(False) | own.is_not_null())
        return pl.select(pl.coalesce(own, google.set(number.fill_null(False), None))).to_series()

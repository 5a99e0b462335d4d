"""WooCommerce's product export: a row for every product and for every variation of a variable one.

An item is a product, or with `--level variant` a variation where a product has some.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import ClassVar

import polars as pl

from ..layout import Layout
from ..schema import Kind
from ..tables import Table
from ..validation import Step
from .base import Feed, Shaped
from .fields import Fields, all_of, constant, deepest, families, on_sale, pairs, states, words
from .shop_api import is_woocommerce, woocommerce_rows
from .woocommerce_words import ABOUT_ATTRIBUTES, name_in_english

COLUMNS = {
    "item_id": ("sku", "id"),
    "title": ("name",),
    "description": ("description", "short description"),
    "brand": ("brands", "brand"),
    "category_path": ("categories",),
    "price": ("regular price", "sale price"),
    "image": ("images",),
    "available": ("published", "visibility in catalog", "in stock"),
    "cost": ("cost of goods",),
}
PUBLISHED = {"1": True, "0": False, "-1": False, "true": True, "false": False, "yes": True, "no": False}
STOCK = {
    "1": True, "0": False, "backorder": True, "on backorder": True, "onbackorder": True, "instock": True,
    "outofstock": False, "in stock": True, "out of stock": False, "true": True, "false": False, "yes": True,
    "no": False,
}  # fmt: skip
VISIBLE = {"visible": True, "catalog": True, "search": True, "hidden": False}
# What a variation leaves open and its product says.
OF_PRODUCT = ("description", "brand", "category_path", "image", "shown", "visible")


class WooCommerce(Feed):
    """The CSV of WooCommerce's own exporter, with headers in some languages."""

    name = "woocommerce"
    kind: ClassVar[Kind] = "items"
    title = "WooCommerce product export (CSV or JSON)"
    export = (
        "Products > All Products > Export, in English, German, French, Spanish, Italian or Dutch; or wc/v3/products"
    )
    reads: ClassVar[Mapping[str, str]] = {
        "item_id": "SKU where every item has one, else ID",
        "title": "Name",
        "description": "Description, else Short description",
        "brand": "Brands",
        "category_path": "the first of the deepest paths of Categories",
        "price": "Regular price, or Sale price within its dates; of a product without one the lowest of its variations",
        "image": "Images",
        "available": "Published, Visibility in catalog and In stock?",
        "cost": "Cost of goods",
        "attributes": "Attribute N, the price where a sale price is read, and all further columns",
    }

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self._now = now or (lambda: datetime.now(UTC))

    def matches(self, table: Table) -> bool:
        """The names that the exporter writes."""
        if is_woocommerce(table):
            return True
        fields = Fields(table)
        name_in_english(fields)
        names = set(fields.names)
        telling = {"regular price", "visibility in catalog", "tax status", "in stock", "short description"}
        if {"catalog visibility", "stock status"} & names:
            # What the shop's programming interface gives has other names, and objects in its cells.
            return False
        return {"type", "name"} <= names and not names.isdisjoint({"id", "sku"}) and len(names & telling) >= 2

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """One row a product, or one a variation."""
        if is_woocommerce(table):
            table = woocommerce_rows(table)
        fields = Fields(table)
        name_in_english(fields)
        if not fields.has("id", "sku"):
            self.require(table, ["ID"])
        sources = {name: self.reads[name] for name in (*words(fields, COLUMNS), "attributes")}
        rows = self._rows(fields)
        frame, folded = families(rows, OF_PRODUCT, layout.level == "variant")
        use_sku = fields.has("sku") and not (fields.has("id") and frame["sku"].null_count())
        sources["item_id"] = fields.names["sku" if use_sku else "id"]
        group = "family_sku" if use_sku else "family_id"
        frame = frame.with_columns(
            pl.col("sku" if use_sku else "id").alias("item_id"),
            all_of(frame["shown"], frame["visible"], frame["stock"]).alias("available"),
            self._attributes(frame, group).alias("attributes"),
        )
        fields.drop(r"attribute \d+ .*", ABOUT_ATTRIBUTES, "position", "type")
        rest = fields.rest(layout, sources)
        own = {name: column.gather(frame["index"]) for name, column in rest.items()}
        notes = []
        if fields.has("sku") and not use_sku:
            notes.append(f"{frame['sku'].null_count()} items have no SKU, so all are named by their ID")
        orphans = int(frame["orphan"].sum())
        if orphans:
            notes.append(f"variations whose product the file lacks, each an item of its own: {orphans}")
        if folded and layout.level == "product":
            notes.append(f"variations read as part of their product: {folded}; --level variant makes each an item")
        shaped = Table(frame.select(*sources).with_columns(**own), table.rows.gather(frame["index"]), table.faults)
        step = Step("variations and their products made one", table.frame.height, frame.height)
        return Shaped(shaped, sources, tuple(notes), (step,))

    def _rows(self, fields: Fields) -> pl.DataFrame:
        regular = fields.text("regular price")
        dates = (fields.text("date sale price starts"), fields.text("date sale price ends"))
        paid = on_sale(regular, fields.text("sale price"), *dates, self._now())
        variation = fields.text("type").str.to_lowercase().str.contains("variation").fill_null(False)
        numbers = sorted(int(name.split()[1]) for name in fields.names if re.fullmatch(r"attribute \d+ name", name))
        attributes = [(fields.text(f"attribute {n} name"), fields.text(f"attribute {n} value s")) for n in numbers]
        # The exporter writes line feeds as a backslash and an n.
        description = fields.first("description", "short description").str.replace_all(r"(?:\\r)?\\n", "\n")
        fields.leave("short description", fields.text("description").is_not_null())
        categories = fields.text("categories").str.replace_all("\\,", "\x1f", literal=True)
        path, several = deepest(categories, ",", ">")
        fields.leave("categories", several)
        return pl.DataFrame(
            {
                "id": fields.text("id"),
                "sku": fields.text("sku"),
                "parent": fields.text("parent"),
                "member": variation,
                "title": fields.text("name"),
                "description": description,
                "brand": fields.text("brands", "brand"),
                "category_path": path.list.eval(pl.element().str.replace_all("\x1f", ",", literal=True)),
                "price": paid,
                "regular": regular.set((regular == paid).fill_null(True), None),
                "cost": fields.text("cost of goods"),
                "image": fields.text("images"),
                "shown": states(fields.text("published"), PUBLISHED),
                "visible": states(fields.text("visibility in catalog"), VISIBLE),
                "stock": states(fields.text("in stock"), STOCK),
                "own": pairs(attributes, fields.frame.height),
            }
        ).with_row_index("index")

    def _attributes(self, frame: pl.DataFrame, group: str) -> pl.Series:
        height = frame.height
        further = pairs(
            [
                (constant("regular_price", height), frame["regular"]),
                (constant("item_group_id", height), frame[group]),
            ],
            height,
        )
        return frame.select(pl.concat_list("own", further)).to_series()

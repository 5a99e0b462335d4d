"""Shopify's product export: a row for every variant and every further picture of a product.

What belongs to the product stands in its first row only and is filled down. An item is a product, at the lowest price
of its variants, or a variant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import polars as pl

from .. import parsing
from ..layout import Layout
from ..schema import Kind
from ..tables import Table
from ..validation import Step
from .base import Feed, Shaped
from .fields import Fields, all_of, constant, joined, lowest, pairs, spaced, states, truths, words
from .shop_api import is_shopify, shopify_rows

# Columns as plain names, in the wording of either generation of the export.
HANDLE = ("handle", "url handle")
SKU = ("variant sku", "sku")
CATEGORY = ("product category", "type", "google shopping google product category")
COLUMNS = {
    "item_id": HANDLE,
    "title": ("title",),
    "description": ("body html", "description"),
    "brand": ("vendor",),
    "category_path": CATEGORY,
    "price": ("variant price", "price"),
    "image": ("image src", "product image url", "variant image", "variant image url"),
    "available": ("status", "published", "published on online store", "variant inventory qty", "inventory quantity"),
    "cost": ("cost per item",),
}
OPTIONS = ("1", "2", "3")
STATUS = {"active": True, "published": True, "draft": False, "archived": False, "unlisted": False}
# What stands in the first row of a product only.
OF_PRODUCT = ("handle", "title", "description", "brand", "category_path", "status", "published")
# How it is taxed and sent says nothing about a product.
LOGISTICS = r"(variant )?(charge tax|taxable|tax code|requires shipping|fulfillment service)"
OF_PICTURE = r"image .*"
OF_VARIANT = (
    r"(variant|inventory|weight|unit price|price|compare at|included|barcode|charge tax|tax code|requires shipping"
    r"|fulfillment service)\b.*"
)


class _Export(NamedTuple):
    """The rows of an export with the number of their product, the products, and the columns kept by their own names."""

    rows: pl.DataFrame
    products: pl.DataFrame
    rest: list[str]


class Shopify(Feed):
    """Both generations of the header: `Handle, Variant SKU, Body (HTML)` and `URL handle, SKU, Description`."""

    name = "shopify"
    kind: ClassVar[Kind] = "items"
    title = "Shopify product export (CSV or JSON)"
    export = "Admin > Products > Export, or products.json"
    reads: ClassVar[Mapping[str, str]] = {
        "item_id": "Handle; of a variant its SKU, else handle and option values",
        "title": "Title; of a variant with its option values",
        "description": "Body (HTML), or Description",
        "brand": "Vendor",
        "category_path": "Product Category, else Type, else Google's product category",
        "price": "Variant Price, or Price: the lowest of a product's variants",
        "image": "Image Src, or Product image URL, by position",
        "available": "Status, Published and the stock of the variants",
        "cost": "Cost per item, of the variant whose price is read",
        "attributes": "option values and all further columns; the variants' SKUs, or the handle as item_group_id",
    }

    def matches(self, table: Table) -> bool:
        """A handle, and a column that only this export names so."""
        if is_shopify(table):
            return True
        names = {spaced(name) for name in table.frame.columns}
        old = "handle" in names and not names.isdisjoint({"variant price", "variant sku", "body html"})
        new = "url handle" in names and not names.isdisjoint({"price", "sku", "description"})
        return old or new

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """One row a product, or one a variant where the layout or a mapping of `item_id` to the SKU asks for it."""
        if is_shopify(table):
            table = shopify_rows(table)
        fields = Fields(table)
        if not fields.has(*HANDLE):
            self.require(table, ["Handle"])
        sku = fields.name(*SKU)
        variants = layout.level == "variant" or (sku is not None and layout.claimed.get("item_id") == sku)
        sources = words(fields, COLUMNS) | {"attributes": self.reads["attributes"]}
        if variants and sku is not None and "item_id" not in layout.claimed:
            sources["item_id"] = f"{sku}, else {sources['item_id']} and option values"
        export = _read(fields, layout, sources)
        frame = _variants(export) if variants else _products(export)
        shaped = Table(frame.select(*sources, *export.rest), table.rows.gather(frame["index"]), table.faults)
        step = Step("rows of variants and pictures folded", table.frame.height, frame.height)
        return Shaped(shaped, sources, () if variants else _notes(export), (step,))


def _notes(export: _Export) -> tuple[str, ...]:
    sizes = export.rows.filter("variant").group_by("product").len()["len"]
    many = sizes.filter(sizes > 1)
    if many.is_empty():
        return ()
    return (
        f"products of several variants: {len(many)}, each one item at the lowest price of its variants; "
        "--level variant makes every variant an item",
    )


def _read(fields: Fields, layout: Layout, sources: dict[str, str]) -> _Export:
    rows = pl.DataFrame(
        {
            **{name: fields.text(*columns) for name, columns in COLUMNS.items() if name not in ("image", "available")},
            "handle": fields.text(*HANDLE),
            "category_path": _category(fields),
            "picture": fields.text("image src", "product image url"),
            "position": parsing.numbers(fields.text("image position"))[0],
            "variant_picture": fields.text("variant image", "variant image url"),
            "status": states(fields.text("status"), STATUS),
            "published": truths(fields.text("published", "published on online store")),
            "sellable": _sellable(fields),
            "sku": fields.text(*SKU),
            **{f"option{n}": fields.text(f"option{n} name") for n in OPTIONS},
            **{f"value{n}": fields.text(f"option{n} value") for n in OPTIONS},
        }
    ).with_row_index("index")
    fields.drop(
        r"option\d linked to", r"(variant )?(charge tax|taxable|tax code|requires shipping|fulfillment service)"
    )
    rest = fields.rest(layout, sources)
    rows = rows.with_columns(parsing.text(column).alias(f"own {name}") for name, column in rest.items())
    rows = _grouped(rows)
    products = rows.group_by("product", maintain_order=True).agg(
        pl.col("index").first(),
        *(pl.col(name).drop_nulls().first() for name in (*OF_PRODUCT, *(f"option{n}" for n in OPTIONS))),
        pl.col("picture").sort_by("position", nulls_last=True, maintain_order=True).drop_nulls(),
        pl.col("variant_picture").drop_nulls().alias("variant_pictures"),
        *(joined(f"own {name}").alias(f"all {name}") for name in rest),
    )
    return _Export(rows, products, list(rest))


def _category(fields: Fields) -> pl.Series:
    """Shopify's own path before the shop's word for it; numbers of Google's taxonomy are no path."""
    own = fields.text(CATEGORY[0])
    own = own.set((own.str.to_lowercase() == "uncategorized").fill_null(False), None)
    google = fields.text(CATEGORY[2])
    google = google.set(google.str.contains(r"^\d+$").fill_null(False), None)
    path = pl.select(pl.coalesce(own, fields.text(CATEGORY[1]), google)).to_series()
    for name in CATEGORY[1:]:
        # What is not the path all the same says something of the product.
        fields.leave(name, own.is_not_null())
    return path


def _sellable(fields: Fields) -> pl.Series:
    """Whether there is stock, nobody counts it, or the variant is sold without any."""
    quantity = parsing.numbers(fields.text("variant inventory qty", "inventory quantity"))[0]
    policy = fields.text("variant inventory policy", "continue selling when out of stock").str.to_lowercase()
    free = policy.is_in(["continue", "true", "yes"]).fill_null(False)
    tracker = ("variant inventory tracker", "inventory tracker")
    if fields.has(*tracker):
        free |= fields.text(*tracker).is_null()
    return free | (quantity > 0).fill_null(True)


def _grouped(rows: pl.DataFrame) -> pl.DataFrame:
    """With the number of each row's product, and whether the row is a variant.

    Products of one handle and different titles stay apart, so that they are reported and not mixed.
    """
    title = pl.col("title").forward_fill().over("handle").backward_fill().over("handle")
    rows = rows.with_columns(same=title, alone=pl.when(pl.col("handle").is_null()).then("index"))
    keys = ["handle", "same", "alone"]
    numbers = rows.select(keys).unique(maintain_order=True).with_row_index("product")
    rows = rows.join(numbers, on=keys, how="left", nulls_equal=True, maintain_order="left")
    given = pl.any_horizontal(pl.col("sku", "price", "value1").is_not_null())
    return rows.with_columns(variant=given | pl.col("product").is_first_distinct())


def _products(export: _Export) -> pl.DataFrame:
    """One row a product."""
    variants = export.rows.filter("variant")
    folded = variants.group_by("product").agg(
        pl.col("sellable").any(), joined("sku"), *(joined(f"value{n}") for n in OPTIONS)
    )
    cheapest = lowest(variants["product"], variants["price"])
    cheapest = cheapest.with_columns(variants["cost"].gather(cheapest["row"])).drop("row")
    frame = export.products.join(folded, on="product", how="left", maintain_order="left")
    frame = frame.join(cheapest, left_on="product", right_on="group", how="left", maintain_order="left")
    frame = frame.with_columns(pl.concat_list("picture", "variant_pictures").alias("image"), item_id="handle")
    frame = frame.with_columns(pl.col(f"all {name}").alias(name) for name in export.rest)
    return _finished(frame, ("Variant SKU", frame["sku"]))


def _variants(export: _Export) -> pl.DataFrame:
    """One row a variant, with what is its product's filled down."""
    products = export.products.drop("index", "variant_pictures")
    frame = export.rows.filter("variant").select(pl.exclude([name for name in products.columns if name != "product"]))
    frame = frame.join(products, on="product", how="left", maintain_order="left")
    values = pl.select(pl.concat_list([value for _, value in _options(frame)]).list.drop_nulls()).to_series()
    some = values.list.len() > 0
    name = (frame["handle"] + "-" + values.list.join("-")).zip_with(some, frame["handle"])
    title = (frame["title"] + " - " + values.list.join(" / ")).zip_with(some, frame["title"])
    frame = frame.with_columns(
        item_id=pl.coalesce(frame["sku"], name),
        title=title,
        # Its own picture, then those of its product.
        image=pl.concat_list(pl.concat_list("variant_picture").list.drop_nulls(), "picture"),
    )
    frame = frame.with_columns(_filled_down(name) for name in export.rest)
    return _finished(frame, ("item_group_id", frame["handle"]))


def _filled_down(name: str) -> pl.Expr:
    own = pl.col(f"own {name}")
    if re.fullmatch(OF_PICTURE, spaced(name)):
        own = pl.lit(None, dtype=pl.String)
    elif not re.fullmatch(OF_VARIANT, spaced(name)) and spaced(name) not in SKU:
        own = pl.coalesce(own, f"all {name}")
    return own.alias(name)


def _finished(frame: pl.DataFrame, further: tuple[str, pl.Series]) -> pl.DataFrame:
    available = all_of(frame["status"], frame["published"], frame["sellable"].cast(pl.String))
    own = [*_options(frame), (constant(further[0], frame.height), further[1])]
    image = pl.col("image").list.unique(maintain_order=True)
    return frame.with_columns(image, available.alias("available"), pairs(own, frame.height).alias("attributes"))


def _options(frame: pl.DataFrame) -> list[tuple[pl.Series, pl.Series]]:
    """Names and values of the options; a product without variants has only `Title: Default Title`."""
    found = []
    for n in OPTIONS:
        name, value = frame[f"option{n}"].fill_null(f"Option{n}"), frame[f"value{n}"]
        found.append((name, value.set((value == "Default Title").fill_null(False), None)))
    return found

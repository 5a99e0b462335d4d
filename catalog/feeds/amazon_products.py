"""Products of the Amazon Reviews 2023 research set: JSON Lines or Parquet of one category, a row a product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import polars as pl

from .. import parsing
from ..layout import Layout
from ..schema import Kind
from ..tables import Table
from .base import Feed, Shaped, decoded, has
from .fields import Fields, sentences, words

TEXTS = pl.List(pl.String)
PICTURE = {"hi_res": pl.String(), "large": pl.String(), "thumb": pl.String(), "variant": pl.String()}
COLUMNS = {
    "item_id": ("parent asin",),
    "title": ("title",),
    "description": ("description", "features"),
    "brand": ("store", "details"),
    "category_path": ("categories", "main category"),
    "price": ("price",),
    "image": ("images",),
    "attributes": ("details",),
}


class AmazonProducts(Feed):
    """`meta_CATEGORY.jsonl` of the set."""

    name = "amazon-reviews-2023"
    kind: ClassVar[Kind] = "items"
    title = "Amazon Reviews 2023 product data (meta_CATEGORY)"
    export = "The set's item metadata of one category"
    reads: ClassVar[Mapping[str, str]] = {
        "item_id": "parent_asin",
        "title": "title",
        "description": "description and features, as sentences",
        "brand": "store, else Brand of details",
        "category_path": "categories, else main_category",
        "price": "price; the lower end of one that begins or spans",
        "image": "images, in their large size",
        "attributes": "details, and all further columns",
    }

    def matches(self, table: Table) -> bool:
        """A product of the set, not a review of it."""
        return has(table, "parent_asin", "main_category", "title") and not has(table, "user_id")

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """As many rows as the table has."""
        self.require(table, ["parent_asin"])
        fields = Fields(table)
        sources = {name: self.reads[name] for name in words(fields, COLUMNS)}
        details = fields.raw("details")
        frame = pl.DataFrame(
            {
                "item_id": fields.text("parent asin"),
                "title": fields.text("title"),
                "description": sentences(_texts(fields, "description"), _texts(fields, "features")),
                "brand": pl.select(pl.coalesce(fields.text("store"), _brand(details))).to_series(),
                "category_path": _category(fields),
                # `from 9.99`, `9.99 - 15.49`, and a dash where there is none.
                "price": fields.text("price").str.extract(r"(^-?\d[\d.,]*$|(?:[$€£]\s?)?\d[\d.,]*(?:[eE][+-]?\d+)?)"),
                "image": _pictures(fields),
                "attributes": details,
            }
        )
        fields.drop("videos", "bought together")
        rest = fields.rest(layout, sources)
        frame = frame.select(*sources).with_columns(**rest)
        return Shaped(Table(frame, table.rows, table.faults), sources)


def _texts(fields: Fields, name: str) -> pl.Series:
    column = fields.raw(name)
    lists = decoded(column, TEXTS).fill_null([])
    if column.dtype != pl.String:
        return lists
    # Text that is no JSON list is one text.
    one = pl.select(pl.concat_list(parsing.text(column))).to_series()
    listed = column.str.starts_with("[") | column.is_null()
    return lists.zip_with(listed, one)


def _brand(details: pl.Series) -> pl.Series:
    return decoded(details, pl.Struct({"Brand": pl.String()})).struct.field("Brand")


def _category(fields: Fields) -> pl.Series:
    own = _texts(fields, "categories").list.drop_nulls()
    main = pl.select(pl.concat_list(fields.text("main category")).list.drop_nulls()).to_series()
    fields.leave("main category", own.list.len() > 0)
    chosen = main.zip_with(own.list.len() == 0, own)
    return chosen.set(chosen.list.len() == 0, None)


def _pictures(fields: Fields) -> pl.Series:
    """The large picture of each, else the largest that there is; Parquet may hold lists of each size."""
    column = fields.raw("images")
    if isinstance(column.dtype, pl.Struct) or (
        column.dtype == pl.String and bool(column.str.starts_with("{").fill_null(False).any())
    ):
        sizes = decoded(column, pl.Struct(dict.fromkeys(PICTURE, TEXTS))).struct.unnest()
        lists = [sizes[name] for name in ("large", "hi_res", "thumb")]
        return _either(lists)
    pictures = decoded(column, pl.List(pl.Struct(PICTURE)))
    size = pl.coalesce(pl.element().struct.field(name) for name in ("large", "hi_res", "thumb"))
    return pictures.list.eval(size.drop_nulls())


def _either(lists: list[pl.Series]) -> pl.Series:
    frame = pl.DataFrame({str(i): part.list.drop_nulls() for i, part in enumerate(lists)})
    some = [pl.when(pl.col(name).list.len() > 0).then(pl.col(name)) for name in frame.columns]
    return frame.select(pl.coalesce(some)).to_series()

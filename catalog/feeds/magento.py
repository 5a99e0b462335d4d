"""Magento's (Adobe Commerce's) product export: a row for every product and every translation of it in a store view.

A configurable product and the simple ones that it is sold as are one item, or with `--level variant` one each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import ClassVar

import polars as pl

from .. import parsing
from ..layout import Layout
from ..schema import ATTRIBUTES, Kind
from ..tables import Table
from ..validation import Step
from .base import Feed, Shaped
from .fields import Fields, all_of, constant, deepest, families, on_sale, pairs, spaced, states, words

COLUMNS = {
    "item_id": ("sku",),
    "title": ("name",),
    "description": ("description", "short description"),
    "brand": ("manufacturer", "brand", "additional attributes"),
    "category_path": ("categories",),
    "price": ("price", "special price"),
    "image": ("base image", "additional images"),
    "available": ("product online", "status", "visibility", "is in stock", "qty"),
    "created_at": ("created at",),
    "cost": ("cost",),
}
TELLING = {
    "attribute set code", "product type", "product websites", "store view code", "additional attributes",
    "product online", "configurable variations", "tax class name", "special price from date",
}  # fmt: skip
# Of these a table has some beside.
USUAL = TELLING | {
    "special price", "base image", "additional images", "is in stock", "url key", "visibility", "short description",
}  # fmt: skip
ONLINE = {"1": True, "2": False, "0": False, "yes": True, "no": False, "enabled": True, "disabled": False}
STOCK = {"1": True, "0": False, "yes": True, "no": False, "true": True, "false": False}
VISIBLE = {
    "catalog, search": True, "catalog": True, "search": True, "not visible individually": False,
    "4": True, "2": True, "3": True, "1": False,
}  # fmt: skip
OF_PRODUCT = ("description", "brand", "category_path", "image", "shown", "visible")
# Times as Magento writes them in the United States, which is how it is installed.
TIMES = ("%m/%d/%y, %I:%M %p", "%m/%d/%y", "%m/%d/%Y, %I:%M %p", "%m/%d/%Y")
NO_PICTURE = "no_selection"


class Magento(Feed):
    """The CSV of System > Data Transfer, as imports take it."""

    name = "magento"
    kind: ClassVar[Kind] = "items"
    title = "Magento / Adobe Commerce product export (CSV)"
    export = "System > Data Transfer > Export > Products"
    reads: ClassVar[Mapping[str, str]] = {
        "item_id": "sku",
        "title": "name",
        "description": "description, else short_description",
        "brand": "manufacturer or brand, as a column or in additional_attributes",
        "category_path": "the first of the deepest paths of categories, without the root that all have",
        "price": "price, or special_price within its dates; of a product without one the lowest of its variations",
        "image": "base_image and additional_images",
        "available": "product_online or status, visibility and is_in_stock, else qty",
        "created_at": "created_at",
        "cost": "cost",
        "attributes": "additional_attributes, the price where a special one is read, and all further columns",
    }

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self._now = now or (lambda: datetime.now(UTC))

    def matches(self, table: Table) -> bool:
        """The names that imports and exports have."""
        names = {spaced(name) for name in table.frame.columns}
        return "sku" in names and not names.isdisjoint(TELLING) and len(names & USUAL) >= 3

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """One row a product of the default store view, or one a simple product."""
        fields = Fields(table)
        if not fields.has("sku"):
            self.require(table, ["sku"])
        sources = {name: self.reads[name] for name in (*words(fields, COLUMNS), "attributes")}
        rows = self._rows(fields)
        own = _default_view(rows)
        frame, folded = families(_with_parents(own), OF_PRODUCT, layout.level == "variant")
        height = frame.height
        further = pairs(
            [
                (constant("regular_price", height), frame["regular"]),
                (constant("item_group_id", height), frame["family_sku"]),
            ],
            height,
        )
        frame = frame.with_columns(
            item_id="sku",
            available=all_of(frame["shown"], frame["visible"], frame["stock"]),
            attributes=pl.concat_list("own", further),
        )
        fields.drop(".*images?( .*)?", "configurable .*", "use config .*", "custom (design|layout) .*", "page layout")
        fields.drop("store view code", "layout update .*", "updated at")
        rest = {name: column.gather(frame["index"]) for name, column in fields.rest(layout, sources).items()}
        notes = []
        if folded and layout.level == "product":
            notes.append(f"products read as variations of another: {folded}; --level variant makes each an item")
        shaped = Table(frame.select(*sources).with_columns(**rest), table.rows.gather(frame["index"]), table.faults)
        steps = (
            Step("translations of store views left out", table.frame.height, own.height),
            Step("products and their variations made one", own.height, frame.height),
        )
        return Shaped(shaped, sources, tuple(notes), steps)

    def _rows(self, fields: Fields) -> pl.DataFrame:
        composite, more = _composite(fields), fields.text("additional attributes")
        price = fields.text("price")
        # What is put together of others has their price.
        price = price.set(composite & (parsing.numbers(price)[0] == 0).fill_null(False), None)
        starts, ends = (_times(fields.text(f"special price {end} date")) for end in ("from", "to"))
        paid = on_sale(price, fields.text("special price"), starts, ends, self._now())
        description = fields.first("description", "short description")
        fields.leave("short description", fields.text("description").is_not_null())
        categories = fields.text("categories")
        path, several = _category(categories)
        fields.leave("categories", several)
        named = fields.first("manufacturer", "brand")
        hidden = more.str.extract(r"(?:^|,)(?:manufacturer|brand)=([^,]+)")
        return pl.DataFrame(
            {
                "sku": fields.text("sku"),
                "id": parsing.nulls(fields.frame.height),
                "view": fields.text("store view code"),
                "variations": fields.text("configurable variations"),
                "title": fields.text("name"),
                "description": description,
                "brand": named.zip_with(named.is_not_null(), hidden),
                "category_path": path,
                "price": paid,
                "regular": price.set((price == paid).fill_null(True), None),
                "cost": fields.text("cost"),
                "image": _pictures(fields),
                "shown": states(fields.text("product online", "status"), ONLINE),
                "visible": states(fields.text("visibility"), VISIBLE),
                "stock": _stock(fields, composite),
                "created_at": _times(fields.text("created at")),
                "own": _attributes(more),
            }
        ).with_row_index("index")


def _default_view(rows: pl.DataFrame) -> pl.DataFrame:
    """Without translations: rows of a store view, where the product has one of none or an earlier one."""
    own = pl.col("view").is_null()
    has_own = own.any().over("sku")
    kept = own | pl.col("sku").is_null() | (~has_own & pl.col("sku").is_first_distinct())
    return rows.filter(kept)


def _with_parents(rows: pl.DataFrame) -> pl.DataFrame:
    """With the product that each row varies, as `configurable_variations` of that one lists."""
    listed = rows.select(parent="sku", sku=pl.col("variations").str.extract_all(r"(?:^|\|)\s*sku=[^,|]+"))
    listed = listed.drop_nulls().explode("sku").drop_nulls()
    listed = listed.with_columns(pl.col("sku").str.replace(r"^\|?\s*sku=", "").str.strip_chars())
    listed = listed.unique("sku", keep="first", maintain_order=True)
    rows = rows.join(listed, on="sku", how="left", maintain_order="left")
    member = pl.col("parent").is_not_null()
    # What is never shown by itself is shown as its product is.
    return rows.with_columns(member=member, visible=pl.when(~member).then("visible"))


def _category(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    given = column.drop_nulls()
    root = "" if given.is_empty() else str(given[0]).split("/")[0]
    # Names may hold commas; where all paths have one root, that begins each.
    if root and given.str.starts_with(f"{root}/").all():
        column = column.str.replace_all(f",{root}/", f"\x1f{root}/", literal=True)
    else:
        column = column.str.replace_all(",", "\x1f", literal=True)
    path, several = deepest(column.str.replace_all("\\/", "\x1e", literal=True), "\x1f", "/")
    path = path.list.eval(pl.element().str.replace_all("\x1e", "/", literal=True))
    firsts = path.list.first().drop_nulls()
    if firsts.n_unique() == 1:
        path = path.list.slice(1)
    return path.set((path.list.len() == 0).fill_null(False), None), several


def _pictures(fields: Fields) -> pl.Series:
    """Paths below the media folder, without the slash that they begin with."""
    first = fields.first("base image", "small image", "thumbnail image")
    frame = pl.DataFrame({"first": first, "more": fields.text("additional images").str.split(",")})
    every = pl.concat_list(pl.concat_list("first"), pl.col("more").fill_null([]))
    cleaned = pl.element().str.strip_chars().str.replace(r"^/([^/])", "$1")
    some = pl.element().is_not_null() & ~pl.element().is_in(["", NO_PICTURE])
    return frame.select(
        every.list.eval(cleaned).list.eval(pl.element().filter(some)).list.unique(maintain_order=True)
    ).to_series()


def _composite(fields: Fields) -> pl.Series:
    """Which products are put together of others, and have no stock of their own."""
    name = fields.names.get("product type")
    kinds = parsing.nulls(fields.frame.height) if name is None else parsing.text(fields.frame[name])
    return kinds.is_in(["configurable", "bundle", "grouped"]).fill_null(False)


def _stock(fields: Fields, composite: pl.Series) -> pl.Series:
    quantity = parsing.numbers(fields.text("qty"))[0]
    if fields.has("is in stock"):
        return states(fields.text("is in stock"), STOCK)
    return (quantity > 0).cast(pl.String).set(composite, None)


def _times(column: pl.Series) -> pl.Series:
    """A column of `TIMES` in ISO 8601, as it is where one of them has the day first, which tells of all."""
    read = [column.str.to_datetime(form, strict=False).dt.strftime("%Y-%m-%d %H:%M:%S") for form in TIMES]
    found = pl.select(pl.coalesce(read)).to_series()
    other = column.filter(found.is_null()).str.contains(r"^\d{1,2}/\d{1,2}/").any()
    return column if other else found.zip_with(found.is_not_null(), column)


def _attributes(column: pl.Series) -> pl.Series:
    """`color=Red,size=M|L` as keys and values; a comma only ends a value before the next key."""
    parts = column.str.replace_all(r",([A-Za-z][A-Za-z0-9_]*=)", "\x1f$1").str.split("\x1f").fill_null([])
    value = pl.element().struct.field("field_1").str.strip_chars('" ').str.replace_all("|", "; ", literal=True)
    split = parts.list.eval(pl.element().str.splitn("=", 2))
    named = split.list.eval(pl.struct(key=pl.element().struct.field("field_0").str.strip_chars('" '), value=value))
    return named.cast(ATTRIBUTES)

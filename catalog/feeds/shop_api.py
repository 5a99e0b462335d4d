"""Products as the programming interfaces of Shopify and WooCommerce give them, laid out like their exports.

A product is an object there, with lists of variants, pictures, categories and attributes inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from ..parsing.nested import decode
from ..tables import Table

Node = Mapping[str, Any]
SHOPIFY_LISTS = ("variants", "options", "images", "image")
# Of a variant, and what the export calls it.
VARIANT = {
    "sku": "Variant SKU", "price": "Variant Price", "compare_at_price": "Variant Compare At Price",
    "barcode": "Variant Barcode", "inventory_policy": "Variant Inventory Policy",
    "inventory_management": "Variant Inventory Tracker",
}  # fmt: skip
WOOCOMMERCE = {
    "catalog_visibility": "Visibility in catalog", "stock_status": "In stock?", "date_on_sale_from":
    "Date sale price starts", "date_on_sale_to": "Date sale price ends", "stock_quantity": "Stock",
}  # fmt: skip
WOOCOMMERCE_LISTS = ("categories", "images", "attributes", "brands", "tags", "status", "parent_id")
ASIDE = ("variations", "meta_data", "_links", "default_attributes", "price_html", "price")


def is_shopify(table: Table) -> bool:
    """Whether the table holds the objects of `products.json`."""
    return {"handle", "variants", "title"} <= set(table.frame.columns)


def is_woocommerce(table: Table) -> bool:
    """Whether the table holds the objects of `wc/v3/products`."""
    return {"id", "name", "type", "status", "catalog_visibility", "regular_price"} <= set(table.frame.columns)


def shopify_rows(table: Table) -> Table:
    """A row for each variant and each further picture."""
    own = [name for name in table.frame.columns if name not in SHOPIFY_LISTS]
    rows, numbers = list[dict[str, str | None]](), list[int]()
    for number, product in zip(table.rows, table.frame.iter_rows(named=True), strict=True):
        variants, options, pictures = (_objects(product.get(name)) for name in ("variants", "options", "images"))
        by_id = {str(picture.get("id")): _text(picture.get("src")) for picture in pictures}
        for at in range(max(1, len(variants), len(pictures))):
            row = {"handle": _text(product["handle"])}
            if at == 0:
                row |= {"Type" if name == "product_type" else name: _words(product[name]) for name in own}
                if "published_at" in product:
                    row["published"] = "false" if product["published_at"] in (None, "") else "true"
                row |= {f"Option{n} Name": _text(option.get("name")) for n, option in enumerate(options[:3], start=1)}
            if at < len(variants):
                row |= _variant(variants[at], by_id)
            if at < len(pictures):
                picture = pictures[at]
                row |= {"Image Src": _text(picture.get("src")), "Image Position": _text(picture.get("position"))}
            rows.append(row)
            numbers.append(number)
    return _table(table, rows, numbers)


def _variant(variant: Node, pictures: Mapping[str, str | None]) -> dict[str, str | None]:
    quantity = variant.get("inventory_quantity")
    if quantity is None and "available" in variant:
        # What a shop shows to everybody does not count its stock.
        quantity = int(str(variant["available"]).lower() == "true")
    featured = variant.get("featured_image")
    return {
        **{f"Option{n} Value": _text(variant.get(f"option{n}")) for n in (1, 2, 3)},
        **{name: _text(variant[key]) for key, name in VARIANT.items() if key in variant},
        "Variant Inventory Qty": _text(quantity),
        "Variant Image": _text(featured.get("src")) if isinstance(featured, Mapping)
        else pictures.get(str(variant.get("image_id"))),
    }  # fmt: skip


def woocommerce_rows(table: Table) -> Table:
    """The same products under the names of the export."""
    own = [name for name in table.frame.columns if name not in (*WOOCOMMERCE_LISTS, *ASIDE)]
    rows = []
    for product in table.frame.iter_rows(named=True):
        row = {WOOCOMMERCE.get(name, name): _words(product[name]) for name in own}
        # A product of variations has only the lowest price of these.
        row["regular_price"] = row["regular_price"] or _text(product.get("price"))
        row["Published"] = "1" if _text(product.get("status")) == "publish" else "0"
        row["Categories"] = ", ".join(name.replace(",", "\\,") for name in _names(product.get("categories"))) or None
        row["Brands"] = ", ".join(_names(product.get("brands"))) or None
        row["Tags"] = ", ".join(_names(product.get("tags"))) or None
        row["Images"] = ", ".join(filter(None, (_text(own.get("src")) for own in _objects(product.get("images")))))
        parent = _text(product.get("parent_id"))
        row["Parent"] = None if parent in (None, "0") else f"id:{parent}"
        for n, attribute in enumerate(_objects(product.get("attributes")), start=1):
            value = attribute.get("options", attribute.get("option"))
            row |= {f"Attribute {n} name": _text(attribute.get("name")), f"Attribute {n} value(s)": _words(value)}
        rows.append(row)
    return _table(table, rows, table.rows.to_list())


def _table(table: Table, rows: list[dict[str, str | None]], numbers: list[int]) -> Table:
    names = dict.fromkeys(name for row in rows for name in row)
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    return Table(frame, pl.Series(table.rows.name, numbers, dtype=table.rows.dtype), table.faults)


def _objects(value: Any) -> list[Node]:
    return list(_mappings(decode(value) if isinstance(value, str) else value))


def _mappings(value: Any) -> Iterator[Node]:
    for part in value if isinstance(value, list) else []:
        if isinstance(part, Mapping):
            yield part


def _names(value: Any) -> list[str]:
    return [name for name in (_text(own.get("name")) for own in _objects(value)) if name]


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _words(value: Any) -> str | None:
    """A text as it is, a list of texts with commas."""
    found = decode(value) if isinstance(value, str) and value[:1] == "[" else value
    return ", ".join(str(own) for own in found if own is not None) or None if isinstance(found, list) else _text(found)

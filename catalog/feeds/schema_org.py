"""Products that web pages describe for search engines: JSON-LD in the words of schema.org, an object a row.

Objects of other kinds in the same pages are left out. An item is a product or a group of variants, or with
`--level variant` each variant of a group.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import polars as pl

from .. import parsing
from ..layout import Layout
from ..schema import ATTRIBUTES, SCHEMAS, Kind
from ..tables import Table
from ..validation import Step
from .base import Feed, Shaped
from .fields import JOINED

Node = dict[str, Any]
PRODUCTS = {"Product", "ProductGroup", "ProductModel", "IndividualProduct", "SomeProducts"}
# Where an object that is no product may hold some.
HOLDERS = ("itemListElement", "item", "mainEntity")
IDS = ("sku", "productID", "productGroupID", "gtin13", "gtin14", "gtin12", "gtin8", "gtin", "mpn", "@id", "url")
SOLD = {
    "instock": "true", "instoreonly": "true", "limitedavailability": "true", "onlineonly": "true", "preorder": "true",
    "presale": "true", "backorder": "true", "madetoorder": "true", "outofstock": "false", "soldout": "false",
    "discontinued": "false", "reserved": "false",
}  # fmt: skip
READ = (
    "@type", "@context", "name", "description", "brand", "category", "offers", "image", "additionalProperty", "review",
    "reviews", "hasVariant", "isVariantOf", "variesBy", "potentialAction", "isRelatedTo", "isSimilarTo",
    "mainEntityOfPage",
)  # fmt: skip


@dataclass
class _Item:
    """What was read of one product."""

    row: int  # of the table
    columns: dict[str, Any]
    ids: dict[str, str]
    further: dict[str, str] = field(default_factory=dict)


class SchemaOrg(Feed):
    """JSON-LD as lines, as a JSON file or in the pages themselves."""

    name = "schema-org"
    kind: ClassVar[Kind] = "items"
    title = "schema.org products (JSON-LD, also in web pages)"
    export = "The shop's product pages, or a crawl of them"
    reads: ClassVar[Mapping[str, str]] = {
        "item_id": "the first that all products have of sku, productID, productGroupID, gtin, mpn, @id and url",
        "title": "name",
        "description": "description",
        "brand": "brand",
        "category_path": "category",
        "price": "the lowest of the offers",
        "currency": "priceCurrency of that offer",
        "image": "image",
        "available": "availability of the offers",
        "attributes": "additionalProperty, the group of a variant, and all further properties",
    }

    def matches(self, table: Table) -> bool:
        """What only JSON-LD calls so."""
        return not {"@type", "@graph"}.isdisjoint(table.frame.columns)

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """One row a product, however deep it lies; several may come of one source row."""
        nodes = list(_nodes(table.frame))
        reader = _Reader(layout.level == "variant", nodes)
        items = [item for row, node in enumerate(nodes) for item in reader.items(row, node)]
        used = next((name for name in IDS if items and all(name in item.ids for item in items)), None)
        for item in items:
            # Where no one name is of all, each takes the best that it has.
            name = used or next((name for name in IDS if name in item.ids), None)
            item.columns["item_id"] = item.ids.pop(name) if name else None
            item.further = {**{k: v for k, v in item.ids.items() if not k.startswith("@")}, **item.further}
        sources = {**self.reads, "item_id": used or self.reads["item_id"]}
        dtypes = {name: ATTRIBUTES if name == "attributes" else _DTYPES.get(name, pl.String()) for name in self.reads}
        frame = pl.DataFrame([item.columns for item in items], schema=dtypes)
        names = dict.fromkeys(name for item in items for name in item.further)
        further = {name: pl.Series([i.further.get(name) for i in items], dtype=pl.String) for name in names}
        notes = []
        if reader.others:
            kinds = ", ".join(f"{n} x {kind}" for kind, n in reader.others.most_common())
            notes.append(f"objects that are no products were left out: {kinds}")
        step = Step("objects that are no products left out", table.frame.height, len(items))
        rows = table.rows.gather(pl.Series([item.row for item in items], dtype=pl.UInt32))
        return Shaped(Table(frame.with_columns(**further), rows, table.faults), sources, tuple(notes), (step,))


_DTYPES: dict[str, pl.DataType] = {"category_path": pl.List(pl.String), "image": pl.List(pl.String)}


def _nodes(frame: pl.DataFrame) -> Iterator[Node]:
    """Each row as the object that it was."""
    for row in frame.iter_rows(named=True):
        yield {name: _value(value) for name, value in row.items() if value is not None}


def _value(value: Any) -> Any:
    if not isinstance(value, str) or value[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


class _Reader:
    """Finds products in objects, and counts the kinds of all others."""

    def __init__(self, variants: bool, nodes: list[Node]) -> None:
        self.variants = variants
        self.others: Counter[str] = Counter()
        everything = [inner for node in nodes for inner in (node, *_objects(node.get("@graph")))]
        self.known = {str(node["@id"]): node for node in everything if "@id" in node and len(node) > 1}

    def items(self, row: int, node: Node) -> list[_Item]:
        """The products that an object is or holds."""
        if "@graph" in node:
            # What a crawl noted beside a graph is said of all of it.
            beside = {name: own for name, own in node.items() if name[:1] != "@"}
            return [i for inner in _objects(node["@graph"]) for i in self.items(row, {**beside, **inner})]
        found = list(self._inside(row, node))
        if not found:
            self.others[", ".join(sorted(_kinds(node))) or "objects without @type"] += 1
        return found

    def _inside(self, row: int, node: Node) -> Iterator[_Item]:
        if _kinds(node).isdisjoint(PRODUCTS):
            for holder in HOLDERS:
                for inner in _objects(node.get(holder)):
                    yield from self._inside(row, inner)
            return
        node = {name: self._resolved(value) for name, value in node.items()}
        members = _objects(node.get("hasVariant"))
        if not members or not self.variants:
            yield _read(row, node, members)
            return
        shared = {name: value for name, value in node.items() if name not in (*IDS, "hasVariant", "offers")}
        for member in members:
            item = _read(row, {**shared, **member}, [])
            item.further["item_group_id"] = next(iter(_ids(node).values()), "")
            yield item

    def _resolved(self, value: Any) -> Any:
        """The object that is meant where only its `@id` stands."""
        if isinstance(value, list):
            return [self._resolved(own) for own in value]
        alone = isinstance(value, dict) and len(value) == 1 and "@id" in value
        return self.known.get(str(value["@id"]), value) if alone else value


def _kinds(node: Node) -> set[str]:
    return {str(kind).rstrip("/").rsplit("/", 1)[-1].removeprefix("schema:") for kind in _list(node.get("@type"))}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _objects(value: Any) -> list[Node]:
    return [own for own in _list(value) if isinstance(own, dict)]


def _text(value: Any) -> str | None:
    """A text, the name or value of an object, several joined."""
    if isinstance(value, dict):
        amount = next((value[n] for n in ("@value", "name", "value", "ratingValue") if n in value), None)
        unit = value.get("unitText") or value.get("unitCode") if "value" in value else None
        found = _text(amount)
        return f"{found} {unit}" if found and unit else found
    if isinstance(value, list):
        return JOINED.join(filter(None, map(_text, value))) or None
    return None if value is None else str(value).strip() or None


def _first(value: Any) -> str | None:
    return next(filter(None, map(_text, _list(value))), None)


def _ids(node: Node) -> dict[str, str]:
    offers = _objects(node.get("offers"))
    ids = {name: _first(node.get(name)) for name in IDS}
    if ids["sku"] is None and len(offers) == 1:
        ids["sku"] = _first(offers[0].get("sku"))
    return {name: value for name, value in ids.items() if value}


def _read(row: int, node: Node, members: list[Node]) -> _Item:
    offers = [offer for owner in (node, *members) for offer in _offers(owner.get("offers"))]
    price, currency = _price(offers)
    pictures = _pictures(node.get("image")) or [url for member in members for url in _pictures(member.get("image"))]
    category = _first(node.get("category"))
    properties = []
    for own in _objects(node.get("additionalProperty")):
        key = _first(own.get("name") or own.get("propertyID"))
        value = key and _text({name: own[name] for name in ("value", "unitText", "unitCode") if name in own})
        if value:
            properties.append({"key": key, "value": value})
    known = {*READ, *IDS}
    further = {name: _text(value) for name, value in node.items() if name not in known}
    # A property that is called like a column of ours is an attribute all the same.
    clashes = {name: further.pop(name) for name in list(further) if name in SCHEMAS["items"]}
    properties += [{"key": name, "value": value} for name, value in clashes.items() if value]
    columns = {
        "title": _first(node.get("name")),
        "description": _first(node.get("description")),
        "brand": _first(node.get("brand")),
        "category_path": category and [part.strip() for part in category.split(">") if part.strip()],
        "price": price,
        "currency": currency,
        "image": list(dict.fromkeys(pictures)),
        "available": _available(offers),
        "attributes": properties,
    }
    return _Item(row, columns, _ids(node), {name: value for name, value in further.items() if value})


def _offers(value: Any) -> Iterator[Node]:
    """Single offers, those of a list, and those inside an aggregate."""
    for offer in _objects(value):
        yield offer
        yield from _offers(offer.get("offers"))


def _price(offers: list[Node]) -> tuple[str | None, str | None]:
    """The lowest price as it is written, and its currency."""
    found: list[tuple[str, str | None]] = []
    for offer in offers:
        for own in (offer, *_objects(offer.get("priceSpecification"))):
            price = _first(own.get("price")) or _first(own.get("lowPrice")) or _first(own.get("minPrice"))
            if price:
                found.append((price, _first(own.get("priceCurrency")) or _first(offer.get("priceCurrency"))))
    if not found:
        return None, None
    values, bad = parsing.numbers(pl.Series([price for price, _ in found]))
    # What is no number goes first, so that reading it names it.
    order = pl.DataFrame([values.alias("value"), bad.alias("bad")]).with_row_index("row")
    best = order.sort(["bad", "value"], descending=[True, False], nulls_last=True)["row"][0]
    return found[int(best)]


def _available(offers: list[Node]) -> str | None:
    """Whether one offer can be bought; a word that is not known stays, so that reading it names it."""
    told = [word for offer in offers if (word := _first(offer.get("availability")))]
    states = [SOLD.get(word.rstrip("/").rsplit("/", 1)[-1].replace(" ", "").lower(), word) for word in told]
    known = [state for state in ("true", "false") if state in states]
    return next((state for state in states if state not in ("true", "false")), known[0] if known else None)


def _pictures(value: Any) -> list[str]:
    found = []
    for picture in _list(value):
        if isinstance(picture, dict):
            picture = next((picture[n] for n in ("contentUrl", "url", "@id") if picture.get(n)), None)
        found += [own for own in map(_first, _list(picture)) if own]
    return found

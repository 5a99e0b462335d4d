"""Google Analytics 4 as BigQuery exports it: events with their items nested, or the same flattened to a row an item."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import polars as pl

from ..layout import SKIP, Layout
from ..parsing import identifiers, nulls, text
from ..tables import Table
from .base import Feed, Shaped, decoded, has
from .item_lists import ITEM, ITEMS, NOT_SET, item_rows, people
from .shaping import beside, meanings, unread

# What GA4 calls its events, and what they are here. Those of a checkout repeat what the cart said before.
WORDS = {
    "view_item": "view",
    "select_item": "click",
    "select_promotion": "click",
    "add_to_wishlist": "click",
    "add_to_cart": "cart",
    "purchase": "purchase",
    "ecommerce_purchase": "purchase",
    "in_app_purchase": "purchase",
    "refund": "return",
    "purchase_refund": "return",
    "view_item_list": "impression",
    "view_search_results": "search",
    "search": "search",
    "view_promotion": "impression",
    "remove_from_cart": SKIP,
    "view_cart": SKIP,
    "begin_checkout": SKIP,
    "add_shipping_info": SKIP,
    "add_payment_info": SKIP,
}
VALUE = pl.Struct({"string_value": pl.String(), "int_value": pl.String()})
PARAMS = pl.List(pl.Struct({"key": pl.String(), "value": VALUE}))
# Columns of the export that say nothing of items.
OWN = (
    "privacy_info", "user_properties", "user_first_touch_timestamp", "user_ltv", "user_id", "user_pseudo_id", "device",
    "geo", "app_info", "traffic_source", "collected_traffic_source", "session_traffic_source_last_click", "stream_id",
    "platform", "ecommerce", "is_active_user", "batch_event_index", "batch_page_id", "batch_ordering_id", "publisher",
    "price", "quantity", "index", "search_term", "page_location", "page_title", "page_referrer",
)  # fmt: skip
# How flattened tables call the fields of an item.
PREFIXES = ("", "items.", "items_", "item.", "item_", "items__")


class GA4(Feed):
    """A row per event and item; views, clicks, carts, purchases, impressions and searches."""

    name = "ga4"
    kind = "events"
    title = "Google Analytics 4 export of BigQuery (JSON Lines, Parquet or flat CSV)"
    export = "BigQuery > analytics_PROPERTY > events_YYYYMMDD > Export, one file a day"
    reads: ClassVar = {
        "user_id": "user_id, else the only one who signed in on the device, else user_pseudo_id",
        "item_id": "items.item_id",
        "timestamp": "event_timestamp",
        "event_type": "event_name",
        "session_id": "user_pseudo_id and ga_session_id",
        "query": "search_term of searches",
        "value": "price x quantity of purchases",
        "quantity": "items.quantity of purchases",
        "position": "batch_event_index",
    }

    def matches(self, table: Table) -> bool:
        """Whether it has GA4's own names, with items nested or flat."""
        if not has(table, "event_name", "event_timestamp"):
            return False
        flat = _flat(table, "item_id") is not None and (has(table, "user_pseudo_id") or has(table, "event_date"))
        return flat or has(table, "items") or has(table, "event_params", "user_pseudo_id")

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """Events told apart by name, then a row each item."""
        self.require(table, ("event_name", "event_timestamp"))
        events, faults = _events(table)
        rows, notes, steps = item_rows(events, meanings(events["name"], WORDS, layout))
        made = beside(replace(rows, faults=faults), table, "events", _aside(table))
        item = _flat(table, "item_id") or "items"
        sources = {name: source for name, source in self.reads.items() if name in made.frame.columns}
        sources["item_id"] = item
        return Shaped(made, sources, tuple(notes), tuple(steps))


def _aside(table: Table) -> list[str]:
    """GA4's own columns; whatever else is there was joined to the export and stays."""
    return [name for name in table.frame.columns if name in OWN or name.startswith(("item", "event_", "ga_session"))]


def _flat(table: Table, name: str) -> str | None:
    """The column that holds a field of the item in a flattened table."""
    return next((prefix + name for prefix in PREFIXES if prefix + name in table.frame.columns), None)


def _events(table: Table) -> tuple[pl.DataFrame, dict[str, dict[int, str | None]]]:
    """One row an event (of a flattened table: and item) with what is needed of it, its items as a list."""
    frame = table.frame

    def column(name: str) -> pl.Series:
        return text(frame[name]) if name in frame.columns else nulls(frame.height)

    names = [column(name) for name in ("user_id", "user_pseudo_id")]
    users = [series.set(series.is_in(NOT_SET).fill_null(False), None) for series in names]
    params = decoded(frame["event_params"], PARAMS) if "event_params" in frame.columns else None
    session, term = (
        column(name) if name in frame.columns or params is None else _param(params, name)
        for name in ("ga_session_id", "search_term")
    )
    faults = {}
    fields = {name: _flat(table, name) for name in ITEM}
    if fields["item_id"] is None:
        items = decoded(frame["items"], ITEMS) if "items" in frame.columns else column("items").cast(ITEMS)
        faults["bad_cell"] = unread(table, "items", items) if "items" in frame.columns else {}
    else:
        item = pl.DataFrame([(column(source or "")).alias(name) for name, source in fields.items()])
        given = item["item_id"].is_not_null()
        items = item.select(pl.when(given).then(pl.concat_list(pl.struct(ITEM)))).to_series()
    columns = {
        "row": table.rows,
        "name": column("event_name"),
        "timestamp": frame["event_timestamp"],
        **people(*users),
        "session_id": users[1] + "." + identifiers(session),
        "query": term,
        "items": items,
    }
    if "batch_event_index" in frame.columns:
        columns["position"] = frame["batch_event_index"]
    return pl.DataFrame(columns), faults


def _param(params: pl.Series, key: str) -> pl.Series:
    """The value of a parameter of the event, as text."""
    found = pl.element().filter(pl.element().struct.field("key") == key).struct.field("value")
    value = params.list.eval(found).list.first()
    fields = [text(value.struct.field(name)) for name in ("string_value", "int_value")]
    return pl.select(pl.coalesce(*fields)).to_series()

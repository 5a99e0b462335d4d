"""Google Analytics 4 as BigQuery exports it: events with their items nested, or the same flattened to a row an item."""

from __future__ import annotations

from typing import ClassVar

import polars as pl

from ..event_words import EventWords
from ..layout import SKIP, Layout
from ..parsing import identifiers, nulls, text
from ..tables import Table
from ..validation import Step
from .base import Feed, Shaped, decoded, has
from .shaping import amounts, beside, counted, meanings, unread

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
# Where an event's name counts without an item.
ALONE = ("search",)
NOT_SET = ("(not set)", "(none)")
ITEM = ("item_id", "price", "quantity", "item_revenue", "item_list_name", "index")
ITEMS = pl.List(pl.Struct(dict.fromkeys(ITEM, pl.String())))
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
        "user_id": "user_id, else user_pseudo_id",
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
        known = meanings(events["name"], WORDS, layout)
        types = events["name"].replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.String)
        # A shop's own events may be called as those of other tools.
        common = EventWords({}).types(events["name"])
        events = events.with_columns(pl.coalesce(types, common).alias("type"))
        kept, notes, steps = _useful(events)
        lines = _lines(kept)
        unique = lines.unique(["user_id", "timestamp", "name", "type", "item_id", "nth"], maintain_order=True)
        steps += [Step("items of events, a row each", kept.height, lines.height)]
        if unique.height < lines.height:
            steps.append(Step("repeated rows left out", lines.height, unique.height))
            repeated = lines.height - unique.height
            notes.append(f"{repeated} rows repeat user, microsecond, event and item, and count once")
        notes += _users(unique)
        made = beside(Table(_named(unique), unique["row"], faults), table, "events", _aside(table))
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
        "user_id": pl.select(pl.coalesce(*users)).to_series(),
        "signed in": users[0].is_not_null(),
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


def _useful(events: pl.DataFrame) -> tuple[pl.DataFrame, list[str], list[Step]]:
    """The events that say something about items or are searches; what went, by name."""
    with_items = (pl.col("items").list.len() > 0).fill_null(False)
    named = events.select(with_items | pl.col("type").is_in(ALONE).fill_null(False)).to_series()
    known = named & (events["type"] != SKIP).fill_null(False)
    notes = []
    if not named.all():
        notes.append(f"events without items left out: {counted(events['name'].filter(~named))}")
    if other := int((named & ~known).sum()):
        names = counted(events["name"].filter(named & ~known))
        notes.append(f"events of other kinds left out: {names} (--event-types NAME=TYPE keeps them)")
    height, left = events.height, int(named.sum())
    steps = [
        Step("events without items left out", height, left),
        Step("events of other kinds left out", left, left - other),
    ]
    return events.filter(known), notes, steps


def _lines(events: pl.DataFrame) -> pl.DataFrame:
    """A row each item of an event; a search is a row of its own, and the items it found were shown."""
    searched = pl.col("type") == "search"
    none = pl.lit(None, dtype=ITEMS)
    alone = events.filter(searched).with_columns(items=none)
    shown = events.filter(pl.col("items").list.len() > 0)
    shown = shown.with_columns(type=pl.when(searched).then(pl.lit("impression")).otherwise("type"))
    lines = pl.concat([alone, shown]).sort("row", maintain_order=True).explode("items").unnest("items")
    item = pl.col("item_id").str.strip_chars()
    lines = lines.with_columns(item_id=pl.when(item.is_in(NOT_SET) | (item == "")).then(None).otherwise(item))
    # An event may hold an item twice, as two of its variants: only whole events are repeated.
    nth = pl.int_range(pl.len(), dtype=pl.UInt32).over("row", "type", "item_id")
    bought = pl.col("type").is_in(("purchase", "return")).fill_null(False)
    pieces = pl.when(bought).then(pl.col("quantity").fill_null("1"))
    value = amounts(lines["price"], lines["quantity"]).alias("value")
    revenue = pl.col("item_revenue").cast(value.dtype, strict=False)
    return lines.with_columns(value, quantity=pieces, nth=nth).with_columns(
        value=pl.when(bought).then(pl.coalesce("value", revenue))
    )


def _users(lines: pl.DataFrame) -> list[str]:
    """Where people are known partly by the shop's id, partly by their browser's."""
    known = int((lines["signed in"] & lines["user_id"].is_not_null()).sum())
    rest = int((~lines["signed in"] & lines["user_id"].is_not_null()).sum())
    return [f"the user is user_id in {known} rows and user_pseudo_id in {rest}"] if known and rest else []


def _named(lines: pl.DataFrame) -> pl.DataFrame:
    """Canonical columns, and where in a list the item stood."""
    shown = {"type": "event_type", "index": "item_list_index"}
    columns = lines.drop("row", "name", "nth", "signed in", "price", "item_revenue").rename(shown)
    # Columns that say nothing are no attributes.
    empty = [name for name in ("item_list_name", "item_list_index") if columns[name].null_count() == columns.height]
    return columns.drop(empty)

"""Reports of Google Analytics 4 as CSV: how often an item was seen, put into the cart and bought, by user and time."""

from __future__ import annotations

import re
from typing import ClassVar

import polars as pl

from ...errors import InvalidDataError
from ..guessing import SYNONYMS, plain
from ..layout import Layout
from ..parsing import numbers, text
from ..tables import Table
from ..validation import Step
from .base import Feed, Shaped
from .ga4 import WORDS
from .item_lists import NOT_SET
from .shaping import beside, with_event_types

# Names of dimensions and metrics in the API and, in plain letters, in the reports of the interface.
TIMES = ("datehourminute", "datehourandminute", "datehour", "date", "day")
USERS = ("userid", "effectiveuserid", "user", "clientid", "userpseudoid", "customerid", "visitorid", "appinstanceid")
ITEMS = ("itemid", "productsku", "item", "sku", "productid")
NAMES = tuple(map(plain, ("event_name", "event_type", *SYNONYMS["events"]["event_type"])))
OWN_USER = "customUser:"  # a dimension of the shop's own
COUNTS = {
    "itemsviewed": "view", "itemviews": "view", "itemviewevents": "view", "itemsclickedinlist": "click",
    "itemsaddedtocart": "cart", "addtocarts": "cart", "itemspurchased": "purchase", "itempurchasequantity": "purchase",
}  # fmt: skip
REVENUE = ("itemrevenue",)
TOTALS = ("grand total", "total", "totals", "reserved_total")


def _plain(name: str) -> str:
    """`Items viewed`, `itemsViewed` and `customUser:items_viewed` alike; `Date + hour (YYYYMMDDHH)` as `datehour`."""
    return re.sub(r"[^a-z]", "", re.sub(r"\(.*?\)", "", name.split(":")[-1].lower()))


class GA4Report(Feed):
    """Events made of counts: one of each kind that the row counts, with its count as the quantity."""

    name = "ga4-report"
    kind = "events"
    title = "Google Analytics 4 report (CSV)"
    export = "Explore > Free form > Export data > CSV, or runReport of the Data API"
    reads: ClassVar = {
        "user_id": "userId, clientId or a dimension of your own",
        "item_id": "itemId",
        "timestamp": "dateHourMinute, dateHour or date",
        "event_type": "eventName, or itemsViewed, itemsAddedToCart and itemsPurchased where they are above 0",
        "value": "itemRevenue of purchases",
        "quantity": "the counts",
        "position": "the order of the kinds: seen, clicked, put into the cart, bought",
    }

    def matches(self, table: Table) -> bool:
        """Whether it has GA4's time of a report, or its counts by item."""
        names = {_plain(name) for name in table.frame.columns}
        hourly = names & set(TIMES[:3])
        return bool(hourly or (names & {"date", "day"} and names & set(COUNTS))) and bool(names & set(ITEMS))

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """Lines of totals left out, times as written out, a row each kind of event."""
        columns = {_plain(name): name for name in reversed(table.frame.columns)}
        known = {"timestamp": TIMES, "user_id": USERS, "item_id": ITEMS}
        time, user, item = (layout.claimed.get(name) or _first(columns, names) for name, names in known.items())
        user = user or next((name for name in table.frame.columns if name.startswith(OWN_USER)), None)
        if time is None or item is None or user is None:
            missing = {"dateHour": time, "itemId": item, "userId, or a dimension of your own with it": user}
            raise InvalidDataError(
                f"The report lacks {' and '.join(name for name, found in missing.items() if found is None)} (columns "
                f"{', '.join(table.frame.columns)}); add that dimension, as without it no event has its user, item "
                "and time, or name its column with --event-map user_id=COLUMN, or export the events to BigQuery."
            )
        kept, steps = _without_totals(table, time, item)
        frame = kept.frame
        own = {"user_id": text(frame[user]), "item_id": text(frame[item]), "timestamp": _moment(frame[time], layout)}
        base = pl.DataFrame(own).with_columns(pl.when(~pl.all().is_in(NOT_SET)).then(pl.all()))
        sources = {"user_id": user, "item_id": item, "timestamp": time}
        counts = {name: COUNTS[plain] for plain, name in columns.items() if plain in COUNTS}
        revenue = _first(columns, REVENUE)
        named = _first(columns, NAMES)
        used = (time, user, item, *counts, *(name for name in (revenue, named) if name is not None))
        if named is not None:
            typed = base.with_columns(frame[named].alias("event_type"))
            shaped = Shaped(
                beside(Table(typed, kept.rows), kept, "events", used),
                {**sources, "event_type": named},
                (),
                tuple(steps),
            )
            return with_event_types(shaped, WORDS, layout)
        if not counts:
            return Shaped(beside(Table(base, kept.rows), kept, "events", used), sources, (), tuple(steps))
        parts = []
        for order, (name, kind) in enumerate(sorted(counts.items(), key=lambda c: _ORDER.index(c[1]))):
            value = frame[revenue] if revenue and kind == "purchase" else pl.lit(None, dtype=pl.String)
            counted = base.with_columns(
                kept.rows.alias("row"), frame[name].alias("quantity"), value.alias("value"),
                event_type=pl.lit(kind), position=pl.lit(order), count=numbers(frame[name])[0],
            )  # fmt: skip
            parts.append(counted.filter((pl.col("count") > 0).fill_null(pl.col("quantity").is_not_null())))
        made = pl.concat(parts).sort("row", "position", maintain_order=True)
        steps.append(Step("counts above 0, a row each", frame.height, made.height))
        sources |= {"event_type": ", ".join(counts), "quantity": "the counts", "position": "the order of the kinds"}
        if revenue:
            sources["value"] = f"{revenue} of purchases"
        notes = ("counts stand for one event each: the moments within an hour or a day are not known",)
        # A column of nothing says nothing.
        made = made if revenue else made.drop("value")
        rows = beside(Table(made.drop("row", "count"), made["row"]), kept, "events", used)
        return Shaped(rows, sources, notes, tuple(steps))


_ORDER = ("view", "click", "cart", "purchase")


def _first(columns: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((columns[name] for name in names if name in columns), None)


def _without_totals(table: Table, time: str, item: str) -> tuple[Table, list[Step]]:
    """The rows that are of an item and a time."""
    moments, items = text(table.frame[time]), text(table.frame[item])
    total = moments.is_null() | moments.str.to_lowercase().is_in(TOTALS) | items.str.to_lowercase().is_in(TOTALS)
    total = total.fill_null(False)
    if not total.any():
        return table, []
    left = Table(table.frame.filter(~total), table.rows.filter(~total))
    return left, [Step("lines of totals left out", table.frame.height, left.frame.height)]


def _moment(column: pl.Series, layout: Layout) -> pl.Series:
    """`2024011510` and `202401151005` as times written out; anything else stays, as where the layout knows better."""
    if layout.date_format or layout.time_unit:
        return column
    hours = text(column).str.replace(r"^(\d{4})(\d\d)(\d\d)(\d\d)$", "$1-$2-$3 $4:00")
    return hours.str.replace(r"^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)$", "$1-$2-$3 $4:$5")

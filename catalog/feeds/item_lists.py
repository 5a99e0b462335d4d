"""Events of analytics tools that hold lists of items: those that say something of items, a row each item."""

from __future__ import annotations

import polars as pl

from ..event_words import EventWords
from ..layout import SKIP
from ..tables import Table
from ..validation import Step
from .shaping import amounts, counted

# Where an event's name counts without an item.
ALONE = ("search",)
NOT_SET = ("(not set)", "(none)")
ITEM = ("item_id", "price", "quantity", "item_revenue", "item_list_name", "index")
ITEMS = pl.List(pl.Struct(dict.fromkeys(ITEM, pl.String())))


def item_rows(events: pl.DataFrame, known: dict[str, str]) -> tuple[Table, list[str], list[Step]]:
    """A row each item and search of events, whose names `known` gives a type; what went and what users are is told.

    `events` are of columns `row` (of the source), `name`, `timestamp`, `user_id`, `known by`, `session_id`, `query` and
    `items` (of `ITEMS`); further ones stay.
    """
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
        notes.append(f"{repeated} rows repeat user, time, event and item, and count once")
    notes += _users(unique)
    return Table(_named(unique), unique["row"]), notes, steps


def at_login(users: pl.Series, devices: pl.Series) -> pl.Series:
    """For each row the only user who ever signed in on its device; null where that was nobody or several."""
    pairs = pl.DataFrame({"user": users, "device": devices}).drop_nulls().unique()
    only = pairs.filter(pl.col("device").is_unique())
    return devices.replace_strict(only["device"], only["user"], default=None, return_dtype=pl.String)


def people(users: pl.Series, devices: pl.Series) -> dict[str, pl.Series]:
    """Columns `user_id` and `known by`: by signing in, by doing so at another time on the device, or by the device."""
    login = at_login(users, devices)
    ways = (("user", users), ("login", login), ("device", devices))
    known = pl.coalesce(pl.when(ids.is_not_null()).then(pl.lit(way)) for way, ids in ways)
    return {
        "user_id": pl.select(pl.coalesce(users, login, devices)).to_series(),
        "known by": pl.select(known).to_series(),
    }


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
    """Where people are known partly by the shop's id, partly by their device."""
    counts = dict(lines["known by"].drop_nulls().value_counts().rows())
    if len(counts) < 2:
        return []
    signed_in, devices = (counts.get(way, 0) for way in ("user", "device"))
    notes = [f"users are known by their id in {signed_in} rows, by their device alone in {devices}"]
    if joined := counts.get("login"):
        notes.append(f"{joined} rows without a user are of devices where just one ever signed in, and count as theirs")
    return notes


def _named(lines: pl.DataFrame) -> pl.DataFrame:
    """Canonical columns, and where in a list the item stood."""
    shown = {"type": "event_type", "index": "item_list_index"}
    columns = lines.drop("row", "name", "nth", "known by", "price", "item_revenue").rename(shown)
    # Columns that say nothing are no attributes.
    empty = [name for name in ("item_list_name", "item_list_index") if columns[name].null_count() == columns.height]
    return columns.drop(empty)

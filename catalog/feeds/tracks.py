"""Calls that analytics tools collect: the name of an event and an object of its properties, in the words of each tool.

Properties are those of Segment's specification for shops, which other tools have taken over: `product_id` of one
product, or `products`, each with its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import polars as pl

from ..layout import Layout
from ..parsing import identifiers, nulls, text
from ..tables import Table
from .base import Feed, Shaped, decoded, has
from .item_lists import ITEM, ITEMS, item_rows, people
from .shaping import beside, meanings, unread

# Names of properties, best first; that of items is the one that most of them have.
IDS = ("product_id", "productId", "item_id", "sku", "id")
FIELDS = {
    "price": ("price",),
    "quantity": ("quantity",),
    "item_revenue": ("revenue",),
    "item_list_name": ("list", "list_id"),
    "index": ("position",),
}
FIRST = 100  # rows by which a table is told
QUERY = ("query", "search_term", "search_query")
OF_PRODUCT = tuple(dict.fromkeys((*IDS, *(name for names in FIELDS.values() for name in names))))
PRODUCTS = pl.List(pl.Struct(dict.fromkeys(OF_PRODUCT, pl.String())))


class Tracks(Feed):
    """A row a call; views, clicks, carts, purchases, impressions and searches."""

    kind = "events"
    events: ClassVar[str]  # column of the events' names
    properties: ClassVar[str]  # column of objects
    users: ClassVar[Sequence[str]]  # columns or properties of who signed in, best first
    devices: ClassVar[Sequence[str]]  # of the device, which is known without signing in
    times: ClassVar[Sequence[str]]
    sessions: ClassVar[Sequence[str]] = ()
    inside: ClassVar[bool] = False  # people and times are properties, not columns
    kinds: ClassVar[str | None] = None  # column that names calls without an event
    aside: ClassVar[Sequence[str]] = ()  # columns that say nothing of items

    def matches(self, table: Table) -> bool:
        """Whether it has names, properties, people and times as the tool writes them."""
        if not has(table, self.events, self.properties):
            return False
        known = set(table.frame.columns)
        if self.inside:
            own = self._properties(Table(table.frame.head(FIRST), table.rows.head(FIRST)))
            known = {name for name in own.columns if own[name].null_count() < own.height}
        return all(not known.isdisjoint(names) for names in ((*self.users, *self.devices), self.times))

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """A row each item of a call, and each search."""
        self.require(table, (self.events, self.properties))
        own = self._properties(table)
        names = self._first(table.frame, (self.events, *filter(None, [self.kinds])))
        single = own.select(OF_PRODUCT).to_struct()
        given = own.select(pl.any_horizontal(pl.col(name).is_not_null() for name in IDS)).to_series()
        lists = own["products"].zip_with(
            (own["products"].list.len() > 0).fill_null(False),
            pl.select(pl.when(given).then(pl.concat_list(single))).to_series().cast(PRODUCTS),
        )
        read = self._id_of(lists)
        told = own if self.inside else table.frame
        session = self._first(told, self.sessions)
        events = pl.DataFrame(
            {
                "row": table.rows,
                "name": names,
                "timestamp": self._first(told, self.times),
                **people(self._first(told, self.users), self._first(told, self.devices)),
                "session_id": identifiers(session.set((session == "-1").fill_null(False), None)),
                "query": pl.select(pl.coalesce(own[name] for name in QUERY)).to_series(),
                "items": _as_items(lists, read),
            }
        )
        events = events if self.sessions else events.drop("session_id")
        rows, notes, steps = item_rows(events, meanings(names, {}, layout))
        faults = {"bad_cell": unread(table, self.properties, own["read"])}
        made = beside(Table(rows.frame, rows.rows, faults), table, "events", self._used())
        sources = {name: source for name, source in self.reads.items() if name in made.frame.columns}
        sources["item_id"] = f"{read} in {self.properties}, also of products"
        return Shaped(made, sources, tuple(notes), tuple(steps))

    def _used(self) -> tuple[str, ...]:
        return (
            self.events, self.properties, *self.users, *self.devices, *self.times, *self.sessions, *self.aside,
            *filter(None, [self.kinds]),
        )  # fmt: skip

    def _names(self) -> tuple[str, ...]:
        """Properties that are read, but for those of lists."""
        people_and_times = (*self.users, *self.devices, *self.times) if self.inside else ()
        return tuple(dict.fromkeys((*OF_PRODUCT, *QUERY, *people_and_times)))

    def _properties(self, table: Table) -> pl.DataFrame:
        """(rows, properties) as text, `products` as lists; `read` is null where a cell holds no object."""
        dtype = pl.Struct({**dict.fromkeys(self._names(), pl.String()), "products": PRODUCTS})
        objects = decoded(table.frame[self.properties], dtype)
        return objects.struct.unnest().with_columns(objects.alias("read"))

    def _first(self, frame: pl.DataFrame, names: Sequence[str]) -> pl.Series:
        """In each row the first of these columns that holds something."""
        found = [text(frame[name]) for name in names if name in frame.columns]
        return pl.select(pl.coalesce(found)).to_series() if found else nulls(frame.height)

    def _id_of(self, lists: pl.Series) -> str:
        """The property that most items have as their id; the first of equals."""
        items = lists.explode(empty_as_null=True).drop_nulls()
        return max(IDS, key=lambda name: len(items) - items.struct.field(name).null_count())


def _as_items(lists: pl.Series, read: str) -> pl.Series:
    """Lists of products as lists of items."""
    fields = {"item_id": (read,), **FIELDS}
    item = pl.struct(pl.coalesce(pl.element().struct.field(own) for own in fields[name]).alias(name) for name in ITEM)
    return lists.list.eval(item).cast(ITEMS)


READS = {
    "query": "query of searches",
    "value": "price x quantity of purchases",
    "quantity": "quantity of purchases",
}


class Segment(Tracks):
    """Segment and what follows it (RudderStack, Jitsu): `track` calls."""

    name = "segment"
    title = "Segment events (JSON Lines; also RudderStack)"
    export = "the raw events of a storage destination (S3, Google Cloud Storage), such as segment-logs/*.gz"
    events, properties = "event", "properties"
    users = ("userId", "user_id")
    devices = ("anonymousId", "anonymous_id")
    times = ("timestamp", "originalTimestamp", "original_timestamp", "sentAt", "sent_at", "receivedAt", "received_at")
    kinds = "type"
    aside = (
        "name", "messageId", "message_id", "context", "integrations", "channel", "version", "writeKey",
        "projectId", "traits", "_metadata", "metadata", "rudderId", "request_ip", "userAgent",
    )  # fmt: skip
    reads: ClassVar = {
        "user_id": "userId, else the only one who signed in on the device, else anonymousId",
        "item_id": "product_id in properties, also of products",
        "timestamp": "timestamp, else originalTimestamp, sentAt or receivedAt",
        "event_type": "event",
        **READS,
    }


class Mixpanel(Tracks):
    """Mixpanel's raw events, whose people and times are properties."""

    name = "mixpanel"
    title = "Mixpanel events (JSON Lines)"
    export = "the raw data export (data.mixpanel.com/api/2.0/export)"
    events, properties = "event", "properties"
    users = ("$user_id",)
    devices = ("distinct_id", "$device_id")
    times = ("time",)
    inside = True
    reads: ClassVar = {
        "user_id": "$user_id, else the only one who signed in on the device, else distinct_id or $device_id",
        "item_id": "product_id in properties, also of products",
        "timestamp": "time",
        "event_type": "event",
        **READS,
    }


class Amplitude(Tracks):
    """Amplitude's raw events."""

    name = "amplitude"
    title = "Amplitude events (JSON Lines)"
    export = "Settings > Projects > Export Data, or the Export API, unpacked"
    events, properties = "event_type", "event_properties"
    users = ("user_id",)
    devices = ("device_id", "amplitude_id")
    times = ("event_time", "client_event_time", "time")
    sessions = ("session_id",)
    aside = (
        "user_properties", "group_properties", "groups", "data", "event_id", "insert_id", "$insert_id", "uuid", "app",
        "library", "platform", "os_name", "os_version", "device_family", "device_type", "device_carrier", "ip_address",
        "server_upload_time", "server_received_time", "processed_time", "client_upload_time", "version_name", "plan",
        "$schema", "$insert_key", "amplitude_event_type", "is_attribution_event", "start_version", "idfa", "adid",
    )  # fmt: skip
    reads: ClassVar = {
        "user_id": "user_id, else the only one who signed in on the device, else device_id",
        "item_id": "product_id in event_properties, also of products",
        "timestamp": "event_time",
        "event_type": "event_type",
        "session_id": "session_id",
        **READS,
    }

"""Logs of research sets that have no header line: Taobao's UserBehavior and YooChoose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import polars as pl

from ..layout import Layout
from ..tables import Table
from .base import Shaped, has
from .shaping import Renamed, amounts, looks_like, named

NUMBER, SECONDS, ISO = r"\d+", r"1\d{9}", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"


class Headerless(Renamed):
    """A log whose columns are told by what stands in them."""

    shown: ClassVar[Mapping[str, str]]  # name of each column, in order, to how its values are written

    def matches(self, table: Table) -> bool:
        """Whether each column holds such values."""
        columns = table.frame.columns
        if not table.headerless or len(columns) != len(self.shown):
            return False
        pairs = zip(columns, self.shown.values(), strict=True)
        return all(looks_like(table.frame[name], pattern) for name, pattern in pairs)

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """Columns named in order, then as of any log."""
        return super().shape(named(table, tuple(self.shown)), layout)


class Taobao(Headerless):
    """What users did on Taobao."""

    name = "taobao"
    kind = "events"
    title = "Taobao user behaviour (CSV without header)"
    export = "the research set's UserBehavior.csv"
    shown: ClassVar = {
        "taobao user": NUMBER,
        "taobao item": NUMBER,
        "category": NUMBER,
        "behaviour": "pv|buy|cart|fav",
        "seconds": SECONDS,
    }
    reads: ClassVar = {
        "user_id": "taobao user",
        "item_id": "taobao item",
        "timestamp": "seconds",
        "event_type": "behaviour",
    }
    words: ClassVar = {"pv": "view", "buy": "purchase", "cart": "cart", "fav": "click"}


class YooChooseClicks(Headerless):
    """Clicks of sessions; who clicked is not known, so that each session is a user."""

    name = "yoochoose"
    kind = "events"
    title = "YooChoose clicks (CSV without header)"
    export = "the research set's yoochoose-clicks.dat"
    shown: ClassVar = {"session": NUMBER, "moment": ISO, "clicked": NUMBER, "category": r"\w+"}
    reads: ClassVar = {
        "user_id": "session",
        "item_id": "clicked",
        "timestamp": "moment",
        "session_id": "session",
        "event_type": "always click",
    }
    event_type = "click"


class YooChooseBuys(Headerless):
    """Purchases of sessions."""

    name = "yoochoose-buys"
    kind = "events"
    title = "YooChoose buys (CSV without header)"
    export = "the research set's yoochoose-buys.dat"
    shown: ClassVar = {"session": NUMBER, "moment": ISO, "bought": NUMBER, "price": r"\d+", "pieces": r"\d+"}
    reads: ClassVar = {
        "user_id": "session",
        "item_id": "bought",
        "timestamp": "moment",
        "session_id": "session",
        "value": "price",
        "quantity": "pieces",
        "event_type": "always purchase",
    }
    event_type = "purchase"

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """What a line cost is its price times its pieces."""
        shaped = super().shape(table, layout)
        frame = shaped.table.frame
        value = amounts(frame["value"], frame["quantity"]).alias("value")
        return shaped.reframed(frame.with_columns(value), value="price x pieces")


class Tianchi(Renamed):
    """Taobao's mobile users, with a header line and numbers for what they did."""

    name = "taobao-mobile"
    kind = "events"
    title = "Taobao mobile user behaviour (Tianchi, CSV)"
    export = "the research set's tianchi_mobile_recommend_train_user.csv"
    reads: ClassVar = {"user_id": "user_id", "item_id": "item_id", "timestamp": "time", "event_type": "behavior_type"}
    words: ClassVar = {"1": "view", "2": "click", "3": "cart", "4": "purchase"}

    def matches(self, table: Table) -> bool:
        """Whether it has the research set's own names."""
        return has(table, "user_id", "item_id", "behavior_type", "user_geohash", "item_category", "time")

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """Times are known to the hour: `2014-12-06 02`."""
        shaped = super().shape(table, layout)
        hour = pl.col("timestamp").cast(pl.String).str.replace(r"^(\d{4}-\d\d-\d\d \d\d)$", "$1:00")
        return shaped.reframed(shaped.table.frame.with_columns(hour))

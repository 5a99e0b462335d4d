"""What an item row and an event row are once onboarded: column names in order, dtypes, event types and aliases."""

from __future__ import annotations

from typing import Literal

import polars as pl

Kind = Literal["items", "events"]
TimeKind = Literal["order", "day", "real"]
OnError = Literal["fail", "skip"]

TIMESTAMP = pl.Datetime("us", "UTC")
# A map[str, str] in a form that every Parquet reader understands.
ATTRIBUTES = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))

Schema = dict[str, pl.DataType]

ITEM_SCHEMA: Schema = {
    "item_id": pl.String(),
    "title": pl.String(),
    "description": pl.String(),
    "brand": pl.String(),
    "category_path": pl.List(pl.String),
    "price": pl.Float64(),
    "currency": pl.String(),
    "image": pl.List(pl.String),
    "image_sha256": pl.List(pl.String),
    "available": pl.Boolean(),
    "created_at": TIMESTAMP,
    "cost": pl.Float64(),
    "attributes": ATTRIBUTES,
}

EVENT_SCHEMA: Schema = {
    "user_id": pl.String(),
    "item_id": pl.String(),
    "timestamp": TIMESTAMP,
    "event_type": pl.String(),
    "session_id": pl.String(),
    "query": pl.String(),
    "value": pl.Float64(),
    "quantity": pl.Int64(),
    "position": pl.Int64(),
    "attributes": ATTRIBUTES,
}

SCHEMAS: dict[Kind, Schema] = {"items": ITEM_SCHEMA, "events": EVENT_SCHEMA}
REQUIRED: dict[Kind, tuple[str, ...]] = {"items": ("item_id",), "events": ("user_id", "item_id", "timestamp")}

EVENT_TYPES: tuple[str, ...] = ("view", "click", "cart", "purchase", "search", "impression", "rating")
# As numbers, which is how sessions hold them; 0 is any other type.
EVENT_CODES = {name: code for code, name in enumerate(EVENT_TYPES, 1)}
# Events that may name no item.
ITEMLESS_EVENT_TYPES: tuple[str, ...] = ("search", "impression")

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
# Events that may name no item.
ITEMLESS_EVENT_TYPES: tuple[str, ...] = ("search", "impression")

ALIASES: dict[str, tuple[str, ...]] = {
    "rating": ("review", "rate"),
    "purchase": ("buy", "bought", "order", "ordered", "sale", "transaction", "checkout", "purchased"),
    "view": (
        "pageview", "page_view", "detail_view", "detailview", "product_view", "view_item", "viewed", "pv",
    ),
    "click": ("clicked", "select_item"),
    "cart": ("add_to_cart", "addtocart", "add_to_basket", "addtobasket", "basket"),
    "search": ("query", "searched", "view_search_results"),
    "impression": ("impressions", "shown", "exposure"),
    # No positive interaction: removed on reading, with a warning that counts them.
    "return": ("return", "returned", "refund", "refunded"),
}  # fmt: skip


def event_type_names() -> dict[str, str]:
    """Every accepted event type, in lower case with underscores, and the canonical type it stands for."""
    aliases = {alias: name for name, known in ALIASES.items() for alias in known}
    return {**aliases, **{name: name for name in EVENT_TYPES}}

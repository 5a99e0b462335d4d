"""What shoppers did, in the few columns that tell what a list led to; read at once from a snapshot and from the log."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl

from .event_log import parse_lines
from .line_log import read_pieces
from .schema import EVENT_TYPES, TIMESTAMP
from .shopper_events import EVENT_ID, RECOMMENDATION_ID, events_frame, logged_time, origin_of

ACTION_SCHEMA: dict[str, pl.DataType] = {
    EVENT_ID: pl.String(),
    "user_id": pl.String(),
    "item_id": pl.String(),
    "timestamp": TIMESTAMP,
    "event_type": pl.String(),
    "value": pl.Float64(),
    "quantity": pl.Int64(),
    RECOMMENDATION_ID: pl.String(),
}
# What a line holds, before times and numbers are made of texts: a wrong one of them is one damaged line.
_READ = dict.fromkeys(ACTION_SCHEMA, pl.String())


def actions_of(events: pl.LazyFrame) -> pl.LazyFrame:
    """Canonical events as actions; their ids and recommendations stand among their attributes."""
    return events.with_columns(origin_of(EVENT_ID), origin_of(RECOMMENDATION_ID)).select(*ACTION_SCHEMA)


def read_actions(folder: Path) -> pl.DataFrame:
    """All that waits in an event log, also what is being written; lines that are no event are passed over."""
    return pl.concat([pl.DataFrame(schema=ACTION_SCHEMA), *(_parsed(content) for _, content in read_pieces(folder))])


def _parsed(content: bytes) -> pl.DataFrame:
    try:
        read = pl.read_ndjson(io.BytesIO(content), schema=_READ)
    except pl.exceptions.ComputeError:  # a line that is no JSON, or no text, hides the others
        return actions_of(events_frame(parse_lines(content)[0]).lazy()).collect()
    # Services leave out what an event is by default.
    numbers = (pl.col("value").cast(pl.Float64, strict=False), pl.col("quantity").cast(pl.Int64, strict=False))
    return read.with_columns(logged_time("timestamp"), *numbers, pl.col("event_type").fill_null("view")).filter(
        pl.col("user_id").is_not_null(), pl.col("timestamp").is_not_null(), pl.col("event_type").is_in(EVENT_TYPES)
    )

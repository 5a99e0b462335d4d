"""What shoppers of a category did since a moment, and bought before it.

The newest events, and what services have logged beyond them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from ..catalog.actions import ACTION_SCHEMA, actions_of, read_actions
from ..catalog.shopper_events import EVENT_ID
from ..catalog.snapshots import DATA_FILE
from .datasets import find_snapshot, table_folder, time_kind
from .logged_events import log_folder

if TYPE_CHECKING:
    from .context import Context


@dataclass(frozen=True)
class ShopperActions:
    """Actions in `ACTION_SCHEMA`, and what could not be read of them."""

    actions: pl.DataFrame
    bought_before: pl.DataFrame
    notes: tuple[str, ...] = ()


def shopper_actions(context: Context, domain: str, since: datetime) -> ShopperActions:
    """What shoppers did from a moment on and bought before it, each event once.

    The log stays as it is, and whoever writes to it goes on.
    """
    frames: list[pl.DataFrame] = [pl.DataFrame(schema=ACTION_SCHEMA)]
    notes: list[str] = []
    later = pl.col("timestamp") >= since
    wanted = later | (pl.col("event_type") == "purchase")
    # Before the snapshot: what an ingest takes from the log meanwhile is then in both, and counts once.
    logged = read_actions(log_folder(context, domain)).filter(wanted)
    newest = find_snapshot(context, domain, "events")
    if newest is not None and time_kind(newest) == "real":
        table = pl.scan_parquet(table_folder(context, newest) / DATA_FILE, glob=False)
        frames.append(actions_of(table.filter(wanted)).collect())
    elif newest is not None:
        notes.append(f"{newest.ref} tells no times of day, so nothing of it can be placed in a shopper's window.")
    found = pl.concat([*frames, logged])
    once = found.filter(pl.col(EVENT_ID).is_null() | pl.col(EVENT_ID).is_first_distinct())
    return ShopperActions(once.filter(later), once.filter(~later), tuple(notes))

"""Which of some ids a category has as items: a question to the newest catalog's file, without loading a model."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ..registry.references import parse
from .context import Context
from .datasets import find_snapshot, read_table


def known_items(context: Context, ref: str, ids: Sequence[str]) -> list[str]:
    """Those of `ids` that the newest catalog behind a reference holds, in their order."""
    domain = parse(ref).domain
    snapshot = find_snapshot(context, domain, "items") if domain else None
    if snapshot is None:
        return []
    known = set(read_table(context, snapshot).filter(pl.col("item_id").is_in(list(ids)))["item_id"])
    return [one for one in ids if one in known]

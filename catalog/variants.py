"""Variants of the products of a catalog: events often name the variant that was bought, and so its product."""

from __future__ import annotations

import polars as pl

from .feeds.fields import JOINED
from .intake import Intake
from .parsing import identifiers

# Attributes that hold the ids of all variants of an item.
KEYS = ("Variant SKU",)


def variant_ids(items: pl.DataFrame) -> pl.DataFrame:
    """`variant` and the `item_id` of its product, of canonical items; what two products share names neither."""
    # Before the lists become rows: most items have many attributes and none of these.
    skus = pl.element().filter(pl.element().struct.field("key").is_in(KEYS)).struct.field("value")
    found = items.select("item_id", variant=pl.col("attributes").list.eval(skus)).explode("variant").drop_nulls()
    named = found.with_columns(pl.col("variant").str.split(JOINED))
    named = named.explode("variant").unique(maintain_order=True)
    own = named.filter(pl.col("variant").is_unique(), ~pl.col("variant").is_in(items["item_id"].implode()))
    return own.select("variant", "item_id")


def name_products(intake: Intake, variants: pl.DataFrame) -> None:
    """Let events that name a variant of the catalog count for its product, and say so."""
    ids = intake.columns["item_id"]
    known = dict(zip(identifiers(variants["variant"]), variants["item_id"], strict=True))
    found = ids.is_in(list(known)).fill_null(False)
    if found.any():
        intake.columns["item_id"] = ids.replace(list(known), list(known.values()))
        counts = f"{int(found.sum())} events name variants by their SKU, and count for their product"
        intake.notes.append(f"{counts} (--level variant makes every variant an item)")

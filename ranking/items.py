"""What a catalog says of its items, as numbers that trees can read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from ..arrays import BoolArray, DoubleArray, FloatArray, IntArray

SINGLE = np.finfo(np.float32)


@dataclass(frozen=True, eq=False)
class ItemFacts:
    """N items, by row; NaN, or -1 for a code, where the catalog does not say."""

    price: FloatArray  # (N,)
    margin: FloatArray  # (N,) share of the price that is not cost
    available: BoolArray  # (N,)
    created: DoubleArray  # (N,) microseconds
    category: IntArray  # (N,) code of the whole category path, and of its first part
    department: IntArray
    brand: IntArray

    @classmethod
    def of(cls, items: pl.DataFrame) -> ItemFacts:
        """Read a table of the items' columns."""
        price = items["price"].cast(pl.Float64).to_numpy().astype(np.float64)
        # What single precision cannot hold is no price, nor is what costs nothing.
        price = np.where((price >= SINGLE.tiny) & (price <= SINGLE.max), price, np.nan)
        cost = items["cost"].cast(pl.Float64).to_numpy().astype(np.float64)
        cost = np.where(cost <= SINGLE.max, cost, np.nan)
        created = items["created_at"].dt.timestamp("us").cast(pl.Float64).to_numpy().astype(np.float64)
        return cls(
            price.astype(np.float32),
            np.clip((price - cost) / price, SINGLE.min, SINGLE.max).astype(np.float32),
            items["available"].fill_null(True).to_numpy().astype(np.bool_),
            created,
            _codes(items["category_path"].list.join(" > ", ignore_nulls=True)),
            _codes(items["category_path"].list.first()),
            _codes(items["brand"]),
        )


def _codes(texts: pl.Series) -> IntArray:
    """(N,) a number for each distinct text, -1 for none; what number says nothing."""
    known = texts.fill_null("")
    codes = known.rank("dense").cast(pl.Int64).to_numpy()
    return np.where((known == "").to_numpy(), -1, codes).astype(np.int64)

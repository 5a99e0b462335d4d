"""What a catalog says that its items have in common: leaf category, brand and price band, as numbers and as slices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ..arrays import BoolArray, DoubleArray, FloatArray, IntArray
from ..evaluation.slices import BRAND, CATEGORY, LENGTH, PRICE, price_bands, price_slices, value_slices

if TYPE_CHECKING:
    from ..evaluation.evaluate import ItemFacts

# What results can be told by, beside the slices by training events.
BY = (CATEGORY, BRAND, PRICE, LENGTH)


def leaf_categories(items: pl.DataFrame) -> list[str | None]:
    """(N,) path of each item's category, such as `Garden > Pots`; None where it has none."""
    if "category_path" not in items.columns:
        return [None] * items.height
    return [" > ".join(path) if path else None for path in items["category_path"].to_list()]


def brands(items: pl.DataFrame) -> list[str | None]:
    """(N,) brand of each item, None where it has none."""
    return items["brand"].to_list() if "brand" in items.columns else [None] * items.height


def prices(items: pl.DataFrame) -> DoubleArray:
    """(N,) price of each item in the currency that most of them have; NaN where it has none in that."""
    if "price" not in items.columns:
        return np.full(items.height, np.nan)
    found = items["price"].cast(pl.Float64).to_numpy().astype(np.float64)
    if "currency" not in items.columns:
        return found
    currencies = items.filter(pl.col("price").is_not_null())["currency"]
    if not len(currencies):
        return found
    common = Counter(currencies.to_list()).most_common(1)[0][0]
    same = np.array([currency == common for currency in items["currency"].to_list()], np.bool_)
    return np.where(same, found, np.nan)


def numbered(values: Sequence[str | None]) -> IntArray:
    """(N,) a number from 0 for each value, -1 for None."""
    places = {value: place for place, value in enumerate(sorted({value for value in values if value is not None}))}
    return np.array([-1 if value is None else places[value] for value in values], dtype=np.int64)


def item_kinds(items: pl.DataFrame) -> dict[str, IntArray]:
    """(N,) numbers of what items can have in common by the metric that asks for it, -1 where it is not known.

    What all have in common tells nobody apart, and is left out.
    """
    kinds = {
        "same_category": numbered(leaf_categories(items)),
        "same_brand": numbered(brands(items)),
        "same_price_band": price_bands(prices(items)),
    }
    return {name: own for name, own in kinds.items() if len(np.unique(own[own >= 0])) > 1}


def item_facts(items: pl.DataFrame, content: FloatArray | None = None, by: Sequence[str] = ()) -> ItemFacts:
    """What an evaluation is told of a catalog; `by` are further slices (`BY`)."""
    from ..evaluation.evaluate import ItemFacts

    categories = numbered(leaf_categories(items))
    known = len(np.unique(categories)) > 1
    # Items without a category are together in one of their own.
    return ItemFacts(content, categories + 1 if known else None, _slices(items, by))


def _slices(items: pl.DataFrame, by: Sequence[str]) -> dict[str, BoolArray]:
    found: dict[str, BoolArray] = {}
    if CATEGORY in by:
        found |= value_slices(CATEGORY, leaf_categories(items))
    if BRAND in by:
        found |= value_slices(BRAND, brands(items))
    if PRICE in by:
        found |= price_slices(price_bands(prices(items)))
    return found

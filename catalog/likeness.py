"""How alike two categories are in what their catalogs and shoppers say: pure numbers, no model.

Every number is 1 for a category and itself, never more, and None where one of the two has nothing to compare. Only the
cosine of content can be below 0, and only the share of known shoppers is not the same both ways.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
import polars as pl

from ..arrays import DoubleArray, IntArray

Shares: TypeAlias = Mapping[str, float]  # of a catalog's items, by name

# Prices are compared at so many quantiles of the two catalogs.
QUANTILES = 101


@dataclass(frozen=True)
class CatalogProfile:
    """What a catalog says of its items beside text and pictures."""

    keys: Shares  # items that have each attribute
    values: Shares  # items that have each value of an attribute
    brands: Shares  # items of each brand
    prices: DoubleArray  # (QUANTILES,) logarithms of the prices at equal steps; (0,) where there are none
    currency: str | None  # of these prices: the catalog's most frequent one


@dataclass(frozen=True)
class AttributeLikeness:
    """Two catalogs in their attributes; each as the function says that makes it."""

    keys: float | None
    values: float | None
    brands: float | None
    prices: float | None


@dataclass(frozen=True)
class Shopping:
    """How a category is shopped, in a few statistics."""

    session_length: float  # mean events of a session
    repeats: float  # share of events on an item that the shopper had met before
    skew: float  # Gini coefficient of the events of the catalog's items: 0 for all alike, towards 1 for one item alone
    # Share of the catalog that is less like a session's item than the next item is, on average: 0.5 where the next item
    # has nothing to do with content; None without content.
    content: float | None = None


def profile_catalog(items: pl.DataFrame) -> CatalogProfile:
    """The profile of an item table in the schema of `ITEM_SCHEMA`; names are compared in lower case."""
    name = pl.element().struct.field
    said = items.select(
        keys=pl.col("attributes").list.eval(name("key")),
        values=pl.col("attributes").list.eval(pl.concat_str(name("key"), name("value"), separator="=")),
        brands=pl.concat_list("brand"),
    )
    shares = {kind: _shares(said[kind]) for kind in said.columns}
    priced = items.filter(pl.col("price") > 0)
    currency = next(iter(priced["currency"].mode().sort().to_list()), None)
    prices = priced.filter(pl.col("currency").eq_missing(pl.lit(currency, pl.String)))["price"].log().to_numpy()
    steps = np.linspace(0.0, 1.0, QUANTILES)
    quantiles = np.quantile(prices.astype(np.float64), steps) if len(prices) else np.zeros(0)
    return CatalogProfile(**shares, prices=quantiles, currency=currency)


def attribute_likeness(a: CatalogProfile, b: CatalogProfile) -> AttributeLikeness:
    """Two catalogs, statistic by statistic."""
    same_currency = a.currency == b.currency
    return AttributeLikeness(
        keys=weighted_jaccard(a.keys, b.keys),
        values=weighted_jaccard(a.values, b.values),
        brands=weighted_jaccard(a.brands, b.brands),
        prices=price_likeness(a.prices, b.prices) if same_currency else None,
    )


def weighted_jaccard(a: Shares, b: Shares) -> float | None:
    """Sum of the smaller over sum of the larger shares, over all names (Ruzicka's similarity)."""
    if not a or not b:
        return None
    names = a.keys() | b.keys()
    smaller = sum(min(a.get(name, 0.0), b.get(name, 0.0)) for name in sorted(names))
    return smaller / sum(max(a.get(name, 0.0), b.get(name, 0.0)) for name in sorted(names))


def price_likeness(a: DoubleArray, b: DoubleArray) -> float | None:
    """Geometric mean, over quantiles, of the lower price over the higher: 0.5 where one catalog is twice as dear.

    It is exp(-W) of the Wasserstein distance W of the logarithms.
    """
    return float(np.exp(-np.abs(a - b).mean())) if len(a) and len(b) else None


def content_likeness(a: DoubleArray, b: DoubleArray) -> float | None:
    """Cosine of two catalogs' means (D,) of an encoder's unit vectors.

    It is the mean similarity of an item of one and an item of the other, over the geometric mean of what it is within
    each: it depends neither on the sizes of the catalogs nor on how narrow a cone the encoder puts products into.
    """
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return min(float(a @ b) / lengths, 1.0) if lengths > 0 else None


def shopping_likeness(a: Shopping, b: Shopping) -> dict[str, float | None]:
    """Two ways of shopping, statistic by statistic: the shorter session over the longer, 1 - |difference| of shares."""
    found: dict[str, float | None] = {}
    for field in fields(Shopping):
        ours, theirs = getattr(a, field.name), getattr(b, field.name)
        if ours is None or theirs is None:
            found[field.name] = None
        elif field.name == "session_length":
            found[field.name] = min(ours, theirs) / max(ours, theirs)
        else:
            found[field.name] = 1.0 - abs(ours - theirs)
    return found


def gini(counts: IntArray) -> float:
    """Gini coefficient of (N,) counts: mean absolute difference of two of them over twice their mean."""
    n, total = len(counts), counts.sum()
    if not total:
        return 0.0
    places = 2 * np.arange(1, n + 1) - n - 1
    return float((places * np.sort(counts)).sum() / (n * total))


def known_share(shoppers: Collection[str], elsewhere: Collection[str]) -> float | None:
    """Share of a category's shoppers who are known to the other one; not the same both ways."""
    if not shoppers or not elsewhere:
        return None
    own = set(shoppers)
    return len(own & set(elsewhere)) / len(own)


def mean_known(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def mean_ranks(columns: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Mean place of each of N rows over the columns that know it, 1 for the largest; equal values share their places.

    A row that no column knows has None.
    """
    places = [_places(column) for column in columns]
    return [mean_known(own) for own in zip(*places, strict=True)]


def _places(column: Sequence[float | None]) -> list[float | None]:
    known = [value for value in column if value is not None]
    return [
        None if value is None else sum(own > value for own in known) + (1 + sum(own == value for own in known)) / 2
        for value in column
    ]


def _shares(names: pl.Series) -> Shares:
    """Share of (N,) lists of names that have each name, by name in lower case."""
    if not len(names):
        return {}
    told = names.to_frame("name").with_row_index().explode("name")
    told = told.with_columns(pl.col("name").str.strip_chars().str.to_lowercase()).drop_nulls().unique()
    counted = told.group_by("name").len().sort("name")
    return dict(zip(counted["name"], (counted["len"] / len(names)).to_list(), strict=True))

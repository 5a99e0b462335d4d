"""Merchandising rules: what is never shown, what leads, what is lifted, and how much of a kind a list holds.

They act in this order: hide, pin, boost, then caps and the share of new items; docs/rules.md says what each means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain, islice
from typing import Annotated, Self

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..arrays import BoolArray, DoubleArray, IntArray
from .caps import Cap, Counts, Queue, Scored, best_first, put_off

Name = Annotated[str, Field(min_length=1)]
# The best so many of some (n,) rows, best first, on the scale of the ranking that rules rearrange.
BestOf = Callable[[IntArray, int], Sequence[Scored]]
# So many places are exactly what boosts make of the whole catalog; a constant, so that a longer list begins with the
# shorter one.
REACH = 200
# Costs nothing that shoppers begin with, wherever it was measured (docs/benchmarks.md).
NEWCOMER_SHARE = 0.5
MARGIN = (pl.col("price") - pl.col("cost")) / pl.when(pl.col("price") > 0).then(pl.col("price"))
BETWEEN = "\x1f"  # levels of a category path: no name holds it


class Boost(BaseModel):
    """Items that meet every condition that is named, and how far they are lifted or, below 0, held back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: float = Field(ge=-100, le=100)  # in quartile distances of the scores of the best `REACH` items
    items: tuple[Name, ...] = ()
    brands: tuple[Name, ...] = ()
    categories: tuple[Name, ...] = ()  # each with all that is below it
    new_days: int | None = Field(default=None, ge=1)  # created in so many days before the newest item

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if not (self.items or self.brands or self.categories or self.new_days):
            raise ValueError("a boost names no items; give it items, brands, categories or new_days")
        return self


class Rules(BaseModel):
    """The rules of one domain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hide_items: tuple[Name, ...] = ()
    hide_brands: tuple[Name, ...] = ()
    hide_categories: tuple[Name, ...] = ()  # written like `garden > tools`, with all that is below them
    min_margin: float | None = Field(default=None, lt=1)  # (price - cost) / price; items known to be below are hidden
    hide_unknown_margin: bool = False  # with `min_margin`: items whose price or cost is unknown, too
    pin: tuple[Name, ...] = ()  # what every recommendation begins with, in this order
    boost: tuple[Boost, ...] = ()  # several of one item add up
    max_per_brand: int | None = Field(default=None, ge=1)  # of one list; items without a brand are not counted
    max_per_category: int | None = Field(default=None, ge=1)  # likewise
    # Without a session, the share of every beginning of a list that is of one category and one third of the prices; by
    # default `NEWCOMER_SHARE`.
    newcomer_share: float | None = Field(default=None, gt=0, le=1)
    category_depth: int | None = Field(default=None, ge=1)  # levels that tell categories apart here; by default all
    fresh_share: float | None = Field(default=None, gt=0, le=1)  # of every beginning of a list, as far as there are any
    fresh_days: int = Field(default=30, ge=1)  # what counts as new for `fresh_share`

    @model_validator(mode="after")
    def _says_of_what(self) -> Self:
        if self.hide_unknown_margin and self.min_margin is None:
            raise ValueError("hide_unknown_margin goes with min_margin, which is lacking")
        if self.category_depth and self.max_per_category is None and self.newcomer_share is None:
            raise ValueError("category_depth goes with max_per_category or newcomer_share, which are lacking")
        return self


@dataclass(frozen=True)
class Arranged:
    """A ranking after boosts."""

    ranked: Iterator[Scored]  # best first
    fresh: Sequence[Scored] = ()  # the best new items of it, where a share of the list is theirs


class CatalogRules:
    """Rules over one catalog of N items; `hidden` (N,) is true for rows that are never shown."""

    def __init__(self, rules: Rules, items: pl.DataFrame, now: datetime | None = None) -> None:
        """`items` has the columns of an item snapshot; items are as old as the newest one that is not after `now`."""
        self.rules = rules
        self._items, self._now = items, now or datetime.now(UTC)
        # Of no interest where no margin is asked for.
        self.margin_unknown: BoolArray = self._mask(MARGIN.is_null() if rules.min_margin is not None else None)
        self._hides = self._hiding()
        self.hidden: BoolArray = np.zeros(items.height, dtype=np.bool_)
        for mask in self._hides.values():
            self.hidden |= mask
        self.boosts: DoubleArray = np.zeros(items.height)  # (N,) in units of `spread`
        for boost in rules.boost:
            self.boosts[self._meets(boost)] += boost.by
        values = np.unique(self.boosts[self.boosts > 0]).tolist()
        self._lifted = [np.flatnonzero(self.boosts == value) for value in values]
        self.new: BoolArray = self._mask(self._newer(rules.fresh_days) if rules.fresh_share else None)
        self._new = np.flatnonzero(self.new)
        self._pinned = _rows(items, rules.pin)
        self._caps = self._capped()

    @property
    def reads(self) -> int:
        """Rows that `arranged` reads of a ranking at once."""
        return REACH if self.rules.boost else 0

    def pinned(self, allowed: BoolArray) -> list[int]:
        """Rows that a recommendation begins with, among the (N,) allowed ones."""
        return [row for row in self._pinned if allowed[row]]

    def why_hidden(self, row: int) -> str | None:
        """What hides a row, in words; None where nothing does."""
        return next((why for why, mask in self._hides.items() if mask[row]), None)

    def arranged(self, ranked: Iterable[Scored], allowed: BoolArray, best_of: BestOf) -> Arranged:
        """The ranking of the (N,) allowed rows after boosts, each row with the score that places it.

        The first `REACH` places are those of score + boost x `spread` over all allowed rows: `best_of` finds what is
        lifted from beyond the best. What follows is in the order of the ranking.
        """
        ranked = iter(ranked)
        fresh = best_of(self._new[allowed[self._new]], REACH) if len(self._new) else ()
        if not self.rules.boost:
            return Arranged(ranked, fresh)
        best = list(islice(ranked, REACH))
        unit = spread([score for _, score in best])

        def boosted(found: Iterable[Scored]) -> list[Scored]:
            return [(row, score + unit * float(self.boosts[row])) for row, score in found]

        best += self._past_held_back(best, ranked)
        # Among rows that are lifted alike the order is that of the ranking, so the best of them are enough.
        lifted = [own for rows in self._lifted for own in best_of(rows[allowed[rows]], REACH)]
        pool = dict(boosted([*lifted, *best]))
        rest = (scored for own in ranked if own[0] not in pool for scored in boosted([own]))
        return Arranged(chain(sorted(pool.items(), key=best_first), rest), sorted(boosted(fresh), key=best_first))

    def for_newcomers(self, arranged: Arranged, shown: Sequence[int]) -> Arranged:
        """What is shown without a session, of which one category and price holds a share at most."""
        share = self.rules.newcomer_share or NEWCOMER_SHARE
        return replace(arranged, ranked=put_off(arranged.ranked, self.newcomer_kinds, share, REACH, shown))

    def limit(
        self,
        ranked: Iterable[Scored],
        shown: Sequence[int] = (),
        fresh: Iterable[Scored] = (),
        groups: IntArray | None = None,
    ) -> Iterator[Scored]:
        """The ranking as caps and the share of new items leave it, behind rows that are shown already.

        Lazy, as the index is asked for more only where caps have used up what it gave. `groups` (N,) number what is
        one product: a new item is not put forward beside another row of its group.
        """
        counts = Counts(self._caps, shown)
        if not self.rules.fresh_share:
            return counts.admitted(ranked)
        return self._with_new(Queue(ranked, fresh, counts, shown, groups), shown)

    def full(self, row: int, shown: Sequence[int]) -> str | None:
        """Which cap has no place for a row beside those that are shown, in words; None where all have."""
        counts = Counts(self._caps, shown)
        full = (cap for cap in self._caps if not counts.has_place(cap, row))
        return next((f"its {cap.of} has reached the limit of {cap.limit}" for cap in full), None)

    def _with_new(self, queue: Queue, shown: Sequence[int]) -> Iterator[Scored]:
        share = float(self.rules.fresh_share or 0)
        length, new = len(shown), int(self.new[list(shown)].sum())
        # A share such as 0.29 of 100 must not miss its place by the last bit.
        while (found := queue.take(new=math.floor(share * (length + 1) + 1e-9) > new)) is not None:
            length, new = length + 1, new + int(self.new[found[0]])
            yield found

    def _past_held_back(self, best: Sequence[Scored], ranked: Iterator[Scored]) -> Iterator[Scored]:
        """What follows the best rows, until `REACH` were read that are not held back."""
        lacking = sum(bool(self.boosts[row] < 0) for row, _ in best)
        while lacking and (found := next(ranked, None)) is not None:
            lacking -= bool(self.boosts[found[0]] >= 0)
            yield found

    def _hiding(self) -> dict[str, BoolArray]:
        """What hides items, in words, and which: (N,) each."""
        rules = self.rules
        found = {"this item": self._mask(_listed("item_id", rules.hide_items)) if rules.hide_items else None}
        for brand in rules.hide_brands:
            found[f"brand {brand}"] = self._mask(_listed("brand", [brand]))
        for text in rules.hide_categories:
            found[f"category {text}"] = self._mask(_below([text]))
        if rules.min_margin is not None:
            found[f"a margin below {rules.min_margin:g}"] = self._mask(rules.min_margin > MARGIN)
            found["an unknown margin"] = self.margin_unknown if rules.hide_unknown_margin else None
        return {why: mask for why, mask in found.items() if mask is not None}

    def _meets(self, boost: Boost) -> BoolArray:
        """(N,) true for items that meet every condition of a boost."""
        conditions = [_listed("item_id", boost.items)] if boost.items else []
        conditions += [_listed("brand", boost.brands)] if boost.brands else []
        conditions += [_below(boost.categories)] if boost.categories else []
        conditions += [self._newer(boost.new_days)] if boost.new_days else []
        return self._mask(pl.all_horizontal(conditions))

    def _newer(self, days: int) -> pl.Expr:
        created = pl.col("created_at")
        newest = created.filter(created <= self._now).max()
        return created >= newest - pl.duration(days=days)

    def _capped(self) -> list[Cap]:
        rules, found = self.rules, []
        if rules.max_per_brand:
            found.append(Cap("brand", rules.max_per_brand, self._codes(pl.col("brand"))))
        if rules.max_per_category:
            found.append(Cap("category", rules.max_per_category, self._categories()))
        return found

    def _categories(self) -> IntArray:
        """(N,) a number for each category, as deep as the rules tell them apart, -1 for none."""
        path, depth = pl.col("category_path"), self.rules.category_depth
        path = path if depth is None else path.list.head(depth)
        return self._codes(pl.when(path.list.len() > 0).then(path.list.join(BETWEEN)))

    @cached_property
    def newcomer_kinds(self) -> IntArray:
        """(N,) a number for each category and third of the catalog's prices."""
        price = pl.col("price")
        third = (
            pl.when(price <= price.quantile(1 / 3)).then(0).when(price <= price.quantile(2 / 3)).then(1).otherwise(2)
        )
        thirds = self._codes(pl.when(price.is_not_null()).then(third))
        return self._codes(pl.lit(pl.Series(4 * self._categories() + thirds)))

    def _mask(self, condition: pl.Expr | None = None) -> BoolArray:
        """(N,) where a condition holds; what is not known does not hold."""
        if condition is None:
            return np.zeros(self._items.height, dtype=np.bool_)
        mask: BoolArray = self._items.select(condition.fill_null(False).alias("met"))["met"].to_numpy()
        return mask

    def _codes(self, values: pl.Expr) -> IntArray:
        """(N,) the same number for equal values, -1 for none."""
        codes = values.rank("dense").cast(pl.Int64).fill_null(-1)
        return self._items.select(codes.alias("code"))["code"].to_numpy()


def spread(scores: Sequence[float]) -> float:
    """What a boost of 1 adds to a score: the distance between the quartiles of the scores of the best items.

    Scores that are equal at both quartiles are told apart by their standard deviation, and by 1 where all are equal.
    """
    if not scores:
        return 1.0
    low, high = np.quantile(scores, [0.25, 0.75])
    return float(high - low) or float(np.std(scores)) or 1.0


def unknown_names(rules: Rules, *catalogs: pl.DataFrame | None) -> Mapping[str, list[str]]:
    """What the rules name and none of the catalogs holds, by field; empty where all is known."""
    named = ("item_id", "brand", "category_path")
    items = pl.concat([own.select(named) for own in catalogs if own is not None])
    known = {name: set(items[name].to_list()) for name in ("item_id", "brand")}
    paths = (tuple(path) for path in items["category_path"].drop_nulls().unique().to_list())
    known["category"] = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
    fields = {
        "hide_items": ("item_id", rules.hide_items),
        "hide_brands": ("brand", rules.hide_brands),
        "hide_categories": ("category", rules.hide_categories),
        "pin": ("item_id", rules.pin),
        "boost.items": ("item_id", [item for boost in rules.boost for item in boost.items]),
        "boost.brands": ("brand", [brand for boost in rules.boost for brand in boost.brands]),
        "boost.categories": ("category", [text for boost in rules.boost for text in boost.categories]),
    }
    missing = {
        field: [name for name in names if (_path(name) if kind == "category" else name) not in known[kind]]
        for field, (kind, names) in fields.items()
    }
    return {field: names for field, names in missing.items() if names}


def _rows(items: pl.DataFrame, ids: Sequence[str]) -> list[int]:
    """The rows of those of some items that the catalog holds, in the order of `ids`."""
    if not ids:
        return []
    found = items.select(pl.col("item_id"), pl.int_range(pl.len()).alias("row")).filter(_listed("item_id", ids))
    row_of = dict(found.iter_rows())
    return [row_of[item] for item in ids if item in row_of]


def _listed(column: str, values: Sequence[str]) -> pl.Expr:
    return pl.col(column).is_in(list(values))


def _below(categories: Sequence[str]) -> pl.Expr:
    """Whether an item is of one of some categories, or of one below it."""
    path = pl.concat_str(pl.col("category_path").list.join(BETWEEN), pl.lit(BETWEEN))
    return pl.any_horizontal([path.str.starts_with(BETWEEN.join((*_path(text), ""))) for text in categories])


def _path(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(">"))

"""What trees read of a candidate: features by name, the same code for training and for serving.

A feature that cannot be known is NaN. Scores are standardised among a request's candidates and ranks are places among
them, since raw scores of two trainings of one model differ in scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..arrays import AnyFloatArray, BoolArray, DoubleArray, FloatArray, IntArray
from ..catalog.parsing import DAY_US
from ..catalog.sequences import History
from .counts import Counts
from .items import ItemFacts

# Who scores candidates: the spoke, the part of its score that is behaviour, the hub alone, item-to-item CF.
SCORERS = ("spoke", "behaviour", "hub", "item_cf")
# An event of a session weighs so much relative to the one after it.
AFFINITY_DECAY = 0.9
HOUR_US = DAY_US // 24


@dataclass(frozen=True)
class Feature:
    """A column by its name: what it says, and whether more of it may only help (1), only harm (-1) or either (0)."""

    name: str
    says: str
    monotone: int = 0


FEATURES: tuple[Feature, ...] = (
    Feature("spoke_score", "score of the spoke, in standard deviations from the mean of the candidates"),
    Feature("behaviour_score", "the same of the part of that score that is not content"),
    Feature("hub_score", "the same of the hub alone: how alike the contents are to those of the session", 1),
    Feature("item_cf_score", "the same of item-to-item CF: how often it was met with the last ten items", 1),
    Feature("spoke_rank", "place among the candidates by the spoke's score"),
    Feature("behaviour_rank", "place by the behavioural part"),
    Feature("hub_rank", "place by the hub's score", -1),
    Feature("item_cf_rank", "place by item-to-item CF", -1),
    Feature("popularity", "logarithm of the item's events over those of the mean item", 1),
    Feature("popularity_28d", "the same of the last 28 days", 1),
    Feature("popularity_7d", "the same of the last 7 days", 1),
    Feature("momentum", "popularity of the last 7 days less that of the last 28"),
    Feature("item_idle_days", "days since anybody took the item"),
    Feature("item_known_days", "days since anybody first took it"),
    Feature("taken_again", "share of its events by shoppers who had taken it before"),
    Feature("times_taken", "how often the shopper took the item"),
    Feature("days_since_taken", "days since the shopper last took it"),
    Feature("events_since_taken", "events of the shopper since then"),
    Feature("price", "price"),
    Feature("price_ratio", "logarithm of the price over the median price of the session"),
    Feature("margin", "share of the price that is not cost"),
    Feature("in_stock", "1 for an item that is available, 0 for one that is not", 1),
    Feature("item_age_days", "days since the item came into the catalog"),
    Feature("category_affinity", "share of the session, recent events first, in the item's category"),
    Feature("department_affinity", "the same of the first part of the category path"),
    Feature("brand_affinity", "the same of the brand"),
    Feature("session_length", "events that the shopper is known by"),
    Feature("shopper_idle_days", "days since the shopper's last event"),
    Feature("hour", "hour of that event, UTC"),
    Feature("weekday", "its day of the week, Monday is 0"),
)
NAMES = tuple(feature.name for feature in FEATURES)
# What more of the spoke's own score means where trees may add to what it says and never take it back.
SPOKE_SAYS = {"spoke_score": 1, "behaviour_score": 1, "spoke_rank": -1, "behaviour_rank": -1}


@dataclass(frozen=True, eq=False)
class Request:
    """Whom candidates are ranked for: the shopper's events, oldest first, and two vectors (D,) that were made of them.

    `moment` is when the list is asked for, in microseconds; by default the shopper's last event, or the newest that is
    counted where that is later.
    """

    history: History
    query: FloatArray  # the spoke's
    hub_query: FloatArray  # the hub's alone; zero outside the columns of content
    exclude_seen: bool = False
    moment: int | None = None


@dataclass(frozen=True, eq=False)
class CatalogFeatures:
    """Makes features over one catalog, of what it says of its items and of what shoppers did with them."""

    items: ItemFacts
    counts: Counts
    clock: bool  # whether timestamps tell the time of day

    def matrix(self, request: Request, rows: IntArray, scores: Mapping[str, AnyFloatArray]) -> FloatArray:
        """(n, F) the features of n candidates, by row, with the scores (n,) that each of `SCORERS` gives them."""
        moment = self._moment(request)
        columns: list[AnyFloatArray] = [standardised(scores[name]) for name in SCORERS]
        columns += [places(scores[name]) for name in SCORERS]
        columns += [*self._popularity[:, rows]]
        columns += self._of_items(rows, moment)
        columns += self._of_shopper(request.history, rows, moment)
        columns += self._of_catalog(request.history, rows, moment)
        made = np.empty((len(rows), len(FEATURES)), np.float32)
        for place, column in enumerate(columns):
            made[:, place] = column
        made[:, len(columns) :] = self._context(request.history, moment)
        return made

    def _moment(self, request: Request) -> int:
        if request.moment is not None:
            return request.moment
        times = request.history.timestamps
        return max(self.counts.moment, int(times[-1]) if times is not None and len(times) else 0)

    @cached_property
    def _popularity(self) -> FloatArray:
        """(4, N) how much more than the mean item each was taken, of all time and lately, and how that changes."""
        taken = self.counts.taken.T.astype(np.float64)  # (1 + W, N)
        more = np.log((taken + 1) / (taken.mean(axis=1, keepdims=True) + 1))
        if not self.counts.dated:
            more[1:] = np.nan
        return np.vstack([more, more[2] - more[1]]).astype(np.float32)

    def _of_items(self, rows: IntArray, moment: int) -> list[AnyFloatArray]:
        counts = self.counts
        known = counts.taken[rows, 0] > 0
        dated = known & counts.dated
        idle, age = (_days(moment, times[rows], dated) for times in (counts.last, counts.first))
        return [idle, age, np.where(known, counts.again[rows], np.nan)]

    def _of_shopper(self, history: History, rows: IntArray, moment: int) -> list[AnyFloatArray]:
        own = history.items
        if not len(own):
            return [np.zeros(len(rows)), *[np.full(len(rows), np.nan)] * 2]
        # Newest first, so that the first place of an item is that of its last event.
        known, newest, times = np.unique(own[::-1], return_index=True, return_counts=True)
        place, met = _found(known, rows)
        days: DoubleArray = np.full(len(rows), np.nan)
        if history.timestamps is not None:
            days = _days(moment, history.timestamps[::-1][newest[place]], met & self.counts.dated)
        return [np.where(met, times[place], 0), days, np.where(met, newest[place], np.nan)]

    def _of_catalog(self, history: History, rows: IntArray, moment: int) -> list[AnyFloatArray]:
        items, own = self.items, history.items
        paid = items.price[own]
        paid = paid[~np.isnan(paid)]
        usual = float(np.median(paid)) if len(paid) else np.nan
        weights = np.power(AFFINITY_DECAY, np.arange(len(own))[::-1], dtype=np.float64)
        created = items.created[rows]
        return [
            items.price[rows],
            np.log(items.price[rows].astype(np.float64) / usual),
            items.margin[rows],
            items.available[rows].astype(np.float32),
            _days(moment, created, ~np.isnan(created)),
            *(affinity(codes[own], weights, codes[rows]) for codes in (items.category, items.department, items.brand)),
        ]

    def _context(self, history: History, moment: int) -> tuple[float, ...]:
        times, nothing = history.timestamps, float("nan")
        if times is None or not len(times) or not self.counts.dated:
            return len(history), nothing, nothing, nothing
        last = int(times[-1])
        hour = last // HOUR_US % 24 if self.clock else nothing
        # The first of January 1970 was a Thursday.
        return len(history), max(0.0, (moment - last) / DAY_US), hour, (last // DAY_US + 3) % 7


def standardised(scores: AnyFloatArray) -> DoubleArray:
    """(n,) deviations from the mean in standard deviations; zero where all are the same, NaN where all are unknown."""
    values = scores.astype(np.float64)
    spread = values.std()
    return np.asarray((values - values.mean()) / (spread if spread > 0 or np.isnan(spread) else 1.0))


def places(scores: AnyFloatArray) -> DoubleArray:
    """(n,) 1 + the number of strictly higher scores; NaN where they are unknown."""
    if not len(scores) or np.isnan(scores[0]):
        return np.full(len(scores), np.nan)
    ordered = np.sort(-scores)
    return np.asarray(1.0 + np.searchsorted(ordered, -scores, side="left"))


def affinity(met: IntArray, weights: DoubleArray, codes: IntArray) -> DoubleArray:
    """(n,) share of the weight (T,) of a session whose code is `codes` (n,); NaN for an item, or session, without any.

    `met` (T,) are the codes of the session's items.
    """
    told = met >= 0
    if not told.any():
        return np.full(len(codes), np.nan)
    known, place = np.unique(met[told], return_inverse=True)
    shares = np.bincount(place, weights[told]) / weights[told].sum()
    at, found = _found(known, codes)
    return np.where(codes < 0, np.nan, np.where(found, shares[at], 0.0))


def _found(known: IntArray, wanted: IntArray) -> tuple[IntArray, BoolArray]:
    """(n,) places of what is wanted in sorted `known`, and whether it is there."""
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return place, known[place] == wanted


def _days(moment: int, times: AnyFloatArray | IntArray, told: BoolArray) -> DoubleArray:
    """(n,) days from `times` to a moment, none below zero; NaN where the time is not told."""
    return np.where(told, np.maximum(moment - times, 0) / DAY_US, np.nan)

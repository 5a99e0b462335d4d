"""What each exposed shopper did within the window from the first list on, arm by arm; plain tables in and out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import polars as pl

from ..catalog.exposures import Arm
from ..catalog.purchases import purchases
from ..catalog.shopper_events import RECOMMENDATION_ID
from ..errors import InvalidDataError

_LIST = (RECOMMENDATION_ID, "shopper")


@dataclass(frozen=True)
class Outcomes:
    """The exposures of one experiment and what followed, as of a moment.

    Shoppers count once their window is over. Whoever was shown both arms is in none.
    """

    exposures: pl.DataFrame  # `EXPOSURE_SCHEMA`
    actions: pl.DataFrame  # `ACTION_SCHEMA`
    items: pl.DataFrame  # the catalog
    window: timedelta
    at: datetime
    popular: frozenset[str] | None = None  # products that are no long tail; None where there is none

    @cached_property
    def lists(self) -> pl.DataFrame:
        """Every list once, the oldest first."""
        return self.exposures.sort("at", maintain_order=True).unique(
            RECOMMENDATION_ID, keep="first", maintain_order=True
        )

    @cached_property
    def _all_shoppers(self) -> pl.DataFrame:
        first = pl.col("at").first().alias("first")
        found = self.lists.group_by("shopper", maintain_order=True).agg(
            first, pl.col("arm").first(), pl.col("arm").n_unique().alias("arms")
        )
        return found.with_columns((pl.col("first") + self.window).alias("last"))

    @cached_property
    def shoppers(self) -> pl.DataFrame:
        """Whoever was shown one arm: `shopper`, `arm`, the window's `first` moment and its end, `last`."""
        return self._all_shoppers.filter(pl.col("arms") == 1).drop("arms")

    @property
    def mixed(self) -> int:
        """Shoppers who were shown both arms."""
        return self._all_shoppers.height - self.shoppers.height

    @cached_property
    def counted(self) -> pl.DataFrame:
        """Those of them whose window is over."""
        return self.shoppers.filter(pl.col("last") <= self.at)

    @cached_property
    def shown(self) -> pl.DataFrame:
        """The lists that they were shown within it."""
        own = self.lists.join(self.counted.select("shopper", "first", "last"), on="shopper", maintain_order="left")
        return own.filter(pl.col("at") < pl.col("last"))

    @cached_property
    def _done(self) -> pl.DataFrame:
        """What they did within it; an item of the experiment's lists, named together with its list, is `listed`."""
        own = self.actions.join(
            self.counted.select(pl.col("shopper").alias("user_id"), "first", "last"), on="user_id", how="inner"
        )
        own = own.filter(pl.col("timestamp") >= pl.col("first"), pl.col("timestamp") < pl.col("last"))
        own = own.rename({"user_id": "shopper"})
        own = own.join(self.shown.select(*_LIST, "items"), on=_LIST, how="left")
        return own.with_columns(pl.col("items").list.contains(pl.col("item_id")).fill_null(False).alias("listed"))

    @property
    def names_lists(self) -> bool:
        """Whether anything that they did names the list that it followed."""
        return bool(self._done["listed"].any())

    @cached_property
    def _bought(self) -> tuple[pl.DataFrame, str | None]:
        try:
            return purchases(self._done, self.items), None
        except InvalidDataError as error:
            none = pl.lit(None, pl.Float64)
            bought = self._done.filter(pl.col("event_type") == "purchase")
            return bought.with_columns(none.alias("revenue"), none.alias("cost")), str(error)

    @property
    def bought(self) -> pl.DataFrame:
        """Their purchases, with `revenue` and `cost` where they are known."""
        return self._bought[0]

    @property
    def unpriced(self) -> str | None:
        """Why no purchase has a revenue, where they cannot be added."""
        return self._bought[1]

    @cached_property
    def _clicked(self) -> pl.DataFrame:
        """Products of lists that were clicked or viewed there, each once."""
        done = self._done.filter(pl.col("listed"), pl.col("event_type").is_in(("click", "view")))
        return done.unique((*_LIST, "item_id"))

    @cached_property
    def table(self) -> pl.DataFrame:
        """A row for each of them: `arm`, `impressions` and what was done, 0 where nothing was."""
        popular = pl.Series(sorted(self.popular or ()), dtype=pl.String).implode()
        revenue, cost = pl.col("revenue").fill_null(0.0), pl.col("cost").fill_null(0.0)
        parts = [
            self.shown.group_by("shopper").agg(pl.col("items").list.len().sum().alias("impressions")),
            self._clicked.group_by("shopper").agg(pl.len().alias("clicks")),
            self.bought.group_by("shopper").agg(
                pl.len().alias("purchases"),
                revenue.sum(),
                (revenue - cost).sum().alias("margin"),
                revenue.filter(pl.col("listed")).sum().alias("listed_revenue"),
                revenue.filter(~pl.col("item_id").is_in(popular)).sum().alias("tail_revenue"),
            ),
        ]
        made = self.counted
        for part in parts:
            made = made.join(part, on="shopper", how="left", maintain_order="left")
        made = made.with_columns((pl.col("purchases") > 0).alias("buyers")).drop("first", "last")
        return made.with_columns(pl.all().exclude("shopper", "arm").cast(pl.Float64).fill_null(0.0))

    def impressions(self, target: Arm) -> pl.DataFrame:
        """A row for each product of each list, as `evaluate business --log` reads it.

        `logged` is the probability with which the shopper's arm was drawn, `target` that of a policy which shows
        everybody the arm `target`; revenue is that of purchases that name the list.
        """
        listed = self.bought.filter(pl.col("listed")).group_by(*_LIST, "item_id")
        earned = listed.agg(pl.col("revenue").sum(), pl.col("cost").sum(), pl.col("cost").null_count().alias("unknown"))
        rows = self.shown.select(*_LIST, "arm", pl.col("propensity").alias("logged"), "release", item_id="items")
        rows = rows.with_columns(position=pl.int_ranges(1, pl.col("item_id").list.len() + 1))
        rows = rows.explode("item_id", "position").drop_nulls("item_id")
        rows = rows.join(earned, on=(*_LIST, "item_id"), how="left", maintain_order="left")
        rows = rows.with_columns(
            pl.col("revenue").fill_null(0.0),
            pl.col("cost").fill_null(0.0),
            (pl.col("arm") == target).cast(pl.Float64).alias("target"),
        )
        known = ["cost"] if earned.height and not earned["unknown"].sum() else []
        columns = ("revenue", *known, "logged", "target", "arm", "release", RECOMMENDATION_ID, "item_id", "position")
        return rows.select(pl.col("shopper").alias("user_id"), *columns)

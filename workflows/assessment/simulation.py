"""A SIMULATION of what a version would have earned: held-out purchases, counted by where it ranks them.

Every shopper is taken to have bought without the list what was held out, and to look at place r with probability
1 / log2(1 + r). It ranks versions; it forecasts no revenue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ...catalog.purchases import purchases
from ...errors import InvalidDataError
from ...evaluation.business import Earnings, simulated_metrics
from ...registry.records import MetricRecord, SnapshotRecord
from ..datasets import find_snapshot, read_table
from ..evaluations import Evaluations
from ..long_tail import NO_TAIL, popular_products
from .records import metric_records

if TYPE_CHECKING:
    from ...evaluation.protocols import Protocol
    from ..context import Context
    from .subject import Named

KEY, ROW = ("user_id", "item_id"), "row"


@dataclass(frozen=True)
class Simulation:
    """The simulated metrics of a version, and what they rest on."""

    metrics: tuple[MetricRecord, ...]
    protocol: Protocol
    events: SnapshotRecord
    n_shoppers: int
    n_purchases: int
    notes: tuple[str, ...]


def simulate(context: Context, named: Named, protocol: Protocol | None, k: int, events: str | None) -> Simulation:
    """What lists of `k` of a version would have earned on the purchases that the protocol holds out."""
    snapshot = find_snapshot(context, named.domain, "events", events)
    catalog = find_snapshot(context, named.domain, "items")
    if snapshot is None or catalog is None:
        raise InvalidDataError(f"{named.domain} has no purchases to simulate on; ingest its events first.")
    table = read_table(context, snapshot).with_row_index(ROW)
    bought = purchases(table, read_table(context, catalog)).filter(pl.col("revenue").is_not_null())
    if bought.is_empty():
        raise InvalidDataError(
            f"{snapshot.ref} tells the revenue of no purchase; give purchases a value, or the catalog prices."
        )
    ranks, measured_by = Evaluations(context).held_out(named.domain, named.serves, protocol, events=snapshot.ref)
    held_out, before = split_purchases(bought, table, measured_by)
    rows = ranks.join(held_out, on=KEY)
    if rows.is_empty():
        raise InvalidDataError(
            f"Nothing that {measured_by.describe()} holds out is a purchase with a revenue; choose another protocol."
        )
    popular, left_out = popular_products(before), ranks.height - rows.height
    shoppers = rows["user_id"].rank("dense").cast(pl.Int64).to_numpy()
    found = simulated_metrics(shoppers, rows["rank"].to_numpy(), _earnings(rows, popular), k)
    return Simulation(
        metrics=tuple(metric_records("all", {name: own.estimate() for name, own in found.items()})),
        protocol=measured_by,
        events=snapshot,
        n_shoppers=rows["user_id"].n_unique(),
        n_purchases=rows.height,
        notes=tuple(_notes(popular, left_out, ranks.height)),
    )


def split_purchases(
    bought: pl.DataFrame, events: pl.DataFrame, protocol: Protocol
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Revenue and cost of what is held out, by shopper and product, and the purchases before.

    Both tables have the place of each event as `row`.
    """
    if protocol.name == "leave-one-out":
        order = ["user_id", "timestamp", "position"]
        last = events.sort(order, maintain_order=True, nulls_last=True)
        is_last = pl.col(ROW).is_in(last.unique("user_id", keep="last")[ROW].implode())
        return bought.filter(is_last).select(*KEY, "revenue", "cost"), bought.filter(~is_last)
    start, end = protocol.window()
    inside = pl.col("timestamp") >= start
    if end is not None:
        inside &= pl.col("timestamp") < end
    # A sum of costs of which one is missing is none.
    cost = pl.when(pl.col("cost").is_not_null().all()).then(pl.sum("cost")).alias("cost")
    return bought.filter(inside).group_by(KEY).agg(pl.sum("revenue"), cost), bought.filter(pl.col("timestamp") < start)


def _earnings(rows: pl.DataFrame, popular: frozenset[str] | None) -> Earnings:
    revenue = rows["revenue"].to_numpy()
    margin = None if rows["cost"].null_count() else revenue - rows["cost"].to_numpy()
    tail = None if popular is None else np.array([item not in popular for item in rows["item_id"]])
    return Earnings(revenue, margin, tail)


def _notes(popular: frozenset[str] | None, left_out: int, n_held_out: int) -> Iterator[str]:
    if popular is None:
        yield NO_TAIL
    if left_out:
        yield f"{left_out:,} of {n_held_out:,} held-out events are no purchases with a revenue, and are left out"

"""A table of impressions, what each earned and how likely it was, weighted as another version would have shown them.

Columns: `user_id`, `revenue`, `logged` and `target`; where they are known `cost`, and `seller_rank`, the place of the
seller by the revenue of an earlier time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from ...arrays import DoubleArray
from ...catalog.parsing.numbers import numbers
from ...catalog.tables import Files, load_table
from ...errors import InvalidDataError
from ...evaluation.business import TOP_SELLERS, Earnings, business_metrics
from ...evaluation.off_policy import Weighted, weigh
from ...registry.records import MetricRecord
from .records import metric_records

NEEDED = ("user_id", "revenue", "logged", "target")


@dataclass(frozen=True)
class Measurement:
    """The metrics of a version, and the weighted rows that they rest on."""

    weighted: Weighted
    metrics: tuple[MetricRecord, ...]


def measure_log(log: Files, clip: float | None = None) -> Measurement:
    """The business metrics that a table of impressions supports; refused where it supports none."""
    frame = load_table(log).frame
    missing = [name for name in NEEDED if name not in frame.columns]
    if missing:
        raise InvalidDataError(
            f"The log has no column {', '.join(missing)}; give {', '.join(NEEDED)} of each impression "
            "(docs/business.md)."
        )
    shoppers = frame["user_id"].cast(pl.String)
    if shoppers.null_count():
        raise InvalidDataError(f"{shoppers.null_count()} impressions have no user_id; name whoever saw them.")
    weighted = weigh(
        shoppers.rank("dense").cast(pl.Int64).to_numpy(),
        _numbers(frame, "logged"),
        _numbers(frame, "target"),
        clip=clip,
    )
    found = business_metrics(weighted, _earnings(frame))
    return Measurement(weighted, tuple(metric_records("all", {name: own.estimate() for name, own in found.items()})))


def _earnings(frame: pl.DataFrame) -> Earnings:
    """What each row earned; cost and seller count where something was bought, and must be known there."""
    revenue = np.nan_to_num(_numbers(frame, "revenue"))
    bought = revenue != 0
    known = {name: _numbers(frame, name) for name in ("cost", "seller_rank") if name in frame.columns}
    for name, values in known.items():
        missing = int(np.isnan(values[bought]).sum())
        if missing:
            raise InvalidDataError(
                f"{missing} of {int(bought.sum())} impressions with revenue have no {name}; fill it, or drop "
                "the column."
            )
    margin = np.where(bought, revenue - known["cost"], 0.0) if "cost" in known else None
    return Earnings(revenue, margin, known["seller_rank"] > TOP_SELLERS if "seller_rank" in known else None)


def _numbers(frame: pl.DataFrame, name: str) -> DoubleArray:
    """A column as numbers, NaN where nothing stands."""
    found = numbers(frame[name])
    if found.bad.any():
        cell = frame[name].filter(found.bad)[0]
        raise InvalidDataError(f"{name} of the log holds {cell!r}, which is no number; correct it.")
    return found.values.cast(pl.Float64).fill_null(np.nan).to_numpy()

"""What each user got in an evaluation, as a Parquet file: what two evaluations are compared by later.

One row per slice and user who has a target there, one column per metric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ..arrays import DoubleArray
from ..errors import InvalidDataError, NotFoundError
from .evaluate import SliceResult

FILE = "users.parquet"


@dataclass(frozen=True)
class UserValues:
    """One metric on one slice: (U,) users and (U,) what each of them got."""

    users: tuple[str, ...]
    values: DoubleArray


def write_user_values(file: Path, slices: Mapping[str, SliceResult]) -> None:
    """Write the values of every slice; equal values give the same bytes."""
    tables = [
        pl.DataFrame({"slice": [name] * len(part.users), "user_id": list(part.users), **part.metrics})
        for name, part in slices.items()
    ]
    # A slice may lack a metric that another has.
    pl.concat(tables, how="diagonal").write_parquet(file, compression="zstd")


def read_user_values(file: Path, slice_name: str, metric: str) -> UserValues:
    """What each user of a slice got by one metric, in the order of the evaluation."""
    # A gate may read this years later, from a store that others write to as well.
    try:
        table = pl.read_parquet(file, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InvalidDataError(f"{file} holds no values per user ({error}); evaluate again.") from error
    rows = table.filter(pl.col("slice") == slice_name)
    if metric not in table.columns or rows.is_empty() or rows[metric].null_count():
        raise NotFoundError(f"{metric} on {slice_name} is not among the values of {file}; evaluate it again.")
    return UserValues(tuple(rows["user_id"].to_list()), rows[metric].to_numpy())

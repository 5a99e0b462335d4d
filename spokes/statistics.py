"""Behaviour statistics per item, counted over training events alone and frozen with the spoke.

What may be counted is cut user by user: nothing from a user's first held-out event on is. Items without events, and
every item of a later catalog that training never met, get the prior and a flag.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from ..catalog.sequences import IntArray, Sequences
from ..hub.calibration import FloatArray

DAY_US = 86_400_000_000
SHOWN = "impression"
# Name of a rate, events that succeed, events that try: of either list the first type that occurs in the data.
RATES = (
    ("click-through", ("click", "view"), (SHOWN,)),
    ("cart per view", ("cart",), ("view", "click")),
    ("purchase per view", ("purchase",), ("view", "click")),
)
RECENCY = "recency"
LAST = "last"


class StatisticsConfig(BaseModel):
    """How behaviour statistics are smoothed and read.

    Attributes:
        prior_strength: weight of the catalog's mean in an item's rates, in trials.
        hidden: width of the layer over all columns.
        dropout: share of items that look like new ones in a training step. Items without events are never the target
            of a training step; without this the flag alone would come to mean "not this one".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prior_strength: float = Field(default=20.0, gt=0.0)
    hidden: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)


@dataclass(frozen=True)
class ItemStatistics:
    """Log-scaled statistics of a catalog's items, each column with mean 0 and deviation 1 over items with events.

    Attributes:
        columns: what the K columns are: event types, rates, recency.
        item_ids: (M,) items with training events.
        values: (M, K) their statistics.
        prior: (K,) those of every other item.
    """

    columns: tuple[str, ...]
    item_ids: tuple[str, ...]
    values: FloatArray
    prior: FloatArray

    @property
    def fingerprint(self) -> str:
        """SHA-256 over columns, items and numbers."""
        digest = hashlib.sha256(json.dumps([self.columns, self.item_ids]).encode())
        digest.update(self.values.tobytes())
        digest.update(self.prior.tobytes())
        return digest.hexdigest()

    @property
    def new_item(self) -> FloatArray:
        """(K + 1,) what is known of an item without events: the prior and the flag."""
        return np.append(self.prior, np.float32(1.0))

    def encode(self, item_ids: Sequence[str]) -> FloatArray:
        """(N, K + 1) statistics of any items and the flag of those without events."""
        place = {item: row for row, item in enumerate(self.item_ids)}
        rows = np.array([place.get(item, len(place)) for item in item_ids], dtype=np.int64)
        known = np.concatenate([self.values, np.zeros((len(self.values), 1), np.float32)], axis=1)
        encoded: FloatArray = np.concatenate([known, self.new_item[None, :]])[rows]
        return encoded

    def save(self, directory: Path) -> None:
        """Write statistics.json and statistics.safetensors."""
        about = {"columns": self.columns, "items": self.item_ids}
        (directory / "statistics.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        save_file({"values": self.values, "prior": self.prior}, directory / "statistics.safetensors")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            OSError, ValueError, KeyError, SafetensorError: a file is missing, unreadable or does not fit the other.
        """
        about = json.loads((directory / "statistics.json").read_text(encoding="utf-8"))
        arrays = load_file(directory / "statistics.safetensors")
        made = cls(tuple(about["columns"]), tuple(about["items"]), arrays["values"], arrays["prior"])
        shape = (len(made.item_ids), len(made.columns))
        if made.values.shape != shape or made.prior.shape != shape[1:]:
            raise ValueError(f"statistics of shape {made.values.shape} for {shape}")
        return made


def counted_events(
    events: pl.DataFrame, item_ids: pl.Series, whole: Sequences, train: Sequences, until: int | None = None
) -> pl.DataFrame:
    """The raw events that training may count: of each user those before the first event that is held out.

    Sequences have lost the event types and all repeats, so the table is cut itself, in the order in which sessions were
    cut from it (user, time, position; ties as in the table). A purchase right after a held-out view of the same item,
    which the sequences collapse into one event, lies behind the cut with it. Users of whom nothing is held out count
    with all they have, as they do in training.

    Args:
        events: table of the event schema.
        item_ids: the catalog's, in row order.
        whole: all sequences over that catalog.
        train: those of them that training sees: of each user the first events.
        until: microseconds UTC; nothing from there on counts, whoever did it. For a split in time.
    """
    keys = ["user_id", "timestamp", *(["position"] if "position" in events.columns else [])]
    ordered = events.sort(keys, maintain_order=True, nulls_last=True).with_row_index("row")
    held = _held_out(whole, train, item_ids)
    first = (
        ordered.join(held, on=["user_id", "timestamp", "item_id"], how="semi")
        .group_by("user_id")
        .agg(pl.col("row").min().alias("first"))
    )
    kept = ordered.join(first, on="user_id", how="left", maintain_order="left")
    kept = kept.filter(pl.col("first").is_null() | (pl.col("row") < pl.col("first"))).drop("row", "first")
    return kept if until is None else kept.filter(pl.col("timestamp").cast(pl.Int64) < until)


def fit_statistics(
    events: pl.DataFrame, config: StatisticsConfig, *, recency: bool = True, columns: Sequence[str] | None = None
) -> ItemStatistics:
    """Statistics of the items that occur in training events; searches do not count.

    Args:
        events: `item_id`, `timestamp`, `event_type`; only what `counted_events` lets through.
        config: smoothing.
        recency: whether timestamps are times; they are not where data has an order only.
        columns: what an encoder that was trained before reads, in its order: other columns are left out, and one that
            these events do not give says nothing. None takes all that there are.
    """
    return statistics_of(count_events(events), config, recency=recency, columns=columns)


def count_events(events: pl.DataFrame) -> pl.DataFrame:
    """What statistics are made of, for `add_counts` and `statistics_of`.

    Args:
        events: `item_id`, `timestamp`, `event_type`; searches do not count.

    Returns:
        Per item, sorted: `item_id`, `last` (microseconds of the last event that was more than being shown, null where
        there is none), and a column with the number of its events of each type that occurs.
    """
    own = events.filter(pl.col("item_id").is_not_null() & (pl.col("event_type") != "search"))
    types = sorted(own["event_type"].unique())
    acted = pl.col("timestamp").filter(pl.col("event_type") != SHOWN)
    counts = own.group_by("item_id").agg(
        acted.max().cast(pl.Int64).alias(LAST),
        *((pl.col("event_type") == kind).sum().cast(pl.Int64).alias(kind) for kind in types),
    )
    return counts.sort("item_id")


def add_counts(counts: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    """The counts of two sets of events together."""
    both = pl.concat([counts, more], how="diagonal")
    types = sorted(name for name in both.columns if name not in ("item_id", LAST))
    summed = both.group_by("item_id").agg(pl.col(LAST).max(), *(pl.col(kind).sum() for kind in types))
    return summed.sort("item_id")


def statistics_of(
    counts: pl.DataFrame, config: StatisticsConfig, *, recency: bool = True, columns: Sequence[str] | None = None
) -> ItemStatistics:
    """Statistics of counted events.

    Args:
        counts: of all events that training may count.
        config: smoothing.
        recency: as in `fit_statistics`.
        columns: likewise.
    """
    types = counts.columns[2:]
    found = {kind: _log_counts(counts[kind].to_numpy()) for kind in types}
    for name, success, trial in _rates(types):
        found[name] = _log_rate(counts[success].to_numpy(), counts[trial].to_numpy(), config.prior_strength)
    if recency and counts[LAST].null_count() < counts.height:
        found[RECENCY] = _log_days(counts[LAST])
    silent = np.zeros(counts.height, np.float32), 0.0
    wanted = tuple(found) if columns is None else tuple(columns)
    return _standardised([(name, *found.get(name, silent)) for name in wanted], counts["item_id"].to_list())


class StatisticsEncoder(nn.Module):
    """Statistics of items as vectors: one hidden layer and an output that starts at zero.

    Args:
        statistics: what new items look like, and how many columns there are.
        config: width and dropout.
        dimension: D, columns of the output.
    """

    new_item: Tensor

    def __init__(self, statistics: ItemStatistics, config: StatisticsConfig, dimension: int) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.register_buffer("new_item", torch.from_numpy(statistics.new_item), persistent=False)
        self.hidden = nn.Linear(len(statistics.new_item), config.hidden)
        self.output = nn.Linear(config.hidden, dimension)
        self.initialise()

    def initialise(self) -> None:
        """The hidden layer Xavier uniform, the output zero: the encoder starts as nothing."""
        nn.init.xavier_uniform_(self.hidden.weight)
        nn.init.zeros_(self.hidden.bias)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, rows: Tensor) -> Tensor:
        """(N, K + 1) statistics to (N, D); in training, a share of the items looks like new ones."""
        if self.training and self.dropout:
            rows = self.as_new(rows, torch.rand(len(rows), device=rows.device) < self.dropout)
        out: Tensor = self.output(nn.functional.gelu(self.hidden(rows)))
        return out

    def as_new(self, rows: Tensor, where: Tensor) -> Tensor:
        """(N, K + 1) the statistics, with those of a new item where `where` (N,) is true."""
        return torch.where(where[:, None], self.new_item, rows)


def _held_out(whole: Sequences, train: Sequences, item_ids: pl.Series) -> pl.DataFrame:
    """`user_id`, `timestamp` and `item_id` of every event that training does not see."""
    users = np.repeat(whole.users, whole.lengths)
    order = np.lexsort((whole.timestamps, users))
    users = users[order]
    rank = np.arange(len(users)) - np.searchsorted(users, users)
    kept = np.bincount(np.repeat(train.users, train.lengths), minlength=len(whole.user_ids))
    held = rank >= kept[users]
    rows: IntArray = order[held]
    moments = pl.Series("timestamp", whole.timestamps[rows]).cast(pl.Datetime("us", "UTC"))
    names = pl.Series("user_id", whole.user_ids, dtype=pl.String)
    return pl.DataFrame(
        [names.gather(users[held]), moments, item_ids.cast(pl.String).gather(whole.items[rows]).alias("item_id")]
    )


def _rates(types: Sequence[str]) -> list[tuple[str, str, str]]:
    """Name, success and trial of each rate that the event types allow."""
    found = []
    for name, successes, trials in RATES:
        success = next((kind for kind in successes if kind in types), None)
        trial = next((kind for kind in trials if kind in types), None)
        if success and trial:
            found.append((name, success, trial))
    return found


def _log_counts(counts: IntArray) -> tuple[FloatArray, float]:
    """(M,) log(1 + count), and what an item without events has: log 1."""
    return np.log1p(counts).astype(np.float32), 0.0


def _log_rate(successes: IntArray, trials: IntArray, strength: float) -> tuple[FloatArray, float]:
    """(M,) log of the posterior mean rate under a Beta prior with the catalog's mean, and the log of that mean.

    (strength * mean + x) / (strength + n). Logs that miss trials may hold more successes than trials; the surplus does
    not count, so that a rate stays below 1.
    """
    x = np.minimum(successes, trials)
    # Half an event keeps the logarithm finite where nothing has ever succeeded.
    mean = (x.sum() + 0.5) / (trials.sum() + 1.0)
    return np.log((strength * mean + x) / (strength + trials)).astype(np.float32), float(np.log(mean))


def _log_days(last: pl.Series) -> tuple[FloatArray, float]:
    """(M,) log(1 + days) from an item's last event to the last event of all, and the mean over items.

    Items that were shown only get the mean too: nobody has done anything with them yet.
    """
    age = pl.col(LAST).max() - pl.col(LAST)
    logs = pl.DataFrame({LAST: last}).select((age / DAY_US).log1p())[LAST]
    mean = float(np.mean(logs.drop_nulls().to_numpy()))
    return logs.fill_null(mean).to_numpy().astype(np.float32), mean


def _standardised(columns: list[tuple[str, FloatArray, float]], item_ids: list[str]) -> ItemStatistics:
    """The columns with mean 0 and deviation 1 over the items, their priors on the same scale."""
    values = np.zeros((len(item_ids), len(columns)), np.float32)
    prior = np.zeros(len(columns), np.float32)
    for k, (_, own, default) in enumerate(columns if item_ids else ()):
        mean, deviation = float(own.mean()), float(own.std())
        # A column that says the same of every item says nothing.
        if deviation > 1e-6:
            values[:, k], prior[k] = (own - mean) / deviation, (default - mean) / deviation
    return ItemStatistics(tuple(name for name, _, _ in columns), tuple(item_ids), values, prior)

"""Behaviour statistics per item, counted over training events alone; an item without any gets the prior and a flag."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from ...arrays import FloatArray, IntArray
from ...catalog.parsing import DAY_US
from ...catalog.sequences import Sequences
from ..config import StatisticsConfig
from ..layers import start_at_zero, start_xavier

SHOWN = "impression"
# Name of a rate, events that succeed, events that try: of either list the first type that occurs in the data.
RATES = (
    ("click-through", ("click", "view"), (SHOWN,)),
    ("cart per view", ("cart",), ("view", "click")),
    ("purchase per view", ("purchase",), ("view", "click")),
)
RECENCY = "recency"
LAST = "last"
PRIOR_STRENGTH = 20.0  # weight of the catalog's mean in an item's rates, in trials
HIDDEN = 32  # width of the layer over all columns


@dataclass(frozen=True)
class ItemStatistics:
    """Log-scaled statistics of a catalog's items, each column with mean 0 and deviation 1 over items with events."""

    columns: tuple[str, ...]  # what the K columns are: event types, rates, recency
    item_ids: tuple[str, ...]  # (M,) items with training events
    values: FloatArray  # (M, K) their statistics
    prior: FloatArray  # (K,) those of every other item
    # For training alone and never saved: the same counted without each fold of the users, on the same scale.
    others: tuple[ItemStatistics, ...] = ()

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
        """Read what `save` wrote; ValueError where the two files do not fit together."""
        about = json.loads((directory / "statistics.json").read_text(encoding="utf-8"))
        arrays = load_file(directory / "statistics.safetensors")
        made = cls(tuple(about["columns"]), tuple(about["items"]), arrays["values"], arrays["prior"])
        shape = (len(made.item_ids), len(made.columns))
        if made.values.shape != shape or made.prior.shape != shape[1:]:
            raise ValueError(f"statistics of shape {made.values.shape} for {shape}")
        return made


def counted_events(
    events: pl.DataFrame,  # of the event schema
    item_ids: pl.Series,  # the catalog's, in row order
    whole: Sequences,  # all over that catalog
    train: Sequences,  # those of them that training sees: of each user the first events
    until: int | None = None,  # microseconds UTC of a split in time: nothing from there on counts, whoever did it
) -> pl.DataFrame:
    """The raw events that training may count: of each user those before the first event that is held out.

    Sequences have lost all repeats, so the table is cut itself, in the order in which sessions were cut from it: a
    purchase right after a held-out view of the same item lies behind the cut with it.
    """
    users = np.repeat(whole.users, whole.lengths)
    order = np.lexsort((whole.timestamps, users))
    users = users[order]
    rank = np.arange(len(users)) - np.searchsorted(users, users)
    held = rank >= np.bincount(np.repeat(train.users, train.lengths), minlength=len(whole.user_ids))[users]
    rows = order[held]
    held_out = pl.DataFrame(
        {
            "user_id": pl.Series(whole.user_ids, dtype=pl.String).gather(users[held]),
            "timestamp": pl.Series(whole.timestamps[rows]).cast(pl.Datetime("us", "UTC")),
            "item_id": item_ids.cast(pl.String).gather(whole.items[rows]),
        }
    )
    keys = ["user_id", "timestamp", *(["position"] if "position" in events.columns else [])]
    ordered = events.sort(keys, maintain_order=True, nulls_last=True).with_row_index("row")
    found = ordered.join(held_out, on=["user_id", "timestamp", "item_id"], how="semi")
    first = found.group_by("user_id").agg(pl.col("row").min().alias("first"))
    kept = ordered.join(first, on="user_id", how="left", maintain_order="left")
    kept = kept.filter(pl.col("first").is_null() | (pl.col("row") < pl.col("first"))).drop("row", "first")
    return kept if until is None else kept.filter(pl.col("timestamp").cast(pl.Int64) < until)


def user_folds(user_ids: Sequence[str], folds: int) -> IntArray:
    """(U,) fold of each user, from 0; by a hash of the name alone, so that tables and shards agree on it.

    Cross-fitting, as in target encoding: counted over other folds, statistics do not hold the event a step asks for.
    """
    return np.fromiter((zlib.crc32(user.encode()) % folds for user in user_ids), np.int64, len(user_ids))


def count_folds(events: pl.DataFrame, folds: int) -> list[pl.DataFrame]:
    """For each fold of the users `item_id`, `last` (microseconds, null for items only shown) and events by type."""
    users = events["user_id"].unique()
    fold_of = pl.DataFrame({"user_id": users, "fold": user_folds(users.to_list(), folds)})
    wanted = events.filter(pl.col("item_id").is_not_null() & (pl.col("event_type") != "search"))
    folded = wanted.join(fold_of, on="user_id", how="left", maintain_order="left")
    acted = pl.col("timestamp").filter(pl.col("event_type") != SHOWN)
    found = []
    for fold in range(folds):
        own = folded.filter(pl.col("fold") == fold)
        types = sorted(own["event_type"].unique())
        counts = own.group_by("item_id").agg(
            acted.max().cast(pl.Int64).alias(LAST),
            *((pl.col("event_type") == kind).sum().cast(pl.Int64).alias(kind) for kind in types),
        )
        found.append(counts.sort("item_id"))
    return found


def add_counts(counts: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    """The counts of two sets of events together."""
    both = pl.concat([counts, more], how="diagonal")
    types = sorted(name for name in both.columns if name not in ("item_id", LAST))
    summed = both.group_by("item_id").agg(pl.col(LAST).max(), *(pl.col(kind).sum() for kind in types))
    return summed.sort("item_id")


def statistics_of(
    counts: Sequence[pl.DataFrame], *, recency: bool = True, columns: Sequence[str] | None = None
) -> ItemStatistics:
    """Statistics of events by fold; `recency` where they have dates, `columns` as a trained encoder reads them."""
    whole = reduce(add_counts, counts)
    reader = _Reader(whole, recency and whole[LAST].null_count() < whole.height)
    wanted = tuple(reader.names if columns is None else columns)
    made = reader.read(whole, wanted)
    folds = range(len(counts)) if len(counts) > 1 else ()
    rest = [reduce(add_counts, [own for n, own in enumerate(counts) if n != fold]) for fold in folds]
    scale = len(counts) / max(len(counts) - 1, 1)
    return replace(made, others=tuple(reader.read(own, wanted, scale) for own in rest))


class StatisticsEncoder(nn.Module):
    """Statistics of items as vectors: one hidden layer and an output that starts at zero."""

    new_item: Tensor

    def __init__(self, statistics: ItemStatistics, config: StatisticsConfig, dimension: int) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.register_buffer("new_item", torch.from_numpy(statistics.new_item), persistent=False)
        self.hidden = nn.Linear(len(statistics.new_item), HIDDEN)
        self.output = nn.Linear(HIDDEN, dimension)
        start_xavier(self.hidden)
        start_at_zero(self.output)

    def forward(self, rows: Tensor) -> Tensor:
        """(N, K + 1) statistics to (N, D); in training, a share of the items looks like new ones."""
        if self.training and self.dropout:
            new = torch.rand(len(rows), device=rows.device) < self.dropout
            rows = torch.where(new[:, None], self.new_item, rows)
        out: Tensor = self.output(nn.functional.gelu(self.hidden(rows)))
        return out


class _Reader:
    """Turns counts into columns with mean 0 and deviation 1 over the items of `whole`, the counts of all events."""

    def __init__(self, whole: pl.DataFrame, recency: bool) -> None:
        types = whole.columns[2:]
        self._rates: dict[str, tuple[str, str]] = {}  # success and trial of each rate that the event types allow
        for name, successes, attempts in RATES:
            success, trial = (next((kind for kind in own if kind in types), None) for own in (successes, attempts))
            if success and trial:
                self._rates[name] = success, trial
        self.names = [*types, *self._rates, *([RECENCY] if recency else [])]
        tried = {name: self._trials(whole, name) for name in self._rates}
        # Half an event keeps the logarithm of a rate finite where nothing has ever succeeded.
        self._means = {name: float((won.sum() + 0.5) / (of.sum() + 1.0)) for name, (won, of) in tried.items()}
        self._newest = whole[LAST].max()
        self._days = float(np.mean(_log_days(whole[LAST], self._newest).drop_nulls().to_numpy())) if recency else 0.0
        own = {name: self._raw(whole, name) for name in self.names} if whole.height else {}
        self._scales = {name: (float(values.mean()), float(values.std())) for name, values in own.items()}

    def read(self, counts: pl.DataFrame, wanted: Sequence[str], scale: float = 1.0) -> ItemStatistics:
        """The wanted columns of some counts, each times `scale`; a column that says the same of all says nothing."""
        values = np.zeros((counts.height, len(wanted)), np.float32)
        prior = np.zeros(len(wanted), np.float32)
        for k, name in enumerate(wanted):
            mean, deviation = self._scales.get(name, (0.0, 0.0))
            if deviation > 1e-6:
                values[:, k] = (self._raw(counts, name, scale) - mean) / deviation
                # An item without events has none of any type, the mean rate, the mean recency.
                rate = float(np.log(self._means[name])) if name in self._means else 0.0
                prior[k] = ((self._days if name == RECENCY else rate) - mean) / deviation
        return ItemStatistics(tuple(wanted), tuple(counts["item_id"].to_list()), values, prior)

    def _raw(self, counts: pl.DataFrame, name: str, scale: float = 1.0) -> FloatArray:
        """(M,) float32, a column before it is standardised."""
        if name == RECENCY:
            # Items that were shown only get the mean: nobody has done anything with them yet.
            return np.asarray(_log_days(counts[LAST], self._newest).fill_null(self._days).to_numpy(), np.float32)
        if name in self._rates:
            # The posterior mean under a Beta prior with the catalog's mean, which stays below 1.
            successes, trials = (own * scale for own in self._trials(counts, name))
            rates = (PRIOR_STRENGTH * self._means[name] + successes) / (PRIOR_STRENGTH + trials)
            return np.asarray(np.log(rates), np.float32)
        return np.asarray(np.log1p(_counted(counts, name) * scale), np.float32)

    def _trials(self, counts: pl.DataFrame, name: str) -> tuple[IntArray, IntArray]:
        success, trial = self._rates[name]
        trials = _counted(counts, trial)
        # Logs that miss trials may hold more successes than trials; the surplus does not count.
        return np.minimum(_counted(counts, success), trials), trials


def _counted(counts: pl.DataFrame, kind: str) -> IntArray:
    """(M,) events of a type, which part of the users may never have done."""
    return counts[kind].to_numpy() if kind in counts.columns else np.zeros(counts.height, np.int64)


def _log_days(last: pl.Series, newest: Any) -> pl.Series:
    """(M,) log(1 + days) from an item's last event to the newest of all, null where there is none."""
    logs: pl.Series = ((newest - last) / DAY_US).log1p()
    return logs

"""What everybody takes lately: columns of the item vectors that a session may ask for beside its own taste.

Behavioural scores are logits: the logarithm of a count, with weight one, multiplies what a session asks for by demand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from safetensors.numpy import load_file, save_file

from ...arrays import FloatArray, IntArray
from ...catalog.parsing import DAY_US
from ...catalog.streams import SequenceSource

SPANS = (0, 7, 28)  # last days of training whose events are counted; 0 counts all of it
UNDATED_SPANS = (0,)  # without dates there are no days


@dataclass(frozen=True)
class Trend:
    """How often items were taken in the last days of a training, and how much of it a version uses."""

    spans: tuple[int, ...]  # days counted, a column each; 0 counts all of the training
    item_ids: tuple[str, ...]  # items with an event
    counts: IntArray  # (n, W) events of each in each span

    def columns(self, item_ids: Sequence[str]) -> FloatArray:
        """(N, W) logarithms of one more than the counts of any items; 0 for those without events."""
        place = {item: row for row, item in enumerate(self.item_ids)}
        rows = np.array([place.get(item, -1) for item in item_ids], np.int64)
        none = np.zeros((1, len(self.spans)), np.int64)
        logarithms: FloatArray = np.log1p(np.concatenate([self.counts, none])[rows]).astype(np.float32)
        return logarithms

    def save(self, directory: Path) -> None:
        """Write trend.json and trend.safetensors."""
        about = {"spans": self.spans, "items": self.item_ids}
        (directory / "trend.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        save_file({"counts": self.counts}, directory / "trend.safetensors")

    @classmethod
    def load(cls, directory: Path) -> Self | None:
        """Read what `save` wrote; None where a spoke has no trend, ValueError where its two files do not fit."""
        if not any((directory / name).exists() for name in ("trend.json", "trend.safetensors")):
            return None
        about = json.loads((directory / "trend.json").read_text(encoding="utf-8"))
        counts = load_file(directory / "trend.safetensors")["counts"]
        made = cls(tuple(about["spans"]), tuple(about["items"]), counts)
        shape = (len(made.item_ids), len(made.spans))
        if counts.shape != shape:
            raise ValueError(f"counts of shape {counts.shape} for {shape}")
        return made


def trend_of(seen: SequenceSource, item_ids: Sequence[str], spans: Sequence[int]) -> Trend | None:
    """The counts of the catalog's N items over each span of days of what a spoke has seen; None without spans."""
    if not spans:
        return None
    counts = np.stack([span_counts(seen, days) for days in spans], axis=1)
    kept = np.flatnonzero(counts.any(axis=1))
    return Trend(tuple(spans), tuple(item_ids[row] for row in kept.tolist()), counts[kept])


def span_counts(seen: SequenceSource, days: int) -> IntArray:
    """(N,) events of each item in the `days` before the newest event, or in all of them with 0."""
    if not days or seen.newest is None:
        return seen.item_counts()
    start, counts = seen.newest - days * DAY_US, np.zeros(seen.n_items, np.int64)
    for number in range(seen.n_shards):
        shard = seen.shard(number)
        counts += shard.keep_events(shard.timestamps > start).item_counts()
    return counts


def trend_scores(seen: SequenceSource, spans: Sequence[int]) -> dict[int, FloatArray]:
    """(N,) what each span's column says of the catalog's items."""
    return {days: np.log1p(span_counts(seen, days)).astype(np.float32) for days in spans}

"""What an index finds and takes, measured on questions like those that it will be asked, and a kind chosen by it.

Recall@10 is the share of the ten largest inner products that are among the ten found; one that ties with the tenth
counts as it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ..arrays import DoubleArray, FloatArray
from ..errors import QualityGateError
from .base import ItemIndex
from .exact import best_first, nearest
from .kinds import FLAT

K = 10
# By what building and keeping them costs, the least first.
BY_COST = ("flat", "sq8", "ivf", "ivf-pq", "ivf-rabitq", "hnsw")
AUTO = "auto"
# Vectors up to which comparing with all of them is quick, and the p99 by which `auto` judges where none is given.
FLAT_UP_TO = 100_000
LATENCY_MS = 20.0
# Questions asked before any is timed: memory is mapped and caches are warm where an index serves.
_WARM_UP = 20


class Targets(BaseModel):
    """What is wanted of an index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recall: float = Field(default=0.99, gt=0, le=1)
    latency_ms: float | None = Field(default=None, gt=0)  # of 99 in 100 single questions
    memory_gb: float | None = Field(default=None, gt=0)  # 10^9 bytes, of the structure

    def missed(self, found: Measurement) -> list[str]:
        """What was not met, in words with both values."""
        gigabytes = found.bytes_per_vector * found.n_vectors / 1e9
        missed = []
        if found.recall < self.recall:
            missed.append(f"recall@10 {found.recall:.4f} < {self.recall:g}")
        if self.latency_ms is not None and found.p99_ms > self.latency_ms:
            missed.append(f"p99 {found.p99_ms:.2f} ms > {self.latency_ms:g} ms")
        if self.memory_gb is not None and gigabytes > self.memory_gb:
            missed.append(f"{gigabytes:.3g} GB > {self.memory_gb:g} GB")
        return missed


class IndexRequest(Targets):
    """A kind of index, or `auto`, and what is wanted of it; without a kind it is the flat one while that is quick."""

    kind: Literal["auto", "flat", "sq8", "ivf", "ivf-pq", "ivf-rabitq", "hnsw"] | None = None

    def settled(self, n: int) -> IndexRequest:
        """The same for n vectors, with a kind and, where it is to be chosen, a latency."""
        kind = self.kind or (FLAT if n <= FLAT_UP_TO else AUTO)
        latency = self.latency_ms or (LATENCY_MS if kind == AUTO else None)
        return self.model_copy(update={"kind": kind, "latency_ms": latency})


@dataclass(frozen=True)
class Measurement:
    """One index, measured."""

    kind: str
    effort: int | None  # in the kind's own unit; None where it is always the same
    n_vectors: int
    n_queries: int
    recall: float  # recall@10 against exact answers
    p50_ms: float  # one question at a time
    p99_ms: float
    per_second: float  # all questions at once
    bytes_per_vector: float  # memory of the structure
    build_seconds: float


@dataclass(frozen=True)
class Sample:
    """Questions, and the score of the tenth best answer to each."""

    queries: FloatArray  # (B, D)
    tenth: DoubleArray  # (B,)

    @classmethod
    def of(cls, vectors: FloatArray, queries: FloatArray) -> Sample:
        """The exact answers over (N, D) vectors."""
        queries = np.ascontiguousarray(queries, np.float32)
        k = min(K, len(vectors))
        if not k or not len(queries):
            return cls(queries[:0], np.zeros(0))
        return cls(queries, best_first(vectors, queries, nearest(vectors, queries, k))[1][:, -1])

    def recall(self, index: ItemIndex) -> float:
        """Recall@10 of an index; 1 where nothing can be asked."""
        if not len(self.queries):
            return 1.0
        found = index.search(self.queries, K)
        hits = [sum(score >= tenth for _, score in own) for own, tenth in zip(found, self.tenth, strict=True)]
        return float(np.minimum(hits, min(K, len(index))).mean() / min(K, len(index)))

    def tuned(self, index: ItemIndex, recall: float) -> ItemIndex:
        """The index with the least effort that reaches this recall, or its utmost."""
        for effort in index.index.efforts:
            index = index.with_effort(effort)
            if self.recall(index) >= recall:
                break
        return index

    def measured(self, index: ItemIndex, build_seconds: float = 0.0) -> Measurement:
        """What an index finds and takes."""
        single = [self._seconds(index, query[None]) for query in self.queries]
        times = np.array(single[_WARM_UP:] or single or [0.0]) * 1000
        together = self._seconds(index, self.queries)
        effort = index.index.settings.get("effort") if index.index.efforts else None
        return Measurement(
            kind=index.index.kind,
            effort=effort if isinstance(effort, int) else None,
            n_vectors=len(index),
            n_queries=len(self.queries),
            recall=round(self.recall(index), 4),
            p50_ms=round(float(np.quantile(times, 0.5)), 3),
            p99_ms=round(float(np.quantile(times, 0.99)), 3),
            per_second=round(len(self.queries) / together, 1) if len(self.queries) else 0.0,
            bytes_per_vector=round(index.index.nbytes / max(len(index), 1), 1),
            build_seconds=round(build_seconds, 2),
        )

    @staticmethod
    def _seconds(index: ItemIndex, queries: FloatArray) -> float:
        started = time.perf_counter()
        index.search(queries, K)
        return time.perf_counter() - started


@dataclass(frozen=True)
class Trial:
    """One kind that was built and measured, and what it missed of the targets."""

    index: ItemIndex = field(repr=False)
    measurement: Measurement
    missed: Sequence[str]

    @property
    def words(self) -> str:
        """What it was found to be."""
        found = self.measurement
        return f"{found.kind}: {', '.join(self.missed) or f'recall@10 {found.recall:.4f}, p99 {found.p99_ms:.2f} ms'}"


def try_kind(kind: str, flat: ItemIndex, sample: Sample, targets: Targets) -> Trial:
    """An index of that kind over the vectors of another, with the least effort that reaches the recall."""
    started, built = time.perf_counter(), flat
    if kind != flat.index.kind:
        built = ItemIndex.build(flat.vectors(), flat.item_ids, flat.space_fingerprint, kind)
    seconds = time.perf_counter() - started
    tuned = sample.tuned(built, targets.recall)
    found = sample.measured(tuned, seconds)
    return Trial(tuned, found, targets.missed(found))


def choose(request: IndexRequest, flat: ItemIndex, sample: Sample) -> tuple[Trial, list[Trial]]:
    """The index that was asked for, or the cheapest that meets the targets, and all that were tried.

    QualityGateError where none meets them.
    """
    request = request.settled(len(flat))
    tried: list[Trial] = []
    for kind in BY_COST if request.kind == AUTO else (str(request.kind),):
        tried.append(try_kind(kind, flat, sample, request))
        if not tried[-1].missed:
            return tried[-1], tried
    raise QualityGateError(
        f"No index meets the targets ({'; '.join(trial.words for trial in tried)}); ask for less with --recall, "
        "--latency-ms or --memory-gb, or for another kind with --kind."
    )

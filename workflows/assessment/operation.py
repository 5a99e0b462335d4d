"""The operational dimension: what an index costs to build, keep and ask, and would cost at ten million items."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from ...evaluation.bootstrap import Estimate, quantile_interval
from ...registry.records import MetricRecord
from ...retrieval.base import ItemIndex
from ...retrieval.measurement import Sample
from ..index_measurement import newest_histories
from .records import metric_records

if TYPE_CHECKING:
    from ..context import Context
    from .subject import Subject

# What costs are projected to, in proportion to the items.
PROJECTED = 10_000_000
QUANTILES = {"latency_p50_ms": 0.5, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}
# Questions asked before any is timed.
WARM_UP = 20


def operation(context: Context, subject: Subject) -> list[MetricRecord]:
    """What the index of a version costs, on this machine now; nothing where it has no index."""
    index, record = subject.index, subject.named.index
    if index is None or record is None or subject.first_list_seconds is None:
        return []
    context.progress.note(f"measuring {record.ref}")
    started = time.perf_counter()
    ItemIndex.build(subject.vectors, index.item_ids, index.space_fingerprint, index.index.kind)
    seconds, times = time.perf_counter() - started, PROJECTED / max(1, len(index))
    found: dict[str, Estimate | float] = {
        "index_build_seconds": record.seconds or 0.0,
        "index_rebuild_seconds": seconds,
        "index_rebuild_seconds_10m": seconds * times,
        "index_megabytes": index.index.nbytes / 1e6,
        "index_gigabytes_10m": index.index.nbytes * times / 1e9,
        "first_list_seconds": subject.first_list_seconds,
    }
    return metric_records("all", found) + _answers(context, subject, index)


def _answers(context: Context, subject: Subject, index: ItemIndex) -> list[MetricRecord]:
    """How well and how fast the newest sessions are answered, one at a time."""
    histories, _ = newest_histories(context, subject.dataset, index.item_ids)
    single = []
    for history in histories:
        started = time.perf_counter()
        subject.answer(history)
        single.append(time.perf_counter() - started)
    milliseconds = np.array(single[WARM_UP:] or single) * 1000
    recall = Sample.of(subject.vectors, subject.embed(histories)).recall(index)
    latency = {name: quantile_interval(milliseconds, level) for name, level in QUANTILES.items()}
    return metric_records("all", {"index_recall@10": recall, **latency})

"""The intrinsic dimension: what item vectors are like by themselves, part by part and for popular and rare items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...arrays import BoolArray, FloatArray, IntArray
from ...evaluation.protocols import Protocol, drawn_rows, training_mask
from ...evaluation.slices import item_slices
from ...evaluation.space import NEIGHBOURS, Neighbourhoods, measure_space
from ...registry.kinds import ModelKind
from ...registry.records import MetricRecord
from ...retrieval.neighbours import nearest_others
from ..item_groups import item_kinds
from ..loading import load_spoke
from ..models import prepare
from .records import metric_records

if TYPE_CHECKING:
    from ..context import Context
    from .subject import Subject

SEED = 0


def intrinsic(context: Context, subject: Subject, protocol: Protocol, sample: int) -> list[MetricRecord]:
    """Every intrinsic metric of every part of the vectors, and of `all` by slices of the training events.

    Of more items than `sample` so many are drawn, the same ones each time, and are each other's only neighbours.
    """
    chosen = drawn_rows(len(subject.vectors), sample, SEED)
    kinds = {name: own[subject.rows[chosen]] for name, own in item_kinds(subject.dataset.items).items()}
    slices = _slices(subject, protocol)
    found: list[MetricRecord] = []
    for name, block in _blocks(context, subject):
        context.progress.note(f"measuring the space: {name}, {block.shape[1]} columns")
        vectors = block[chosen]
        present = vectors.any(axis=1)  # an item without a picture says nothing of pictures
        own, known = vectors[present], {kind: rows[present] for kind, rows in kinds.items()}
        around = Neighbourhoods(nearest_others(own, NEIGHBOURS), known) if len(own) > NEIGHBOURS else None
        found += metric_records(name, measure_space(own, around))
        if name == "all":
            for part, mask in slices.items():
                found += metric_records(part, measure_space(own, around, mask[chosen][present]))
    return found


def _blocks(context: Context, subject: Subject) -> Iterator[tuple[str, FloatArray]]:
    yield from subject.blocks().items()
    attributes = _attributes(context, subject)
    if attributes is not None:
        yield "attributes", attributes


def _attributes(context: Context, subject: Subject) -> FloatArray | None:
    """(N, W) what a spoke's attribute encoder says of the items; None where it reads none."""
    model = subject.named.model
    if model.kind != ModelKind.SPOKE or not model.config.get("attributes"):
        return None
    prepare(context)
    spoke, _ = load_spoke(context, model)
    items = subject.dataset.items[subject.rows.tolist()]
    return spoke.attribute_vectors(list(subject.item_ids), items)


def _slices(subject: Subject, protocol: Protocol) -> Mapping[str, BoolArray]:
    """Slices (N,) of the items by their training events under a protocol; none of a category without events."""
    sequences = subject.dataset.sequences
    if not sequences.n_events:
        return {}
    counts: IntArray = sequences.keep_events(training_mask(sequences, protocol)).item_counts()[subject.rows]
    found = item_slices(counts, protocol.cold_threshold)
    return {name: mask for name, mask in found.items() if name != "all" and np.count_nonzero(mask) > 1}

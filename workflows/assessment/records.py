"""Measured numbers as the registry keeps them, and as cards show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...evaluation.bootstrap import Estimate
from ...evaluation.catalogue import find
from ...registry.records import MetricRecord
from ...results import Record


@dataclass(frozen=True)
class CardRow(Record):
    """One number of a card: what it is, its 95 % interval, and whether it meets the threshold of the catalogue."""

    dimension: str
    metric: str
    slice: str
    value: float
    low: float | None
    high: float | None
    unit: str
    better: str
    threshold: float | None
    met: bool | None  # None without a threshold, and for parts that the threshold is not meant for


def metric_records(slice_: str, values: Mapping[str, Estimate | float]) -> list[MetricRecord]:
    """Numbers of one slice, with or without an interval."""
    return [
        MetricRecord(slice_, name, own.value, own.low, own.high)
        if isinstance(own, Estimate)
        else MetricRecord(slice_, name, own)
        for name, own in values.items()
    ]


def card_rows(metrics: Sequence[MetricRecord]) -> list[CardRow]:
    """Numbers beside what the catalogue says of them; a threshold is meant for the whole, not for a part."""
    rows = []
    for own in metrics:
        definition = find(own.name)
        if definition is None:
            continue
        threshold = definition.threshold if own.slice == "all" else None
        rows.append(
            CardRow(
                dimension=definition.dimension,
                metric=own.name,
                slice=own.slice,
                value=own.value,
                low=own.low,
                high=own.high,
                unit=definition.unit,
                better=definition.better,
                threshold=threshold,
                met=None if threshold is None else definition.meets(own.value),
            )
        )
    return rows

"""Measured numbers as the registry keeps them."""

from __future__ import annotations

from collections.abc import Mapping

from ...evaluation.bootstrap import Estimate
from ...registry.records import MetricRecord


def metric_records(slice_: str, values: Mapping[str, Estimate | float]) -> list[MetricRecord]:
    """Numbers of one slice, with or without an interval."""
    return [
        MetricRecord(slice_, name, own.value, own.low, own.high)
        if isinstance(own, Estimate)
        else MetricRecord(slice_, name, own)
        for name, own in values.items()
    ]

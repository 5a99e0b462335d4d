"""How good the versions of a category were when they were measured, one after the other, under one protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..registry.records import EvaluationRecord, MetricRecord

METRIC = "ndcg@10"
FIRST_BASELINE = 2  # of the colours of a chart; before it stand what was trained, and the hub beside it


@dataclass(frozen=True)
class Point:
    """The newest evaluation of one model."""

    evaluation: str
    subject: str
    metric: MetricRecord
    n_users: int
    at: datetime

    @property
    def value(self) -> float:
        """The mean."""
        return self.metric.value


@dataclass(frozen=True)
class Trend:
    """Models measured by the same protocol on the same events, oldest first, and the baselines beside them."""

    metric: str
    protocol: Mapping[str, Any]
    events: str
    points: Sequence[Point]
    baselines: Mapping[str, float]

    def of(self, subject: str | None) -> Point | None:
        """The point of a model."""
        return next((point for point in self.points if point.subject == subject), None)

    @property
    def words(self) -> str:
        """The protocol in words."""
        return protocol_words(self.protocol)

    def drawn(self) -> dict[str, Any]:
        """As the chart takes it: one version after the other, between flat lines of the baselines."""
        series = [line(self.metric, self.points), *self.flat_lines(len(self.points))]
        labels = [point.subject for point in self.points]
        return {"axis": None, "time": False, "places": list(range(len(labels))), "labels": labels, "series": series}

    def flat_lines(self, length: int) -> list[dict[str, Any]]:
        """The baselines as lines of a chart."""
        flat = enumerate(self.baselines.items(), FIRST_BASELINE)
        return [{"label": name, "values": [value] * length, "flat": True, "ink": n} for n, (name, value) in flat]

    def spark(self, width: int, height: int) -> str:
        """The points of a polyline over the values, for a picture of that size."""
        values = [point.value for point in self.points]
        low, high = min(values), max(values)
        spread = (high - low) or 1.0
        step = (width - 8) / max(1, len(values) - 1)
        where = ((4 + n * step, 4 + (height - 8) * (1 - (value - low) / spread)) for n, value in enumerate(values))
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in where)


def line(label: str, points: Sequence[Point], flat: bool = False) -> dict[str, Any]:
    """Points as one line of a chart, with their intervals; a flat one is dashed."""
    bounds = {"low": [own.metric.low for own in points], "high": [own.metric.high for own in points]}
    return {"label": label, "values": [own.value for own in points], "flat": flat, "ink": int(flat), **bounds}


def protocol_words(protocol: Mapping[str, Any]) -> str:
    """A protocol on one line."""
    if "part" not in protocol and protocol.get("description"):  # of space and index, or of two versions
        return str(protocol["description"])
    seen = "seen items left out" if protocol.get("exclude_seen") else "seen items ranked"
    refit = ", refitted" if protocol.get("refit") else ""
    return f"{protocol.get('name', 'evaluation')} on {protocol.get('part', 'test')}, full ranking, {seen}{refit}"


def trends(evaluations: Sequence[EvaluationRecord], metric: str = METRIC, slice_: str = "all") -> list[Trend]:
    """The evaluations of a category by protocol and events, those measured last first."""
    groups: dict[tuple[str, str], list[EvaluationRecord]] = {}
    for own in evaluations:
        key = json.dumps(own.protocol, sort_keys=True), own.events
        groups.setdefault(key, []).append(own)
    made = [_trend(group, metric, slice_) for group in groups.values()]
    return sorted((one for one in made if one.points), key=lambda one: one.points[-1].at, reverse=True)


def _trend(group: Sequence[EvaluationRecord], metric: str, slice_: str) -> Trend:
    points: dict[str, Point] = {}
    baselines: dict[str, float] = {}
    for own in group:
        found = own.metric(metric, slice_)
        if found is None:
            continue
        if own.subject is None:
            baselines[str(own.details.get("model", "baseline"))] = found.value
        else:
            points.pop(own.subject, None)  # measured again: it stands where it was measured last
            points[own.subject] = Point(own.ref, own.subject, found, own.n_users, own.created_at)
    return Trend(metric, group[-1].protocol, group[-1].events, list(points.values()), baselines)

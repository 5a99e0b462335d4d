"""The launch curve: the hub alone, and spokes by the events that they knew, all measured by one test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..registry.kinds import NodeKind
from ..registry.records import ModelRecord
from ..registry.references import parse
from .quality import Point, Trend, line

# Moments before this are no times: data that knows an order alone counts from 1970.
FIRST_YEAR = 1990
MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Step:
    """A spoke that was measured, and what it knew."""

    point: Point
    events: int
    until: datetime | None  # its newest event; None where times are not known


@dataclass(frozen=True)
class LaunchCurve:
    """The hub alone and spokes under the protocol and on the events of a trend, those that knew least first."""

    trend: Trend
    hub: Point
    steps: Sequence[Step]

    @property
    def by_time(self) -> bool:
        """Whether the moments that spokes knew of tell them apart; else the numbers of events do."""
        moments = {step.until for step in self.steps}
        return None not in moments and len(moments) == len(self.steps)

    def place(self, step: Step) -> float:
        """Where a spoke stands on the axis: seconds since 1970, or events."""
        return step.until.timestamp() if self.by_time and step.until else float(step.events)

    def drawn(self) -> dict[str, Any]:
        """As the chart takes it; of spokes that knew as much the newest is drawn."""
        shown = {self.place(step): step.point for step in self.steps}
        places = sorted(shown)
        points = [shown[place] for place in places]
        alone = line(f"{self.hub.subject} alone", [self.hub] * len(places), flat=True)
        return {
            "axis": "newest event known" if self.by_time else "events known",
            "time": self.by_time,
            "places": places,
            "labels": [point.subject for point in points],
            "series": [line("spoke", points), alone, *self.trend.flat_lines(len(places))],
        }


def launch_curve(trends: Sequence[Trend], spokes: Sequence[ModelRecord]) -> LaunchCurve | None:
    """The curve of the test by which most spokes were measured beside a hub, the newest of them; None without one."""
    summaries = {spoke.ref: spoke.summary for spoke in spokes}
    found = [curve for trend in trends if (curve := _curve(trend, summaries))]
    return max(found, key=lambda curve: len(curve.steps), default=None)


def _curve(trend: Trend, summaries: Mapping[str, Mapping[str, Any]]) -> LaunchCurve | None:
    hubs = [point for point in trend.points if parse(point.subject).kind == NodeKind.HUB]
    known = [(point, summaries.get(point.subject, {})) for point in trend.points]
    steps = [
        Step(point, int(summary["training_events"]), _moment(summary.get("training_end")))
        for point, summary in known
        if summary.get("training_events") is not None
    ]
    if not (hubs and steps):
        return None
    return LaunchCurve(trend, hubs[-1], sorted(steps, key=lambda step: (step.events, step.point.at)))


def _moment(microseconds: int | None) -> datetime | None:
    found = None if microseconds is None else datetime.fromtimestamp(microseconds / MICROSECONDS, UTC)
    return found if found and found.year >= FIRST_YEAR else None

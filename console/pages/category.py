"""A category: what serves, how good its versions were when they were measured, its releases and every move of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from ...registry.kinds import ModelStatus
from ...registry.records import AliasChange, ModelRecord, ReleaseRecord
from ...workflows.targets import find_target
from ..asking import Category, DeskHere
from ..desk import Desk
from ..quality import METRIC, Point, Trend, trends
from ..rendering import page
from .overview import unmet_gate

router = APIRouter()
MOVES = 50
Done = Literal["promoted", "rolled-back", "rules"]


@dataclass(frozen=True)
class Released:
    """A release, the aliases that point at it, how it came to be, and how good its model is."""

    record: ReleaseRecord
    aliases: tuple[str, ...]
    move: AliasChange | None  # the last one that an alias made to it
    quality: Point | None


@dataclass(frozen=True)
class Trained:
    """A spoke that could be promoted, or why not."""

    record: ModelRecord
    quality: Point | None
    has_index: bool
    is_released: bool


@router.get("/categories/{domain}")
def category(request: Request, desk: DeskHere, category: Category, done: Done | None = None) -> HTMLResponse:
    """The page of a category."""
    registry, name = desk.workspace.registry, category.name
    measured = trends(registry.evaluations.list(name))
    moves = registry.aliases.history(name)[::-1]
    found: dict[str, Any] = {
        "domain": category,
        "details": desk.workspace.domain.show(name),
        "gate": desk.workspace.gate.show(name),
        "unmet": unmet_gate(desk, category),
        "trends": measured,
        "charts": [chart_of(trend) for trend in measured],
        "releases": released(desk, name, measured, moves),
        "spokes": trained(desk, name, measured),
        "moves": moves[:MOVES],
        "n_moves": len(moves),
        "metric": METRIC,
        "done": done,
    }
    return page(request, "category.html", **found)


def released(desk: Desk, domain: str, measured: list[Trend], moves: list[AliasChange]) -> list[Released]:
    """The releases of a category, newest first."""
    registry = desk.workspace.registry
    pointing: dict[str, tuple[str, ...]] = {}
    for alias in registry.aliases.list(domain):
        pointing[alias.target] = (*pointing.get(alias.target, ()), alias.alias)
    last = {move.to_ref: move for move in reversed(moves)}
    return [
        Released(one, pointing.get(one.ref, ()), last.get(one.ref), quality_of(desk, one.ref, measured))
        for one in registry.releases.list(domain)[::-1]
    ]


def quality_of(desk: Desk, ref: str, measured: list[Trend]) -> Point | None:
    """How good what a reference would serve was under the protocol that was used last."""
    return measured[0].of(find_target(desk.workspace.registry, ref).subject) if measured else None


def trained(desk: Desk, domain: str, measured: list[Trend]) -> list[Trained]:
    """The spokes of a category, newest first."""
    registry = desk.workspace.registry
    filled = {index.model for index in registry.indexes.list(domain)}
    in_release = {release.spoke for release in registry.releases.list(domain)}
    return [
        Trained(
            one,
            measured[0].of(one.ref) if measured else None,
            one.ref in filled and one.status == ModelStatus.READY,
            one.ref in in_release,
        )
        for one in registry.models.list("spoke", domain)[::-1]
    ]


def chart_of(trend: Trend) -> dict[str, Any]:
    """A trend as the chart takes it."""
    points = trend.points
    return {
        "metric": trend.metric,
        "labels": [point.subject for point in points],
        "values": [point.value for point in points],
        "low": [point.metric.low for point in points],
        "high": [point.metric.high for point in points],
        "baselines": dict(trend.baselines),
    }

"""A category: what serves, how good its versions were when they were measured, its releases and every move of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from ...registry.kinds import ModelStatus
from ...registry.records import AliasChange, EvaluationRecord, ModelRecord, ReleaseRecord
from ...workflows.targets import find_target
from ..asking import Category, DeskHere
from ..cards import CardLine, card_of
from ..curve import launch_curve
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
    evaluations = registry.evaluations.list(name)
    measured = trends(evaluations)
    moves = registry.aliases.history(name)[::-1]
    spokes = registry.models.list("spoke", name)
    curve = launch_curve(measured, spokes)
    found: dict[str, Any] = {
        "domain": category,
        "details": desk.workspace.domain.show(name),
        "gate": desk.workspace.gate.show(name),
        "unmet": unmet_gate(desk, category),
        "trends": [one for one in measured if curve is None or one is not curve.trend],
        "card": thresholds(evaluations, desk, category.live),
        "curve": curve,
        "releases": released(desk, name, measured, moves),
        "spokes": trained(desk, name, measured, spokes),
        "experiments": registry.experiments.list(name)[::-1],
        "moves": moves[:MOVES],
        "n_moves": len(moves),
        "metric": METRIC,
        "done": done,
    }
    return page(request, "category.html", **found)


def thresholds(evaluations: Sequence[EvaluationRecord], desk: Desk, live: str | None) -> list[CardLine]:
    """The lines of the quality card of what is live that are held to something, those that do not meet it first."""
    if live is None or not evaluations:
        return []
    card = card_of(evaluations, find_target(desk.workspace.registry, live).assessed)
    held = [line for lines in card.values() for line in lines if line.met is not None]
    return sorted(held, key=lambda line: bool(line.met))


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


def trained(desk: Desk, domain: str, measured: list[Trend], spokes: list[ModelRecord]) -> list[Trained]:
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
        for one in spokes[::-1]
    ]

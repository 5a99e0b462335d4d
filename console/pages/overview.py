"""The overview: every category with what is live, since when, what is behind, how good it is, and its products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from ...errors import HubspokeError
from ...registry.lineage.staleness import Staleness
from ...registry.records import AliasChange, DomainRecord, ExperimentRecord
from ...registry.references import LIVE
from ...workflows.targets import find_target
from ..asking import Category, DeskHere, Looking, Words
from ..cards import CardLine, card_of, unmet
from ..desk import Desk
from ..quality import Point, Trend, trends
from ..rendering import page

router = APIRouter()
ON_A_PAGE = 24
STRIP = 6
MOST = 100_000  # categories
LISTED = "SELECT domain, description, live FROM v_domains WHERE status = 'active' ORDER BY domain"
Show = Literal["all", "behind", "live", "waiting"]


@dataclass(frozen=True)
class Listed:
    """One category as a list of thousands tells it."""

    name: str
    description: str
    live: str | None


@dataclass(frozen=True)
class Glance:
    """One category at a glance, beside its name and what is behind."""

    domain: DomainRecord
    move: AliasChange | None  # that made what is live live
    behind: Sequence[Staleness]
    gate: str | None  # what of the gate is not met by what is live
    trend: Trend | None
    now: Point | None  # of what is live
    experiment: ExperimentRecord | None  # that runs
    short: Sequence[CardLine]  # numbers of what is live that do not meet what they are held to


@router.get("/")
def overview(
    request: Request,
    desk: DeskHere,
    _: Looking,
    q: Words = "",
    show: Show = "all",
    number: Annotated[int, Query(alias="page", ge=1, le=10_000)] = 1,
) -> HTMLResponse:
    """Every category; those that need somebody first. What takes a question each comes when a card is in sight."""
    behind = behind_by_domain(desk)
    every = desk.recent("domains", lambda: [Listed(*row) for row in desk.workspace.sql(LISTED, MOST).rows])
    chosen = [one for one in every if q.casefold() in f"{one.name} {one.description}".casefold()]
    chosen = [one for one in chosen if _belongs(one, show, behind)]
    chosen.sort(key=lambda one: (one.name not in behind, one.live is None, one.name))
    pages = max(1, -(-len(chosen) // ON_A_PAGE))
    number = min(number, pages)
    shown = chosen[(number - 1) * ON_A_PAGE : number * ON_A_PAGE]
    counts = {
        "all": len(every),
        "behind": sum(one.name in behind for one in every),
        "live": sum(one.live is not None for one in every),
        "waiting": sum(one.live is None for one in every),
    }
    cards = [(one, behind.get(one.name, ())) for one in shown]
    found: dict[str, Any] = {"cards": cards, "counts": counts, "q": q, "show": show, "number": number, "pages": pages}
    return page(request, "overview.html", **found, found=len(chosen))


@router.get("/categories/{domain}/glance")
def glance(request: Request, desk: DeskHere, category: Category) -> HTMLResponse:
    """A few products of a category and what is known of it at a glance; a part of the overview."""
    shelf = desk.shelf(category.name)
    found: dict[str, Any] = {"card": glance_of(desk, category), "shelf": shelf}
    return page(request, "parts/glance.html", **found, products=shelf.sample(STRIP) if shelf else [])


def behind_by_domain(desk: Desk) -> Mapping[str, list[Staleness]]:
    """What is behind in what is live, by category."""
    found: dict[str, list[Staleness]] = {}
    for one in desk.recent("staleness", desk.workspace.registry.lineage.staleness):
        found.setdefault(one.domain, []).append(one)
    return found


def glance_of(desk: Desk, domain: DomainRecord) -> Glance:
    """What is known of a category at a glance."""
    registry = desk.workspace.registry
    moves = registry.aliases.history(domain.name, LIVE) if domain.live else []
    evaluations = registry.evaluations.list(domain.name) if domain.counts.evaluations else []
    trend = next(iter(trends(evaluations)), None)
    target = find_target(registry, domain.live) if domain.live and evaluations else None
    behind = behind_by_domain(desk).get(domain.name, ())
    now = trend.of(target.subject) if trend and target else None
    short = unmet(card_of(evaluations, target.assessed)) if target else []
    running = registry.experiments.running(domain.name)
    return Glance(domain, moves[-1] if moves else None, behind, unmet_gate(desk, domain), trend, now, running, short)


def unmet_gate(desk: Desk, domain: DomainRecord) -> str | None:
    """What of a category's gate is not met by what is live; None where it is met, or there is none."""
    if domain.live is None:
        return None
    gate = desk.workspace.registry.gates.get(domain.name)
    if gate is None or not gate.conditions:
        return None
    try:
        found = desk.workspace.gate.check(domain.name, domain.live)
    except HubspokeError as error:
        return str(error)
    return None if found.passes else found.failed


def _belongs(domain: Listed, show: Show, behind: Mapping[str, Sequence[Staleness]]) -> bool:
    if show == "behind":
        return domain.name in behind
    return show == "all" or (domain.live is not None) == (show == "live")

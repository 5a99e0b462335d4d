"""Try it: a session of clicks, what a release makes of it, why, and another release beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from ...registry.kinds import ModelStatus
from ...registry.references import LIVE
from ...serving.limits import MAX_ID
from ...workflows.explain import explain_answer
from ...workflows.judgements import Judgements
from ...workflows.question import Question
from ...workflows.recommendations import Recommender
from ...workflows.typed_lists import item_ids
from ..asking import Category, Changing, DeskHere, Form, Ref, Words
from ..desk import Desk
from ..rendering import page
from ..shelves import Product, Shelf
from .release import require_of

router = APIRouter()
LONGEST, MOST = 30, 50  # events of a session, items of a list
FOUND = 18
Ids = Annotated[list[Annotated[str, Query(max_length=MAX_ID)]], Query(max_length=LONGEST)]
ItemId = Annotated[str, Query(max_length=MAX_ID)]


@dataclass(frozen=True)
class Trial:
    """What is tried: after which session, by what, beside what."""

    ref: str
    against: str
    session: tuple[str, ...]
    k: int
    fresh: bool  # items of the session are left out

    def query(self, **other: Any) -> dict[str, Any]:
        """The fields of an address of this trial, some of them other ones."""
        known = replace(self, **other)
        fields = {"ref": known.ref, "against": known.against or None, "session": list(known.session)}
        return {**fields, "k": known.k, "fresh": "1" if known.fresh else "0"}


def _trial(
    desk: DeskHere,
    category: Category,
    session: Ids = [],  # noqa: B006  # FastAPI copies it
    add: Annotated[str, Query(max_length=4000)] = "",
    ref: Ref = "",
    against: Ref = "",
    k: Annotated[int, Query(ge=1, le=MOST)] = 12,
    fresh: bool = True,
) -> Trial:
    typed = typed_items(desk.shelf(category.name), add)
    return Trial(ref or f"{category.name}@{LIVE}", against, tuple([*session, *typed][-LONGEST:]), k, fresh)


TrialHere = Annotated[Trial, Depends(_trial)]


@router.get("/categories/{domain}/try")
def try_it(request: Request, desk: DeskHere, category: Category, trial: TrialHere) -> HTMLResponse:
    """The page: the session, and lists that come when they are made."""
    shelf = desk.shelf(category.name)
    clicked = [(item, _product(shelf, item)) for item in trial.session]
    found: dict[str, Any] = {
        "domain": category,
        "trial": trial,
        "shelf": shelf,
        "clicked": clicked,
        "choices": choices(desk, category.name),
        "sample": shelf.sample(FOUND) if shelf else [],
        "lists": [own for own in (trial.ref, trial.against) if own],
        "limits": {"session": LONGEST, "k": MOST},
    }
    return page(request, "try_it.html", **found)


@router.get("/categories/{domain}/find")
def find(request: Request, desk: DeskHere, category: Category, trial: TrialHere, q: Words = "") -> HTMLResponse:
    """Products by words of their titles, each a click that goes into the session; a part of the page."""
    shelf = desk.shelf(category.name)
    products = [] if shelf is None else shelf.search(q, FOUND) if q.strip() else shelf.sample(FOUND)
    return page(request, "parts/found.html", domain=category, shelf=shelf, trial=trial, products=products, q=q)


@router.get("/categories/{domain}/list")
def listed(request: Request, desk: DeskHere, category: Category, trial: TrialHere) -> HTMLResponse:
    """What a release recommends after the session; a part of the page."""
    recommender = recommender_of(desk, category.name, trial.ref)
    answer = recommender.answer(Question(trial.session, None, trial.k, trial.fresh, fallback=True))
    shelf = desk.shelf(category.name)
    items = [(own, _product(shelf, own["item_id"])) for own in answer.items]
    found: dict[str, Any] = {"domain": category, "trial": trial, "answer": answer, "items": items, "shelf": shelf}
    return page(request, "parts/list.html", **found)


@router.post("/categories/{domain}/judge")
def judge(request: Request, desk: DeskHere, category: Category, visitor: Changing, form: Form) -> HTMLResponse:
    """Keep what somebody thinks of an item after a session; a part of the page."""
    session = [item for item in form.get("session", "").split("\n") if item][:LONGEST]
    ref, good = form.get("ref", ""), form.get("good") == "yes"
    require_of(category.name, desk.workspace.registry.resolve(ref).domain, ref)
    Judgements(desk.acting_for(visitor)).add(category.name, ref, session, form.get("item", "")[:MAX_ID], good)
    return page(request, "parts/judged.html", good=good)


@router.get("/categories/{domain}/why")
def why(request: Request, desk: DeskHere, category: Category, trial: TrialHere, item: ItemId) -> HTMLResponse:
    """Why an item stands where it stands; a part of the page."""
    recommender = recommender_of(desk, category.name, trial.ref)
    question = Question(trial.session, None, trial.k, trial.fresh)
    explanation = explain_answer(desk.workspace, recommender, question, [item])
    own = explanation.items[0]
    largest = max([abs(part.score) for part in own.parts] + [1e-9])
    found: dict[str, Any] = {"domain": category, "own": own, "explanation": explanation, "largest": largest}
    return page(request, "parts/why.html", **found, events=_by_weight(own.events))


def typed_items(shelf: Shelf | None, text: str) -> list[str]:
    """The items that somebody typed, by the rule of `--session`; a list that reads in two ways is refused."""
    return item_ids(text, lambda ids: [item for item in ids if shelf and item in shelf.row_of])


def recommender_of(desk: Desk, domain: str, ref: str) -> Recommender:
    """What answers for a reference of a category."""
    require_of(domain, desk.workspace.registry.resolve(ref).domain, ref)
    return desk.recommender(ref)


def choices(desk: Desk, domain: str) -> list[tuple[str, str]]:
    """What can be tried: aliases, releases, and spokes with an index; references with words for people."""
    registry = desk.workspace.registry
    aliases = [(own.ref, f"{own.alias} ({own.target})") for own in registry.aliases.list(domain)]
    releases = [(own.ref, own.ref) for own in registry.releases.list(domain)[::-1]]
    filled = {index.model for index in registry.indexes.list(domain)}
    spokes = registry.models.list("spoke", domain, ModelStatus.READY)[::-1]
    return [*aliases, *releases, *((own.ref, f"{own.ref}, no rules") for own in spokes if own.ref in filled)]


def _product(shelf: Shelf | None, item: str) -> Product | None:
    known = shelf.find([item]) if shelf else []
    return known[0] if known else None


def _by_weight(events: Sequence[Any]) -> list[Any]:
    return sorted(events, key=lambda event: -abs(event.lead))[:6]

"""Merchandising rules: the versions, an editor, and what a list would be like under them before they are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from ...errors import UsageError
from ...registry.references import LIVE
from ...workflows.question import Question
from ...workflows.tried_rules import under
from ..asking import Category, Changing, DeskHere, Form, Ref, go
from ..desk import Desk
from ..rendering import page
from ..shelves import Product
from .try_it import LONGEST, typed_items

router = APIRouter()
LISTS = {
    "hide_items": "Never show these items",
    "hide_brands": "Never show these brands",
    "hide_categories": "Never show these categories, with all below them",
    "pin": "Begin every recommendation with these items",
}
NUMBERS: Mapping[str, tuple[str, type]] = {
    "min_margin": ("Least margin, (price - cost) / price", float),
    "max_per_brand": ("Most items of one brand in a list", int),
    "max_per_category": ("Most items of one category in a list", int),
    "category_depth": ("Levels that tell categories apart", int),
    "fresh_share": ("Share of a list that is new, 0 to 1", float),
    "fresh_days": ("What counts as new, in days", int),
    "newcomer_share": ("Without a session, most of one kind, 0 to 1", float),
}
MAX_LINES = 500
COMPARED = 10


@router.get("/categories/{domain}/rules")
def rules(request: Request, desk: DeskHere, category: Category, ref: Ref = "") -> HTMLResponse:
    """The page: the versions, and one of them to edit."""
    versions = desk.workspace.rules.show(category.name)
    chosen = ref or versions.live
    content = desk.workspace.registry.rules.get(chosen).content if chosen else {}
    found: dict[str, Any] = {
        "domain": category,
        "versions": versions,
        "chosen": chosen,
        "lists": {name: (words, "\n".join(content.get(name) or [])) for name, words in LISTS.items()},
        "numbers": {name: (words, content.get(name)) for name, (words, _) in NUMBERS.items()},
        "boost": json.dumps(content.get("boost") or [], ensure_ascii=False, indent=1) if content.get("boost") else "",
        "hide_unknown": bool(content.get("hide_unknown_margin")),
        "shelf": desk.shelf(category.name),
    }
    return page(request, "rules.html", **found)


@router.post("/categories/{domain}/rules/preview")
def preview(request: Request, desk: DeskHere, category: Category, form: Form) -> HTMLResponse:
    """What rules would reach, and the same list before and after; a part of the page, and nothing is kept."""
    content = content_of(form)
    reach = desk.workspace.rules.set(category.name, content, dry_run=True)
    found: dict[str, Any] = {"reach": reach, "domain": category, "shelf": desk.shelf(category.name), "lists": None}
    if desk.live(category.name):
        session = typed_items(desk.shelf(category.name), form.get("session", ""))[:LONGEST]
        found["lists"] = compared(desk, category.name, content, session)
    return page(request, "parts/rules_preview.html", **found)


@router.post("/categories/{domain}/rules")
def keep(request: Request, desk: DeskHere, category: Category, visitor: Changing, form: Form) -> Response:
    """Register rules, then ask whether they are to be in force."""
    kept = desk.acting_for(visitor).rules.set(category.name, content_of(form))
    if desk.live(category.name) is None:
        return go(request, "categories", category.name, done="rules")
    return go(request, "categories", category.name, "promote", ref=category.name, rules=str(kept.ref))


def compared(
    desk: Desk, domain: str, content: Mapping[str, Any], session: list[str]
) -> list[tuple[str, list[tuple[Mapping[str, Any], Product | None, str]]]]:
    """The list of a session as it is live and under other rules, with what became of each item."""
    recommender, shelf = desk.recommender(f"{domain}@{LIVE}"), desk.shelf(domain)
    question = Question(session, None, COMPARED, False, fallback=True)
    answers = [one.answer(question).items for one in (recommender, under(recommender, content))]
    ranks = [{item["item_id"]: item["rank"] for item in items} for items in answers]
    made = []
    for words, items, others in (("Now", answers[0], ranks[1]), ("Under these rules", answers[1], ranks[0])):
        rows = []
        for item in items:
            known = shelf.find([item["item_id"]]) if shelf else []
            other = others.get(item["item_id"])
            new = "gone" if words == "Now" else "new"
            moved = (
                new
                if other is None
                else ""
                if other == item["rank"]
                else f"{'to' if new == 'gone' else 'from'} {other}"
            )
            rows.append((item, known[0] if known else None, moved))
        made.append((words, rows))
    return made


def content_of(form: Mapping[str, str]) -> dict[str, Any]:
    """The rules that a form holds; fields that were left empty are left out."""
    found: dict[str, Any] = {}
    for name in LISTS:
        lines = [line.strip() for line in form.get(name, "").splitlines() if line.strip()]
        if len(lines) > MAX_LINES:
            raise UsageError(f"{name} has {len(lines)} lines; give up to {MAX_LINES}, or use `hubspoke rules set`.")
        if lines:
            found[name] = lines
    for name, (words, kind) in NUMBERS.items():
        text = form.get(name, "").strip()
        if text:
            try:
                found[name] = kind(text)
            except ValueError as error:
                raise UsageError(f"{words!r} is {text[:40]!r}; give a number.") from error
    if form.get("hide_unknown_margin") == "yes":
        found["hide_unknown_margin"] = True
    if text := form.get("boost", "").strip():
        try:
            found["boost"] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError('Boosts are a list like [{"brands": ["Tindra"], "by": 1}]; correct it.') from error
    return found

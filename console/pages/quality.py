"""The quality card: what was measured of each model, by slice, with its protocol."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from ...registry.records import EvaluationRecord
from ...workflows.judgements import Judgements, agreement
from ...workflows.targets import find_target
from ..asking import Category, DeskHere, Ref
from ..cards import card_of
from ..quality import protocol_words
from ..rendering import page

router = APIRouter()
MOST = 2000  # judgements that are read, the newest
FIRST = ("all", "cold", "zero-shot", "head", "torso", "tail")


@router.get("/categories/{domain}/quality")
def quality(request: Request, desk: DeskHere, category: Category, ref: Ref = "") -> HTMLResponse:
    """The page: the evaluations, and one of them in full."""
    evaluations = desk.workspace.registry.evaluations.list(category.name)[::-1]
    chosen = next((own for own in evaluations if own.ref == ref), evaluations[0] if evaluations else None)
    assessed = find_target(desk.workspace.registry, category.live).assessed if category.live else ()
    found: dict[str, Any] = {
        "domain": category,
        "card": card_of(evaluations, assessed),
        "evaluations": evaluations,
        "chosen": chosen,
        "table": by_slice(chosen) if chosen else None,
        "protocol_words": protocol_words,
    }
    return page(request, "quality.html", **found)


@router.get("/categories/{domain}/quality/judged")
def judged(request: Request, desk: DeskHere, category: Category) -> HTMLResponse:
    """How far what the aliases point at ranks as people judged; a part of the page."""
    judgements = Judgements(desk.workspace).list(category.name)[-MOST:]
    aliases = desk.workspace.registry.aliases.list(category.name)
    found = [(own.ref, agreement(desk.recommender(own.target), judgements)) for own in aliases] if judgements else []
    return page(request, "parts/agreement.html", judgements=judgements, found=found)


def by_slice(evaluation: EvaluationRecord) -> dict[str, Any]:
    """The metrics of an evaluation as a table: names down, slices across."""
    slices = dict.fromkeys(own.slice for own in evaluation.metrics)
    slices = dict.fromkeys([*(name for name in FIRST if name in slices), *slices])
    names = dict.fromkeys(own.name for own in evaluation.metrics)
    rows = [(name, [evaluation.metric(name, one) for one in slices]) for name in names]
    return {"slices": list(slices), "rows": rows, "targets": evaluation.details.get("n_targets", {})}

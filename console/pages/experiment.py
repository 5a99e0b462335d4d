"""Experiments on shoppers: what two releases did, whether it may be believed, and starting and ending them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, Response

from ...errors import LockedError
from ...registry.references import LIVE, experiment_ref
from ...workflows.experiment_metrics import PER_SHOPPER
from ...workflows.experiments import against_promotion
from ...workflows.releases import Promotion
from ..asking import Category, Changing, DeskHere, Form, go, whole
from ..desk import Desk
from ..rendering import page
from .release import changes, planned, reason_of, require_of

if TYPE_CHECKING:
    from ...workflows.experiment_reports import ExperimentReport, MetricEffect

router = APIRouter()
WIDTH, HALF_DOT = 220, 5  # of the picture of an interval
MOST_SHOPPERS, MOST_DAYS = 1_000_000_000, 365
Done = Literal["started", "stopped"]
Version = Annotated[int, Path(ge=1, le=1_000_000)]


@dataclass(frozen=True)
class Span:
    """An effect as a picture: pixels of both intervals and of the difference, 0 in the middle of the width."""

    always: tuple[float, float]
    once: tuple[float, float]
    at: float


@router.get("/categories/{domain}/experiments/new")
def ask_start(request: Request, desk: DeskHere, category: Category) -> HTMLResponse:
    """What may be tried beside what is live, and what is decided before it starts."""
    registry = desk.workspace.registry
    found: dict[str, Any] = {
        "domain": category,
        "running": registry.experiments.running(category.name),
        "candidates": [own.ref for own in registry.releases.list(category.name)[::-1] if own.ref != category.live],
        "metrics": PER_SHOPPER,
    }
    return page(request, "experiment_new.html", **found)


@router.post("/categories/{domain}/experiments/new")
def start(request: Request, desk: DeskHere, category: Category, visitor: Changing, form: Form) -> Response:
    """Start it."""
    candidate = form.get("candidate", "")
    require_of(category.name, desk.workspace.registry.resolve(candidate).domain, candidate)
    made = desk.acting_for(visitor).experiments.start(
        category.name,
        candidate,
        share=whole(form.get("share", ""), "The share in per cent", 99) / 100,
        metric=form.get("metric", ""),
        planned=whole(form.get("planned", ""), "The number of shoppers", MOST_SHOPPERS),
        window=timedelta(days=whole(form.get("days", ""), "The number of days", MOST_DAYS)),
        reason=reason_of(form),
    )
    return go(request, "categories", category.name, "experiments", str(made.experiment.version), done="started")


@router.get("/categories/{domain}/experiments/{version}")
def experiment(
    request: Request, desk: DeskHere, category: Category, version: Version, done: Done | None = None
) -> HTMLResponse:
    """The page: the verdict, both arms, every number with its intervals, and what may be done."""
    workspace = desk.workspace
    report = workspace.experiments.report(experiment_ref(category.name, version))
    own = report.experiment
    plan, refused = asked(desk, report) if report.live != own.candidate else (None, None)
    found: dict[str, Any] = {
        "domain": category,
        "own": own,
        "report": report,
        "words": PER_SHOPPER,
        "spans": [span(effect) for effect in report.metrics],
        "width": WIDTH,
        "verdict": workspace.gate.check(category.name, own.candidate),
        "plan": plan,
        "refused": refused,
        "changes": changes(desk, plan),
        "done": done,
    }
    return page(request, "experiment.html", **found)


@router.post("/categories/{domain}/experiments/{version}/stop")
def stop(
    request: Request, desk: DeskHere, category: Category, version: Version, visitor: Changing, form: Form
) -> Response:
    """End it: everybody is shown what is live."""
    desk.acting_for(visitor).experiments.stop(experiment_ref(category.name, version), reason=reason_of(form))
    return go(request, "categories", category.name, "experiments", str(version), done="stopped")


@router.post("/categories/{domain}/experiments/{version}/promote")
def promote(
    request: Request, desk: DeskHere, category: Category, version: Version, visitor: Changing, form: Form
) -> Response:
    """Make its candidate live and end it, if nothing has moved since it was looked at."""
    reason, ref = reason_of(form), experiment_ref(category.name, version)
    if (category.live or "") != form.get("expected", ""):
        raise LockedError(
            f"{category.name}@{LIVE} points at {category.live or 'nothing'} and has moved since this page was opened; "
            "look at the experiment again."
        )
    desk.acting_for(visitor).experiments.promote(ref, reason=reason, override=form.get("override") == "yes")
    return go(request, "categories", category.name, done="promoted")


def asked(desk: Desk, report: ExperimentReport) -> tuple[Promotion | None, str | None]:
    """What promoting the candidate would do, and all that speaks against it: the experiment, then the gate."""
    plan, refused = planned(desk, report.experiment.candidate, LIVE, {})
    return plan, " ".join(filter(None, (against_promotion(report), refused))) or None


def span(effect: MetricEffect) -> Span | None:
    """The picture of an effect on its own scale, as wide as the interval reaches to either side."""
    if effect.always is None or effect.once is None or effect.difference is None:
        return None
    farthest = max(abs(own) for own in (*effect.always, *effect.once, effect.difference)) or 1.0

    def x(value: float) -> float:
        return round(WIDTH / 2 + value / farthest * (WIDTH / 2 - HALF_DOT), 1)

    return Span(_both(effect.always, x), _both(effect.once, x), x(effect.difference))


def _both(interval: Sequence[float], x: Any) -> tuple[float, float]:
    return x(interval[0]), x(interval[1])

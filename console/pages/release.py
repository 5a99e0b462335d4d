"""Moving an alias: what would change and what the gate says of it, a reason, and then the command itself."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from ...errors import HubspokeError, QualityGateError, UsageError
from ...registry.records import PARTS
from ...registry.references import LIVE
from ...workflows.releases import Promotion
from ...workflows.targets import find_target, pointed_at
from ..asking import Category, Changing, DeskHere, Form, Ref, go
from ..desk import Desk
from ..rendering import page, without_secrets

router = APIRouter()
MAX_REASON = 1000
KEEP = "keep"
Alias = Annotated[str, Query(alias="to", pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


@router.get("/categories/{domain}/promote")
def ask_promote(
    request: Request, desk: DeskHere, category: Category, ref: Ref, alias: Alias = LIVE, rules: Ref = KEEP
) -> HTMLResponse:
    """What a promotion would do, before it is done."""
    registry = desk.workspace.registry
    target = find_target(registry, ref)
    require_of(category.name, target.domain, ref)
    how: dict[str, Any] = {} if rules == KEEP else {"rules": rules}
    plan, refused = planned(desk, ref, alias, how)
    found: dict[str, Any] = {
        "domain": category,
        "ref": ref,
        "alias": alias,
        "rules": rules,
        "rules_versions": registry.rules.list(category.name)[::-1],
        "verdict": desk.workspace.gate.check(category.name, ref, alias),
        "plan": plan,
        "refused": refused,
        "changes": changes(desk, plan),
        "before": pointed_at(registry, category.name, alias),
        "running": registry.experiments.running(category.name),
    }
    return page(request, "promote.html", **found)


def planned(desk: Desk, ref: str, alias: str, how: dict[str, Any]) -> tuple[Promotion | None, str | None]:
    """What would be, and why it is refused; what only a gate refuses is planned all the same."""
    workspace = desk.workspace
    try:
        return workspace.promote(ref, alias, dry_run=True, **how), None
    except QualityGateError as error:
        plan = workspace.promote(ref, alias, dry_run=True, override=True, reason="looked at", **how)
        return plan, without_secrets(str(error))
    except HubspokeError as error:
        return None, without_secrets(str(error))


def changes(desk: Desk, plan: Promotion | None) -> list[tuple[str, str | None, str | None]]:
    """Each part before and after."""
    if plan is None:
        return []
    before = desk.workspace.registry.releases.get(plan.before) if plan.before else None
    return [(part, getattr(before, part, None), getattr(plan, part)) for part in PARTS]


@router.post("/categories/{domain}/promote")
def promote(request: Request, desk: DeskHere, category: Category, visitor: Changing, form: Form) -> Response:
    """Do it, if nothing has moved since it was looked at."""
    ref, rules = form.get("ref", ""), form.get("rules", KEEP)
    require_of(category.name, find_target(desk.workspace.registry, ref).domain, ref)
    how: dict[str, Any] = {} if rules == KEEP else {"rules": rules}
    desk.acting_for(visitor).promote(
        ref,
        form.get("to", LIVE),
        reason=reason_of(form),
        override=form.get("override") == "yes",
        expected=form.get("expected") or None,
        **how,
    )
    return go(request, "categories", category.name, done="promoted")


@router.get("/categories/{domain}/rollback")
def ask_rollback(request: Request, desk: DeskHere, category: Category, alias: Alias = LIVE) -> HTMLResponse:
    """What a rollback would do, before it is done."""
    plan = desk.workspace.rollback(category.name, alias, dry_run=True)
    return page(request, "rollback.html", domain=category, alias=alias, plan=plan, changes=changes(desk, plan))


@router.post("/categories/{domain}/rollback")
def roll_back(request: Request, desk: DeskHere, category: Category, visitor: Changing, form: Form) -> Response:
    """Do it, if nothing has moved since it was looked at."""
    desk.acting_for(visitor).rollback(
        category.name, form.get("to", LIVE), reason=reason_of(form), expected=form.get("expected") or None
    )
    return go(request, "categories", category.name, done="rolled-back")


def reason_of(form: dict[str, str]) -> str:
    """Why somebody does something: the history keeps it."""
    reason = form.get("reason", "").strip()
    if not reason:
        raise UsageError("The history keeps why something was done; say it in a few words.")
    if len(reason) > MAX_REASON:
        raise UsageError(f"The reason has {len(reason)} letters; say it in up to {MAX_REASON}.")
    return reason


def require_of(domain: str, found: str | None, ref: str) -> None:
    """Refuse what is not of the category of the page."""
    if found != domain:
        raise UsageError(f"{ref} is not of {domain}; name one of its spokes, indexes or releases.")

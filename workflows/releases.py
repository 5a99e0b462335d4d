"""Which versions serve: make a release out of a model and its index, point an alias at it, and point it back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..registry.kinds import AliasAction
from ..registry.references import HUB_SCOPE, LIVE, check_alias
from ..registry.stores.aliases import ANYTHING, Seen
from ..results import Record
from .gates import check_gate
from .targets import Target, find_target, pointed_at

if TYPE_CHECKING:
    from ..registry.store import Registry
    from .context import Context

NO_RULES = "none"


@dataclass(frozen=True)
class Promotion(Record):
    """A move of an alias of a domain, or of the hub (`scope`), and what serves from now on.

    `after` is None where a dry run stopped short of making the release; `index` is None for an alias of the hub.
    `cached`: it pointed there already. `overridden`: the conditions of the gate that were overruled, in words.
    """

    scope: str
    alias: str
    action: str
    before: str | None
    after: str | None
    hub: str | None
    spoke: str | None
    index: str | None
    reranker: str | None
    rules: str | None
    cached: bool
    overridden: str | None = None
    dry_run: bool = False


def promote(
    context: Context,
    ref: str,
    to: str = LIVE,
    *,
    reason: str | None = None,
    rules: str | None = None,
    override: bool = False,
    expected: str | None = ANYTHING,
    dry_run: bool = False,
) -> Promotion:
    """Point the alias `to` at what `ref` names, making the release where there is none of these parts.

    Checks, release and move are one transaction, which is refused if the gate has changed or the alias has moved since
    this call began, or points at something else than the caller `expected` (None for nothing).
    """
    check_alias(to)
    if override and not (reason or "").strip():
        raise UsageError("Overruling a gate needs a reason, which the history keeps; give --reason TEXT.")
    registry = context.registry
    target = find_target(registry, ref)
    scope = target.domain or HUB_SCOPE
    before = pointed_at(registry, scope, to)
    target = _with_rules(registry, target, before, rules)
    known: str | None = target.hub
    if target.parts is not None:
        made = registry.releases.find(scope, target.parts)
        known = made.ref if made else None
    gate = registry.gates.get(target.domain) if target.domain else None
    overruled = None
    # What is there already does not move, so nothing stands in its way.
    if gate is not None and gate.conditions and (before is None or known != before):
        found = check_gate(context, gate, target, ref, to, before)
        if not override:
            found.require_passing()
        overruled = found.failed or None
    if not dry_run:
        parts, seen = target.parts or target.hub, Seen(before if expected == ANYTHING else expected, gate)
        change = registry.aliases.promote(scope, to, parts, context.actor, reason, overruled, seen)
        before, known, overruled = change.from_ref, change.to_ref, change.overridden
    return _moved(target, scope, to, AliasAction.PROMOTE, before, known, overridden=overruled, dry_run=dry_run)


def rollback(
    context: Context,
    scope: str,
    alias: str = LIVE,
    *,
    reason: str | None = None,
    expected: str | None = ANYTHING,
    dry_run: bool = False,
) -> Promotion:
    """Point `alias` back, the release whole, at what it pointed at before its last promotion that still stands.

    Refused if it has moved since this call began, or points at something else than the caller `expected`.
    """
    registry = context.registry
    before, after = registry.aliases.way_back(scope, alias)
    if not dry_run:
        seen = before if expected == ANYTHING else expected
        change = registry.aliases.rollback(scope, alias, context.actor, reason, seen)
        before, after = str(change.from_ref), change.to_ref
    return _moved(find_target(registry, after), scope, alias, AliasAction.ROLLBACK, before, after, dry_run=dry_run)


def _moved(
    target: Target, scope: str, alias: str, action: AliasAction, before: str | None, after: str | None, **how: Any
) -> Promotion:
    names = ("spoke", "index", "reranker", "rules")
    # None, each of them, where it is the hub itself that was promoted.
    parts: dict[str, Any] = {name: getattr(target.parts, name, None) for name in names}
    cached = before is not None and before == after
    return Promotion(scope, alias, action.value, before, after, target.hub, **parts, cached=cached, **how)


def _with_rules(registry: Registry, target: Target, before: str | None, rules: str | None) -> Target:
    """The target with the rules that are to go with it: those named, else those in force; a release keeps its own."""
    if target.parts is None:
        if rules is not None:
            raise UsageError(f"{target.hub} serves no shopper by itself; give rules with a spoke, index or release.")
        return target
    if rules is not None:
        own = None if rules == NO_RULES else registry.rules.get(rules).ref
    elif target.release is not None or before is None:
        return target
    else:
        own = registry.releases.get(before).rules  # a new model must not lift a recall by the way
    return replace(target, parts=replace(target.parts, rules=own))

"""Which versions serve: make a release out of a model and its index, point an alias at it, and point it back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import QualityGateError, UsageError
from ..registry.kinds import AliasAction, ModelKind
from ..registry.references import HUB_SCOPE, LIVE, check_alias
from ..registry.stores.aliases import ANYTHING, Seen
from ..results import Record
from .catalog_change import next_step
from .gates import check_gate
from .loading import ready_model
from .targets import Target, find_target, pointed_at

if TYPE_CHECKING:
    from ..registry.store import Registry
    from .context import Context

NO_RULES = NO_RERANKER = "none"


@dataclass(frozen=True)
class Promotion(Record):
    """A move of an alias of a domain, or of the hub (`scope`), and what serves from now on.

    `after` is None where a dry run stopped short of making the release; `index` is None for an alias of the hub.
    `cached`: it pointed there already. `overridden`: the conditions of the gate that were overruled, in words.
    `next`: the command that brings in a newer catalog than the index was filled from; None where there is none.
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
    next: str | None = None


def promote(
    context: Context,
    ref: str,
    to: str = LIVE,
    *,
    reason: str | None = None,
    rules: str | None = None,
    reranker: str | None = None,
    override: bool = False,
    expected: str | None = ANYTHING,
    decided_by: str | None = None,
    dry_run: bool = False,
) -> Promotion:
    """Point the alias `to` at what `ref` names, making the release where there is none of these parts.

    A re-ranker that was not better than its spoke alone is refused like what does not meet a gate. Checks, release and
    move are one transaction, which is refused if the gate has changed or the alias has moved since this call began, or
    points at something else than the caller `expected` (None for nothing). A running experiment that it takes the
    control from is told of, unless the move was `decided_by` that one.
    """
    check_alias(to)
    if override and not (reason or "").strip():
        raise UsageError("Overruling a gate needs a reason, which the history keeps; give --reason TEXT.")
    registry = context.registry
    target = find_target(registry, ref)
    scope = target.domain or HUB_SCOPE
    before = pointed_at(registry, scope, to)
    target = _with_rules(registry, target, before, rules)
    target, losing = _with_reranker(context, target, before, reranker)
    if losing and not override:
        raise QualityGateError(f"{losing}; promote without it, or overrule this with --override --reason TEXT.")
    known: str | None = target.hub
    if target.parts is not None:
        made = registry.releases.find(scope, target.parts)
        known = made.ref if made else None
    gate = registry.gates.get(target.domain) if target.domain else None
    overruled = losing
    # What is there already does not move, so nothing stands in its way.
    if gate is not None and gate.conditions and (before is None or known != before):
        found = check_gate(context, gate, target, ref, to, before)
        if not override:
            found.require_passing()
        overruled = "; ".join(filter(None, (losing, found.failed))) or None
    if not dry_run:
        parts, seen = target.parts or target.hub, Seen(before if expected == ANYTHING else expected, gate)
        change = registry.aliases.promote(scope, to, parts, context.actor, reason, overruled, seen)
        before, known, overruled = change.from_ref, change.to_ref, change.overridden
        _note_experiment(context, scope, to, known, decided_by)
    return _moved(context, target, scope, to, AliasAction.PROMOTE, before, known, overridden=overruled, dry_run=dry_run)


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
        _note_experiment(context, scope, alias, after)
    target = find_target(registry, after)
    return _moved(context, target, scope, alias, AliasAction.ROLLBACK, before, after, dry_run=dry_run)


def _note_experiment(context: Context, scope: str, alias: str, after: str, decided_by: str | None = None) -> None:
    """Say of an experiment whose control is not what serves from now on that nobody takes part in it meanwhile."""
    if alias != LIVE or scope == HUB_SCOPE:
        return
    running = context.registry.experiments.running(scope)
    if running is not None and running.control != after and running.ref != decided_by:
        context.progress.note(
            f"{running.ref} compares {running.control} with {running.candidate}, and {after} is live now: shoppers are "
            f"no longer split. `hubspoke experiment stop {scope}` ends it."
        )


def _moved(
    context: Context,
    target: Target,
    scope: str,
    alias: str,
    action: AliasAction,
    before: str | None,
    after: str | None,
    **how: Any,
) -> Promotion:
    names = ("spoke", "index", "reranker", "rules")
    # None, each of them, where it is the hub itself that was promoted.
    parts: dict[str, Any] = {name: getattr(target.parts, name, None) for name in names}
    cached = before is not None and before == after
    how["next"] = next_step(context, target.parts.index) if target.parts and alias == LIVE else None
    return Promotion(scope, alias, action.value, before, after, target.hub, **parts, cached=cached, **how)


def _with_reranker(
    context: Context, target: Target, before: str | None, reranker: str | None
) -> tuple[Target, str | None]:
    """The target with the re-ranker that is to go with it, and why that one should not serve.

    It is the one named, else the one in service if it still fits; a release keeps its own.
    """
    if target.parts is None:
        if reranker is not None:
            raise UsageError(
                f"{target.hub} serves no shopper by itself; give a re-ranker with a spoke, index or release."
            )
        return target, None
    if reranker is None:
        return (target if target.release or before is None else _carried_on(context, target, before)), None
    own = None if reranker == NO_RERANKER else ready_model(context, reranker, ModelKind.RERANKER)
    losing = f"{own.ref} was not better than its spoke alone" if own and not own.summary.get("wins") else None
    return replace(target, parts=replace(target.parts, reranker=own.ref if own else None)), losing


def _carried_on(context: Context, target: Target, before: str) -> Target:
    """The target with the re-ranker in service; without it, and a note, where it ranks in another space."""
    registry, parts = context.registry, target.parts
    own = registry.releases.get(before).reranker
    if own is None or parts is None:
        return target
    if registry.models.get(own).space_fingerprint != registry.indexes.get(parts.index).space_fingerprint:
        context.progress.note(
            f"{own} ranks for another spoke and does not go along; train one for this spoke with "
            f"`hubspoke rerank train {target.domain}`."
        )
        return target
    return replace(target, parts=replace(parts, reranker=own))


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

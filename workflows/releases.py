"""Which versions serve: make a release out of a model and its index, point an alias at it, and point it back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..registry.kinds import AliasAction, ModelKind, ModelStatus
from ..registry.records import GateRecord, IndexRecord, ModelRecord, ReleaseParts, ReleaseRecord
from ..registry.references import HUB_SCOPE, check_alias
from ..results import Record
from .loading import newest_index

if TYPE_CHECKING:
    from ..registry.store import Registry
    from .context import Context


NO_RULES = "none"


@dataclass(frozen=True)
class Promotion(Record):
    """A move of an alias.

    Attributes:
        scope: the domain, or `hub`.
        alias: what moved.
        action: `promote` or `rollback`.
        before: what it pointed at, None for nothing.
        after: what it points at now; None where a dry run stopped short of making the release.
        hub: hub version that serves from now on.
        spoke: spoke version, None where the hub alone serves.
        index: index version, None for an alias of the hub.
        reranker: re-ranker version, if one serves along.
        rules: version of the merchandising rules, if any are in force.
        overridden: the conditions of the gate that do not hold and are overruled, in words.
        cached: whether it pointed there already.
        dry_run: whether nothing was changed.
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


@dataclass(frozen=True)
class _Target:
    """What is to serve: the parts of a release of `domain`, or a hub version alone where `parts` is None.

    `release` is the release that was named itself, None where a version was.
    """

    domain: str | None
    hub: str
    parts: ReleaseParts | None = None
    release: str | None = None

    @property
    def subject(self) -> str:
        """The model whose evaluations speak for it: the spoke, or the hub where it serves alone."""
        return self.parts.spoke or self.hub if self.parts else self.hub


def promote(
    context: Context,
    ref: str,
    to: str = "live",
    reason: str | None = None,
    dry_run: bool = False,
    rules: str | None = None,
    override: bool = False,
    first: bool = False,
) -> Promotion:
    """Point the alias `to` at what `ref` names, making the release where there is none of these parts.

    A spoke comes with its newest index; an index with the model that filled it; a hub version moves the hub's alias.
    Checks, release and move are one transaction, which is refused if the alias has moved or the gate has changed since
    this call began.

    Args:
        context: the workspace.
        ref: a spoke, index, release or hub version.
        to: the alias.
        reason: why, for the history.
        dry_run: only say what would be done.
        rules: version of the merchandising rules to release along; by default those of the release that the alias
            points at, `none` for none.
        override: move it although the domain's gate is not met; the history keeps what was overruled.
        first: only where the alias points at nothing yet.

    Raises:
        NotFoundError: `ref` points at nothing, or a spoke has no index yet.
        UsageError: `ref` names something that cannot serve, or a model that is not ready, or the gate is to be
            overruled without a reason.
        IncompatibleError: the parts do not fit together.
        QualityGateError: the domain's gate is not met.
        LockedError: another process moved the alias or changed the gate meanwhile, or it was to be the first release
            and is not.
    """
    check_alias(to)
    if override and not (reason or "").strip():
        raise UsageError("Overruling a gate needs a reason, which the history keeps; give --reason TEXT.")
    registry = context.registry
    target = _target(registry, ref)
    scope = target.domain or HUB_SCOPE
    before = _pointed_at(registry, scope, to)
    target = _with_rules(registry, target, before, rules)
    known = _known(registry, target)
    gate = registry.gates.get(target.domain) if target.domain else None
    overruled = None
    # What is there already does not move, so nothing stands in its way.
    if before is None or known != before:
        overruled = _unmet(context, ref, to, target, before, gate, override)
    if dry_run:
        return _promotion(scope, to, AliasAction.PROMOTE, before, known, target, overruled, dry_run=True)
    parts, expected = target.parts or target.hub, None if first else before
    change = registry.aliases.promote(scope, to, parts, context.actor, reason, expected, overruled, gate)
    return _promotion(scope, to, AliasAction.PROMOTE, change.from_ref, change.to_ref, target, change.overridden)


def rollback(
    context: Context, scope: str, alias: str = "live", reason: str | None = None, dry_run: bool = False
) -> Promotion:
    """Point `alias` back, the release whole, at what it pointed at before its last promotion that still stands.

    Raises:
        NotFoundError: there is no such domain, or nothing before.
        LockedError: another process moved the alias meanwhile.
    """
    registry = context.registry
    before, after = registry.aliases.way_back(scope, alias)
    if not dry_run:
        change = registry.aliases.rollback(scope, alias, context.actor, reason, before)
        before, after = str(change.from_ref), change.to_ref
    return _promotion(scope, alias, AliasAction.ROLLBACK, before, after, _target(registry, after), dry_run=dry_run)


def subjects(context: Context, domain: str, ref: str, alias: str) -> tuple[str, str | None]:
    """The model that would serve a domain if `ref` were promoted to an alias, and the one that does (None: nothing).

    Raises:
        NotFoundError: `ref` points at nothing, or a spoke has no index yet.
        UsageError: it cannot serve that domain.
    """
    check_alias(alias)
    target = _target(context.registry, ref)
    if target.domain != domain:
        raise UsageError(f"{ref} does not serve {domain}; name a spoke, index or release of {domain}.")
    return target.subject, _serving(context.registry, _pointed_at(context.registry, domain, alias))


def _serving(registry: Registry, release: str | None) -> str | None:
    return None if release is None else _target(registry, release).subject


def _unmet(
    context: Context,
    ref: str,
    alias: str,
    target: _Target,
    before: str | None,
    gate: GateRecord | None,
    override: bool,
) -> str | None:
    """The conditions of the gate that do not hold and are overruled, in words; None where it is met.

    Raises:
        QualityGateError: it is not met, nor overruled.
    """
    if gate is None or not gate.conditions:
        return None
    from .gatekeeping import check, refusal

    live = _serving(context.registry, before)
    found = check(context, gate.domain, alias, ref, target.subject, live, gate.conditions)
    if found.passes:
        return None
    if not override:
        raise refusal(found)
    return found.failed


def _promotion(
    scope: str,
    alias: str,
    action: AliasAction,
    before: str | None,
    after: str | None,
    target: _Target,
    overridden: str | None = None,
    dry_run: bool = False,
) -> Promotion:
    parts = target.parts
    return Promotion(
        scope=scope,
        alias=alias,
        action=action.value,
        before=before,
        after=after,
        hub=target.hub,
        spoke=parts.spoke if parts else None,
        index=parts.index if parts else None,
        reranker=parts.reranker if parts else None,
        rules=parts.rules if parts else None,
        cached=before is not None and before == after,
        overridden=overridden,
        dry_run=dry_run,
    )


def _target(registry: Registry, ref: str) -> _Target:
    record = registry.get(ref)
    if isinstance(record, ReleaseRecord):
        return _Target(record.domain, record.hub, record.parts, record.ref)
    if isinstance(record, IndexRecord):
        return _target_of_index(registry, record)
    if isinstance(record, ModelRecord) and record.kind != ModelKind.RERANKER:
        _require_ready(record)
        if record.kind == ModelKind.HUB:
            return _Target(None, record.ref)
        return _target_of_index(registry, newest_index(registry, record.ref))
    raise UsageError(
        f"{record.ref} cannot serve; promote a spoke (garden:7), an index (index:garden/12), a release "
        "(release:garden/2) or a hub version (hub:4)."
    )


def _with_rules(registry: Registry, target: _Target, before: str | None, rules: str | None) -> _Target:
    """The target with the rules that are to go with it: those named, else those in force; a release keeps its own."""
    if target.parts is None:
        if rules is not None:
            raise UsageError(f"{target.hub} serves no shopper by itself; give rules with a spoke, index or release.")
        return target
    if rules == NO_RULES:
        return replace(target, parts=replace(target.parts, rules=None))
    if rules is not None:
        return replace(target, parts=replace(target.parts, rules=registry.rules.get(rules).ref))
    if target.release is not None or before is None:
        return target
    return replace(target, parts=replace(target.parts, rules=registry.releases.get(before).rules))


def _known(registry: Registry, target: _Target) -> str | None:
    if target.parts is None:
        return target.hub
    known = registry.releases.find(str(target.domain), target.parts)
    return known.ref if known else None


def _require_ready(model: ModelRecord) -> None:
    if model.status != ModelStatus.READY:
        raise UsageError(f"{model.ref} is {model.status}; promote a version that is ready, or train it again.")


def _target_of_index(registry: Registry, index: IndexRecord) -> _Target:
    model = registry.models.get(index.model)
    _require_ready(model)
    if model.kind == ModelKind.HUB:
        return _Target(index.domain, model.ref, ReleaseParts(model.ref, index.ref))
    hub = registry.models.hub_of(model.ref).ref
    return _Target(index.domain, hub, ReleaseParts(hub, index.ref, model.ref))


def _pointed_at(registry: Registry, scope: str, alias: str) -> str | None:
    aliases = registry.aliases.list(scope)
    return next((a.target for a in aliases if a.alias == alias), None)

"""Which versions serve: make a release out of a model and its index, point an alias at it, and point it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import IncompatibleError, NotFoundError, UsageError
from ..registry.kinds import AliasAction, ModelKind, ModelStatus, Relation
from ..registry.records import IndexRecord, ModelRecord, ReleaseRecord
from ..registry.references import HUB_SCOPE, check_alias
from .results import Result

if TYPE_CHECKING:
    from ..registry.store import Registry
    from .workspace import Workspace


@dataclass(frozen=True)
class Promotion(Result):
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
    cached: bool
    dry_run: bool = False


@dataclass(frozen=True)
class _Parts:
    """What is to serve: a hub alone (no domain), or the parts of a release; `release` where it exists already."""

    domain: str | None
    hub: str
    spoke: str | None = None
    index: str | None = None
    release: str | None = None


def promote(ws: Workspace, ref: str, to: str = "live", reason: str | None = None, dry_run: bool = False) -> Promotion:
    """Point the alias `to` at what `ref` names, making the release where there is none of these parts.

    A spoke comes with its newest index; an index with the model that filled it; a hub version moves the hub's alias.

    Raises:
        NotFoundError: `ref` points at nothing, or a spoke has no index yet.
        UsageError: `ref` names something that cannot serve, or a model that is not ready.
        IncompatibleError: the index holds another embedding space than its model speaks.
    """
    check_alias(to)
    registry = ws.registry
    parts = _parts(registry, ref)
    scope = parts.domain or HUB_SCOPE
    before = _pointed_at(registry, scope, to)
    if dry_run:
        after = parts.hub if parts.domain is None else parts.release or _known_release(registry, parts)
        return _promotion(scope, to, AliasAction.PROMOTE, before, after, parts, dry_run=True)
    after = parts.hub if parts.domain is None else parts.release or _make_release(registry, parts)
    change = registry.promote(scope, to, after, ws.actor, reason)
    return _promotion(scope, to, AliasAction.PROMOTE, change.from_ref, change.to_ref, parts)


def rollback(
    ws: Workspace, scope: str, alias: str = "live", reason: str | None = None, dry_run: bool = False
) -> Promotion:
    """Point `alias` back at what it pointed at before its last promotion that still stands.

    Raises:
        NotFoundError: there is no such domain, or nothing before.
    """
    registry = ws.registry
    if dry_run:
        before, after = _standing(registry, scope, alias)[-1:-3:-1]
        parts = _parts(registry, after)
        return _promotion(scope, alias, AliasAction.ROLLBACK, before, after, parts, dry_run=True)
    change = registry.rollback(scope, alias, ws.actor, reason)
    parts = _parts(registry, change.to_ref)
    return _promotion(scope, alias, AliasAction.ROLLBACK, change.from_ref, change.to_ref, parts)


def _promotion(
    scope: str,
    alias: str,
    action: AliasAction,
    before: str | None,
    after: str | None,
    parts: _Parts,
    dry_run: bool = False,
) -> Promotion:
    return Promotion(
        scope=scope,
        alias=alias,
        action=action.value,
        before=before,
        after=after,
        hub=parts.hub,
        spoke=parts.spoke,
        index=parts.index,
        cached=before is not None and before == after,
        dry_run=dry_run,
    )


def _parts(registry: Registry, ref: str) -> _Parts:
    record = registry.get(ref)
    if isinstance(record, ReleaseRecord):
        return _Parts(record.domain, record.hub, record.spoke, record.index, record.ref)
    if isinstance(record, IndexRecord):
        return _parts_of_index(registry, record)
    if isinstance(record, ModelRecord):
        _require_ready(record)
        if record.kind == ModelKind.HUB:
            return _Parts(None, record.ref)
        return _parts_of_index(registry, _newest_index(registry, record))
    raise UsageError(
        f"{record.ref} cannot serve; promote a spoke (garden:7), an index (index:garden/12), a release "
        "(release:garden/2) or a hub version (hub:4)."
    )


def _require_ready(model: ModelRecord) -> None:
    if model.status != ModelStatus.READY:
        raise UsageError(f"{model.ref} is {model.status}; promote a version that is ready, or train it again.")


def _newest_index(registry: Registry, spoke: ModelRecord) -> IndexRecord:
    built = [index for index in registry.list_indexes(spoke.domain) if index.model == spoke.ref]
    if not built:
        raise NotFoundError(
            f"{spoke.ref} has no index to serve from; make one with `hubspoke index build {spoke.ref}`."
        )
    return built[-1]


def _parts_of_index(registry: Registry, index: IndexRecord) -> _Parts:
    model = registry.get_model(index.model)
    _require_ready(model)
    if model.kind == ModelKind.HUB:
        return _Parts(index.domain, model.ref, None, index.ref)
    # A hub's index lives in the hub's space calibrated per catalog, so only a spoke states the index's own space.
    if index.space_fingerprint != model.space_fingerprint:
        raise IncompatibleError(
            f"{index.ref} holds vectors of space {index.space_fingerprint}, {model.ref} speaks "
            f"{model.space_fingerprint}; build an index with `hubspoke index build {model.ref}`."
        )
    return _Parts(index.domain, _hub_of(registry, model), model.ref, index.ref)


def _hub_of(registry: Registry, spoke: ModelRecord) -> str:
    """The hub that a spoke adapts, as its lineage says."""
    lineage = registry.upstream(spoke.ref)
    hubs = {reached.ref for reached in lineage.nodes if reached.node.kind == ModelKind.HUB}
    direct = [edge for edge in lineage.edges if edge.child == spoke.ref and edge.parent in hubs]
    adapted = [edge.parent for edge in direct if edge.relation == Relation.ADAPTED_FROM]
    found = adapted or [edge.parent for edge in direct]
    if not found:
        raise NotFoundError(f"{spoke.ref} records no hub that it came from; train it again.")
    return found[0]


def _known_release(registry: Registry, parts: _Parts) -> str | None:
    wanted = (parts.hub, parts.spoke, parts.index)
    known = registry.list_releases(parts.domain)
    return next((r.ref for r in known if (r.hub, r.spoke, r.index) == wanted and not r.rules), None)


def _make_release(registry: Registry, parts: _Parts) -> str:
    release, _ = registry.create_release(parts.domain or "", parts.hub, parts.spoke, parts.index or "")
    return release.ref


def _pointed_at(registry: Registry, scope: str, alias: str) -> str | None:
    aliases = registry.list_aliases(scope)
    return next((a.target for a in aliases if a.alias == alias), None)


def _standing(registry: Registry, scope: str, alias: str) -> list[str]:
    """What the alias was promoted to and not rolled back from, oldest first; the last is the current one."""
    standing: list[str] = []
    for move in registry.history(scope, alias):
        if move.action == AliasAction.ROLLBACK:
            standing.pop()
        else:
            standing.append(move.to_ref)
    if len(standing) < 2:
        raise NotFoundError(f"{scope}@{alias} has no earlier version to return to; promote one instead.")
    return standing

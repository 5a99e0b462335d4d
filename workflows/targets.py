"""What a reference would serve: the parts of a release that it names or could make, and what serves now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import NotFoundError, UsageError
from ..registry.kinds import ModelKind, ModelStatus
from ..registry.records import IndexRecord, ModelRecord, ReleaseParts, ReleaseRecord

if TYPE_CHECKING:
    from ..registry.store import Registry


@dataclass(frozen=True)
class Target:
    """The parts of a release of `domain`, or a hub version alone where `parts` is None.

    `release` is the release that was named itself, None where a version was.
    """

    domain: str | None
    hub: str
    parts: ReleaseParts | None = None
    release: str | None = None

    @property
    def subject(self) -> str:
        """The model whose evaluations speak for it: the re-ranker, else the spoke, or the hub where it serves alone."""
        return self.parts.reranker or self.parts.spoke or self.hub if self.parts else self.hub

    @property
    def assessed(self) -> tuple[str, ...]:
        """The versions whose assessments speak for it: what embeds, and the index that was filled with that."""
        return (self.parts.spoke or self.hub, self.parts.index) if self.parts else (self.hub,)


def find_target(registry: Registry, ref: str) -> Target:
    """A spoke with its newest index, an index with the model that filled it, a release, or a hub version."""
    record = registry.get(ref)
    if isinstance(record, ReleaseRecord):
        return Target(record.domain, record.hub, record.parts, record.ref)
    if isinstance(record, IndexRecord):
        return _of_index(registry, record)
    if isinstance(record, ModelRecord) and record.kind != ModelKind.RERANKER:
        _require_ready(record)
        if record.kind == ModelKind.HUB:
            return Target(None, record.ref)
        return _of_index(registry, newest_index(registry, record.ref))
    raise UsageError(
        f"{record.ref} cannot serve; promote a spoke (garden:7), an index (index:garden/12), a release "
        "(release:garden/2) or a hub version (hub:4)."
    )


def newest_index(registry: Registry, spoke: str) -> IndexRecord:
    """The index version that a spoke version (its exact reference) filled last."""
    # The listing is oldest first, and an index built anew replaces the one before.
    filled = [index for index in registry.indexes.list() if index.model == spoke]
    if not filled:
        raise NotFoundError(f"{spoke} has no index yet; build it with `hubspoke index build {spoke}`.")
    return filled[-1]


def pointed_at(registry: Registry, scope: str, alias: str) -> str | None:
    """The release, or hub version, that an alias points at; None for nothing."""
    return next((known.target for known in registry.aliases.list(scope) if known.alias == alias), None)


def live_release(registry: Registry, domain: str) -> ReleaseRecord | None:
    """The release that serves a category; None where nothing does."""
    live = registry.domains.get(domain).live
    return registry.releases.get(live) if live else None


def _of_index(registry: Registry, index: IndexRecord) -> Target:
    model = registry.models.get(index.model)
    _require_ready(model)
    if model.kind == ModelKind.HUB:
        return Target(index.domain, model.ref, ReleaseParts(model.ref, index.ref))
    hub = registry.models.hub_of(model.ref).ref
    return Target(index.domain, hub, ReleaseParts(hub, index.ref, model.ref))


def _require_ready(model: ModelRecord) -> None:
    if model.status != ModelStatus.READY:
        raise UsageError(f"{model.ref} is {model.status}; promote a version that is ready, or train it again.")

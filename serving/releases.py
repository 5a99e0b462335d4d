"""Where the aliases point, and which data is newest: what a recommender must be made of to be up to date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..errors import NotFoundError
from ..registry.references import HUB_SCOPE, LIVE
from ..registry.store import Registry
from ..results import Record


@dataclass(frozen=True)
class Place:
    """Something that is served: an alias of a category."""

    domain: str
    alias: str = LIVE

    def __str__(self) -> str:
        return f"{self.domain}@{self.alias}"


@dataclass(frozen=True)
class Version(Record):
    """What an alias stands for at one moment; another version is loaded anew."""

    release: str
    items: str | None  # newest snapshots, which say what is available and whom a shopper is known by
    events: str | None


@dataclass(frozen=True)
class Heads:
    """The versions of all places, as the registry had them at one moment."""

    versions: Mapping[Place, Version]

    @cached_property
    def domains(self) -> frozenset[str]:
        """The categories that something is served of."""
        return frozenset(place.domain for place in self.versions)

    def version(self, place: Place) -> Version:
        """What a place stands for; a NotFoundError where that is nothing."""
        if place not in self.versions:
            raise NotFoundError(
                f"{place} points at no release; GET /v1/domains lists what is served, and `hubspoke promote` adds to "
                "it."
            )
        return self.versions[place]


def read_heads(registry: Registry, domains: tuple[str, ...] = ()) -> Heads:
    """Where the aliases of these categories point, by default of all that are active."""
    newest = registry.snapshots.newest()
    known = {domain for domain, _ in newest}
    served = known.intersection(domains) if domains else known
    return Heads(
        {
            Place(own.scope, own.alias): Version(
                own.target, newest.get((own.scope, "items")), newest.get((own.scope, "events"))
            )
            for own in registry.aliases.list()
            if own.scope != HUB_SCOPE and own.scope in served
        }
    )

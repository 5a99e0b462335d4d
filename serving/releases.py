"""Where the aliases point, and which data is newest: what a recommender must be made of to be up to date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..errors import NotFoundError
from ..registry.records import ExperimentRecord
from ..registry.references import HUB_SCOPE, LIVE
from ..registry.store import Registry
from ..results import Record

_EXPERIMENT = "experiment/"  # no alias has a slash


@dataclass(frozen=True)
class Place:
    """Something that is served: an alias of a category, or the candidate of its experiment."""

    domain: str
    alias: str = LIVE

    @classmethod
    def candidate(cls, experiment: ExperimentRecord) -> Place:
        """That of an experiment's candidate, whatever aliases point at it too."""
        return cls(experiment.domain, f"{_EXPERIMENT}{experiment.version}")

    @property
    def is_candidate(self) -> bool:
        """Whether it is that of an experiment, which nobody can ask for."""
        return self.alias.startswith(_EXPERIMENT)

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
    experiments: Mapping[str, ExperimentRecord] = field(default_factory=dict)  # by category, where live is the control

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
    """Where the aliases of these categories point and what is compared there; by default of all that are active."""
    newest = registry.snapshots.newest()
    known = {domain for domain, _ in newest}
    served = known.intersection(domains) if domains else known
    versions = {
        Place(own.scope, own.alias): Version(
            own.target, newest.get((own.scope, "items")), newest.get((own.scope, "events"))
        )
        for own in registry.aliases.list()
        if own.scope != HUB_SCOPE and own.scope in served
    }
    experiments = {}
    for own in registry.experiments.all_running():
        live = versions.get(Place(own.domain))
        if live is not None and live.release == own.control:  # what is live now is compared with nothing otherwise
            experiments[own.domain] = own
            versions[Place.candidate(own)] = replace(live, release=own.candidate)
    return Heads(versions, experiments)

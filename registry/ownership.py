"""Whose the artifacts of a store are. Only their registry may write to the store and collect garbage in it.

To every other registry what this one refers to looks like garbage; so it does to a copy of it that was made earlier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ..errors import IncompatibleError
from .artifacts.local import ArtifactStore

if TYPE_CHECKING:
    from .store import Registry


class Belonging(StrEnum):
    """What a store is to a registry."""

    OWN = "own"
    FREE = "free"  # without a mark, and empty or what this registry stored last: taken when something is first stored
    UNKNOWN = "unknown"  # without a mark, and what was stored last is not of this registry
    FOREIGN = "foreign"  # another registry's
    AHEAD = "ahead"  # of the registry that this one is an earlier copy of, or of another copy of the same


_MAY_WRITE = (Belonging.OWN, Belonging.FREE)
_CAUSES: Mapping[Belonging, str] = {
    Belonging.UNKNOWN: "{store} holds artifacts of no known owner, and {registry} knows nothing of the newest of them",
    Belonging.FOREIGN: "The artifacts in {store} belong to another registry than {registry}",
    Belonging.AHEAD: "{registry} is an older copy of the registry that the artifacts in {store} belong to, or another "
    "copy has stored something there since",
}


@dataclass(frozen=True)
class Ownership:
    """The relation of one registry to one artifact store."""

    registry: Registry
    store: ArtifactStore

    def look(self) -> Belonging:
        """Whose the store is; an unreadable mark is an InvalidDataError."""
        mark, stamps = self.store.mark(), self.registry.stamps
        if mark is None:
            return Belonging.FREE if self._knows_newest() else Belonging.UNKNOWN
        if mark.registry != stamps.identity():
            return Belonging.FOREIGN
        return Belonging.OWN if stamps.holds(mark.stamp) else Belonging.AHEAD

    def refusal(self, found: Belonging) -> IncompatibleError | None:
        """Why this registry may not change the store, None where it may."""
        if found in _MAY_WRITE:
            return None
        cause = _CAUSES[found].format(store=self.store.where, registry=self.registry.database.where)
        return IncompatibleError(
            f"{cause}; set HUBSPOKE_REGISTRY_URL to the registry that they belong to or HUBSPOKE_ARTIFACTS to another "
            "place, or take them over with `hubspoke registry adopt`."
        )

    def require(self) -> Belonging:
        """What the store is to this registry; an IncompatibleError where it may not change it."""
        found = self.look()
        refused = self.refusal(found)
        if refused is not None:
            raise refused
        return found

    def claim(self) -> None:
        """Refuse as `require` does, and put the mark on a store that has none."""
        if self.require() is Belonging.FREE:
            self.adopt()

    def stored(self) -> None:
        """Let the mark tell that something new lies in the store; from here on no earlier copy may change it."""
        self.require()
        self.adopt()

    def adopt(self) -> None:
        """Put this registry's mark on the store, whoever it belonged to."""
        self.registry.stamps.add()
        # Only one at a time, so that of two that store at once neither puts the older stamp over the newer one.
        with self.registry.stamps.newest() as mark:
            self.store.put_mark(mark)

    def _knows_newest(self) -> bool:
        """Whether a row here names what was stored last; what has no mark was written by version 0.1.0."""
        touched = {digest: self.store.touched(digest) for digest in self.store.digests()}
        last = max(touched.values(), default=None)
        # Several may have the time of the last one: a copy of a folder has one for all.
        newest = {digest for digest, moment in touched.items() if moment == last}
        return newest <= {artifact.digest for artifact in self.registry.artifacts.list()}


@dataclass(frozen=True)
class Holdings:
    """What a store holds, as a registry sees it."""

    known: int  # artifacts that its rows name
    unknown: int
    unknown_bytes: int


def holdings(ownership: Ownership) -> Holdings:
    """Count what a registry knows of a store."""
    held = ownership.store.holdings()
    unknown = held.keys() - {artifact.digest for artifact in ownership.registry.artifacts.list()}
    return Holdings(len(held) - len(unknown), len(unknown), sum(held[digest] for digest in unknown))

"""What the pages work on: the workspace, who may change it, and what is kept in memory between two pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..registry.references import LIVE
from ..serving.keys import KeyRing
from ..serving.releases import Version
from ..workflows.cache import Cache, Memo
from ..workflows.recommendations import Recommender
from ..workflows.targets import pointed_at
from ..workflows.workspace import Workspace
from .access import Access, Visitor
from .maps import Drawing
from .settings import ConsoleSettings
from .shelves import Shelf, open_shelf
from .thumbnails import Thumbnails

Result = TypeVar("Result")
MEGABYTE = 1_000_000
RECENT_SECONDS = 2.0
KEPT_SHELVES, KEPT_RECOMMENDERS = 32, 4


class Desk:
    """One process of the console; any number of threads work at it."""

    def __init__(self, workspace: Workspace, settings: ConsoleSettings) -> None:
        settings.require_safe()
        self.workspace, self.settings = workspace, settings
        self.access = Access(settings, KeyRing(settings.keys) if settings.keys else None)
        self.thumbnails = Thumbnails(settings.thumbnail_mb * MEGABYTE)
        self._shelves: Memo[Shelf] = Memo(KEPT_SHELVES)
        self._recommenders: Cache[Recommender] = Cache(KEPT_RECOMMENDERS)
        self._recent: dict[str, tuple[float, Any]] = {}
        self.drawings: Memo[Drawing] = Memo(KEPT_RECOMMENDERS)

    def recent(self, name: str, ask: Callable[[], Result]) -> Result:
        """What was asked of the whole registry, asked again after `RECENT_SECONDS` or a change of our own."""
        asked, found = self._recent.get(name, (0.0, None))
        if found is None or time.monotonic() - asked > RECENT_SECONDS:
            found = ask()
            self._recent[name] = time.monotonic(), found
        return found  # type: ignore[no-any-return]

    def acting_for(self, visitor: Visitor) -> Workspace:
        """The workspace in the name of a visitor who is about to change something, as the histories tell it."""
        self._recent.clear()
        return self.workspace.acting_as(visitor.name)

    def shelf(self, domain: str, snapshot: str | None = None) -> Shelf | None:
        """The products of an item snapshot of a category, by default the newest; None where it has none."""
        store = self.workspace.registry.snapshots
        ref = snapshot or store.newest().get((domain, "items"))
        return None if ref is None else self._shelves.get(ref, lambda: open_shelf(self.workspace, store.get(ref)))

    def recommender(self, ref: str) -> Recommender:
        """What answers for a release, spoke or index, on the newest data; those used last stay in memory."""
        registry = self.workspace.registry
        node = registry.resolve(ref)
        newest = registry.snapshots.newest()
        domain = str(node.domain)
        version = Version(node.ref, newest.get((domain, "items")), newest.get((domain, "events")))
        return self._recommenders.get(version, lambda: Recommender(self.workspace, node.ref))

    def live(self, domain: str) -> str | None:
        """The release that is live in a category."""
        return pointed_at(self.workspace.registry, domain, LIVE)

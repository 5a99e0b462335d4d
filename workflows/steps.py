"""What a launch or a refresh did, step by step, against the clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data import DataIngested
    from .domains import DomainAdded


class Steps:
    """Steps as plain data: each with the version it gave, its seconds, and whether it was done before."""

    def __init__(self) -> None:
        self.done: list[dict[str, Any]] = []
        self._began = self._started = time.perf_counter()

    def add(self, step: str, ref: str | None, cached: bool) -> None:
        """A step that has ended now."""
        now = time.perf_counter()
        self.done.append({"step": step, "ref": ref, "cached": cached, "seconds": round(now - self._started, 2)})
        self._started = now

    def add_taken(self, taken: DataIngested | DomainAdded) -> None:
        """The snapshots that were taken."""
        for part in filter(None, (taken.items, taken.events)):
            self.add(f"snapshot of {part.kind}", part.ref, part.cached)

    @property
    def seconds(self) -> float:
        """From the first moment until now."""
        return round(time.perf_counter() - self._began, 2)

"""Hubs in memory: read once, however many spokes stand on them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..hub.model import Hub

# A hub weighs what its encoders weigh, up to gigabytes; a process serves one, and a second while moving to it.
KEPT = 2


class LoadedHubs:
    """The hubs that were used last, by what they are made of and where they run.

    Whoever gets one shares it and must not change it. Those that are let go live on as long as somebody holds them.

    Args:
        at_most: hubs kept.
    """

    def __init__(self, at_most: int = KEPT) -> None:
        self._at_most = at_most
        self._hubs: OrderedDict[tuple[str, str], Hub] = OrderedDict()
        self._lock = Lock()

    def get(self, artifact: str, device: str, load: Callable[[], Hub]) -> Hub:
        """The hub of an artifact on a device; two threads that ask at once load it once.

        Args:
            artifact: its content hash, which its weights, its settings and the fingerprints of its encoders decide.
            device: as in the settings.
            load: called where it is not kept.
        """
        key = artifact, device
        with self._lock:
            hub = self._hubs.pop(key, None) or load()
            self._hubs[key] = hub
            while len(self._hubs) > self._at_most:
                self._hubs.popitem(last=False)
        return hub

    def clear(self) -> None:
        """Let all of them go."""
        with self._lock:
            self._hubs.clear()

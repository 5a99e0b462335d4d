"""What is in memory: one recommender per alias of a category that was asked for, on the hub that they share.

Everything here happens on the event loop, so nothing is locked: only loading runs elsewhere. An answer holds on to the
resident that it began with, so that one which is replaced, or makes room, lives until its last answer is written.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..errors import HubspokeError
from ..workflows.recommendations import Recommender
from .encoding import ItemBytes
from .releases import Heads, Place, Version

FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 1.0, 60.0
_log = logging.getLogger("hubspoke.serving")


@dataclass(frozen=True)
class Resident:
    """A recommender that answers for a place."""

    place: Place
    version: Version
    recommender: Recommender
    items: ItemBytes
    bytes: int  # that it takes beside its hub
    seconds: float  # that it took to load and to warm up
    loaded_at: datetime

    @property
    def ref(self) -> str:
        """What can be asked for anywhere to be answered by it."""
        return self.version.release if self.place.is_candidate else str(self.place)


@dataclass(frozen=True)
class Failure:
    """A version that could not be loaded, and when it is tried again."""

    version: Version
    error: Exception
    at: float  # monotonic
    wait: float


Load = Callable[[Place, Version], Awaitable[Resident]]


class Residents:
    """The recommenders in memory, the least recently used first; those over `capacity` bytes go."""

    def __init__(self, load: Load, capacity: int) -> None:
        self._load, self._capacity = load, capacity
        self._resident: OrderedDict[Place, Resident] = OrderedDict()
        self._loading: dict[Place, asyncio.Task[Resident]] = {}
        self.failures: dict[Place, Failure] = {}
        self.heads = Heads({})

    async def get(self, domain: str, alias: str) -> Resident:
        """The recommender of an alias of a category, loaded if it is not in memory; however many ask, once."""
        place = Place(domain, alias)
        found = self._resident.get(place)
        if found is not None:
            self._resident.move_to_end(place)
            return found
        version = self.heads.version(place)
        failed = self._failed_lately(place, version)
        if failed is not None:
            raise failed.error.with_traceback(None)  # or each raise would make its traceback longer
        # Whoever goes away must not take the load from the others.
        return await asyncio.shield(self._begin(place, version))

    def peek(self, place: Place) -> Resident | None:
        """The recommender of a place if it is in memory, which it does not count as used for."""
        return self._resident.get(place)

    def is_loading(self, place: Place) -> bool:
        """Whether a recommender of the place is on its way."""
        return place in self._loading

    @property
    def bytes(self) -> int:
        """That all of them take."""
        return sum(own.bytes for own in self._resident.values())

    def __len__(self) -> int:
        return len(self._resident)

    async def follow(self, heads: Heads) -> None:
        """Bring what is in memory up to where the aliases point now; each is served as it was until then.

        An experiment begins when its candidate is in memory, so that nobody waits for that; one that could not be
        loaded is tried again.
        """
        candidates = [place for place in heads.versions if place.is_candidate]
        await self._load_due(
            heads, [place for place in candidates if place not in self.heads.versions or place in self.failures]
        )
        self.heads = heads
        self.failures = {place: own for place, own in self.failures.items() if place in heads.versions}
        for place in [place for place in self._resident if place not in heads.versions]:
            del self._resident[place]  # its last answers hold it
        stale = [place for place, own in self._resident.items() if own.version != heads.versions[place]]
        await self._load_due(heads, stale)

    async def _load_due(self, heads: Heads, places: Sequence[Place]) -> None:
        """Load places as they are wanted, but for those that failed only just now."""
        due = [place for place in places if not self._failed_lately(place, heads.versions[place])]
        await asyncio.gather(*(self._begin(place, heads.versions[place]) for place in due), return_exceptions=True)

    def _failed_lately(self, place: Place, version: Version) -> Failure | None:
        """Why a version is not tried now; None where it may be."""
        failed = self.failures.get(place)
        if failed is None or failed.version != version or time.monotonic() >= failed.at + failed.wait:
            return None
        return failed

    def _begin(self, place: Place, version: Version) -> asyncio.Task[Resident]:
        """The load of a place, under way."""
        if place not in self._loading:
            task = asyncio.ensure_future(self._loaded(place, version))
            self._loading[place] = task
            task.add_done_callback(lambda ended: self._end(place, ended))
        return self._loading[place]

    def _end(self, place: Place, task: asyncio.Task[Resident]) -> None:
        del self._loading[place]
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits for it any more

    async def _loaded(self, place: Place, version: Version) -> Resident:
        try:
            made = await self._load(place, version)
        except Exception as error:
            self._failed(place, version, error)
            raise
        self.failures.pop(place, None)
        self._resident[place] = made  # the swap: answers that begin from here on are of the new version
        self._resident.move_to_end(place)
        self._make_room(place)
        return made

    def _failed(self, place: Place, version: Version, error: Exception) -> None:
        before = self.failures.get(place)
        wait = FIRST_RETRY_SECONDS if before is None or before.version != version else 2 * before.wait
        self.failures[place] = Failure(version, error, time.monotonic(), min(wait, LAST_RETRY_SECONDS))
        kept = self._resident.get(place)
        serving = f"{kept.version.release} serves on" if kept else "nothing serves it"
        unforeseen = None if isinstance(error, HubspokeError) else error
        _log.error("%s of %s cannot be loaded, %s: %s", version.release, place, serving, error, exc_info=unforeseen)

    def _make_room(self, newest: Place) -> None:
        while self.bytes > self._capacity and len(self._resident) > 1:
            place = next(place for place in self._resident if place != newest)
            _log.warning("%s makes room in memory for %s", place, newest)
            del self._resident[place]

    async def close(self) -> None:
        """Stop loading and let everything go."""
        for task in list(self._loading.values()):
            task.cancel()
        self._resident.clear()
        self.heads = Heads({})

"""Events as they come in: each looked at by itself, known once, written to the log, then remembered for its shopper."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from ..catalog.event_log import read_segments
from ..catalog.line_log import LineLog, LogSettings
from ..catalog.shopper_events import ShopperEvent, read_event
from ..errors import InvalidDataError
from ..results import Record
from .sessions import LiveSessions

MAX_EVENTS = 1000  # of one request
# Ids that are remembered, so that an event that is sent again is known; an ingest knows all of them.
REMEMBERED_IDS = 200_000
# Of a log, its newest events: about as many as ids are remembered, in a few seconds.
REPLAYED_BYTES = 32_000_000


@dataclass(frozen=True)
class EventsTaken(Record):
    """What became of the events of one request."""

    domain: str
    accepted: int
    duplicates: int  # that were there already
    unknown_items: int | None  # accepted, on items that what serves does not know; None where nothing serves
    refused: Sequence[Mapping[str, Any]]  # `index` in the request, `event_id` if it has one, and the `reason`


class RecentIds:
    """The ids of the last events."""

    def __init__(self, capacity: int = REMEMBERED_IDS) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._capacity = capacity

    def add(self, event_id: str) -> bool:
        """Remember one, for which the oldest is forgotten; False where it is remembered already."""
        if event_id in self._ids:
            return False
        self._ids[event_id] = None
        if len(self._ids) > self._capacity:
            self._ids.popitem(last=False)
        return True

    def forget(self, event_id: str) -> None:
        """Take one back."""
        self._ids.pop(event_id, None)


class Feed:
    """The events of one category on their way in."""

    def __init__(self, domain: str, folder: Path, sessions: LiveSessions, settings: LogSettings | None = None) -> None:
        self.domain, self._sessions = domain, sessions
        self._log = LineLog(folder, settings)
        self._recent = RecentIds()
        self._lock = Lock()  # an event that is being written is not yet one that is known

    def replay(self) -> int:
        """Remember the newest that the log holds, as after a restart; how many events that is."""
        count = 0
        for _, events in read_segments(self._log.folder, most=REPLAYED_BYTES):
            with self._lock:
                for event in events:
                    self._recent.add(event.event_id)
            self._sessions.add(self.domain, events)
            count += len(events)
        return count

    def take(self, given: Sequence[object], knows: Callable[[str], bool] | None = None) -> EventsTaken:
        """Take events; whatever is counted as accepted is in the log. `knows` tells the items of what serves."""
        now, refused, sound = datetime.now(UTC), list[Mapping[str, Any]](), list[ShopperEvent]()
        for index, raw in enumerate(given):
            try:
                sound.append(read_event(raw, now))
            except InvalidDataError as error:
                event_id = raw.get("event_id") if isinstance(raw, Mapping) else None
                named = event_id if isinstance(event_id, str) else None
                refused.append({"index": index, "event_id": named, "reason": str(error)})
        new = self._write(sound)
        self._sessions.add(self.domain, new)
        unknown = None if knows is None else sum(own.item_id is not None and not knows(own.item_id) for own in new)
        return EventsTaken(self.domain, len(new), len(sound) - len(new), unknown, refused)

    def _write(self, events: Sequence[ShopperEvent]) -> list[ShopperEvent]:
        """Write those that are new to the log; which these are."""
        with self._lock:
            new = [event for event in events if self._recent.add(event.event_id)]
            try:
                self._log.append(new)
            except BaseException:
                for event in new:
                    self._recent.forget(event.event_id)
                raise
            return new

    def close(self) -> None:
        """Seal the log."""
        self._log.close()


class Feeds:
    """The feeds of all categories, each made when it is first asked for."""

    def __init__(self, folder: Path, sessions: LiveSessions, settings: LogSettings | None = None) -> None:
        self._folder, self._sessions, self._settings = folder, sessions, settings
        self._feeds: dict[str, Feed] = {}
        self._lock = Lock()

    def of(self, domain: str) -> Feed:
        """The feed of a category."""
        with self._lock:
            if domain not in self._feeds:
                self._feeds[domain] = Feed(domain, self._folder / domain, self._sessions, self._settings)
            return self._feeds[domain]

    def close(self) -> None:
        """Seal all logs."""
        with self._lock:
            for feed in self._feeds.values():
                feed.close()

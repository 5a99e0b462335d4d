"""What shoppers did lately, in memory: their events, and for each recommender that answers them a state that follows.

Sessions that were used least recently make room, by number and by bytes. A state belongs to one recommender and goes
with it: after a swap of releases the events are followed anew, by the one that answers then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock
from weakref import WeakKeyDictionary

from pydantic import BaseModel, ConfigDict, Field

from ..catalog.shopper_events import ShopperEvent
from ..workflows.following import Follower
from ..workflows.question import Followed
from ..workflows.recommendations import Recommender

EVENT_BYTES = 1500  # of one event, as Python holds it


class SessionLimits(BaseModel):
    """What is remembered at most."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shoppers: int = Field(default=100_000, ge=1)
    bytes: int = Field(default=512_000_000, ge=1)
    events: int = Field(default=200, ge=1)  # of one shopper; the newest stay


class _Session:
    """One shopper of one category."""

    def __init__(self) -> None:
        self.lock = Lock()  # around the events and their followers
        self.events: dict[str, ShopperEvent] = {}  # by their ids, as they came
        self.followers: WeakKeyDictionary[Recommender, Follower] = WeakKeyDictionary()
        self.counted = 0  # bytes, as they were counted last

    def add(self, event: ShopperEvent, most: int) -> None:
        with self.lock:
            self.events.setdefault(event.event_id, event)
            while len(self.events) > most:
                del self.events[next(iter(self.events))]

    def followed(self, recommender: Recommender, user: str) -> Followed:
        with self.lock:
            follower = self.followers.get(recommender)
            if follower is None:
                follower = self.followers[recommender] = Follower(recommender, user)
            return follower.follow(recommender, self.events.values())

    @property
    def nbytes(self) -> int:
        with self.lock:
            return EVENT_BYTES * len(self.events) + sum(own.nbytes for own in self.followers.values())


class LiveSessions:
    """The sessions of all categories; any number of threads may use it at once, one per shopper at a time."""

    def __init__(self, limits: SessionLimits | None = None) -> None:
        self._limits = limits or SessionLimits()
        self._lock = Lock()  # around the two below
        self._sessions: OrderedDict[tuple[str, str], _Session] = OrderedDict()  # least recently used first
        self.bytes = 0  # as they were counted last

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, domain: str, events: Iterable[ShopperEvent]) -> None:
        """Remember events; one that is remembered already is not another."""
        for event in events:
            key = domain, event.user_id
            with self._lock:
                session = self._sessions.setdefault(key, _Session())
            session.add(event, self._limits.events)
            self._used(key, session)

    def followed(self, domain: str, user: str, recommender: Recommender) -> Followed | None:
        """A shopper as `recommender` is to see them; None of whom nothing happened lately that it knows."""
        key = domain, user
        with self._lock:
            session = self._sessions.get(key)
        if session is None:
            return None
        found = session.followed(recommender, user)
        self._used(key, session)
        return found if len(found.history) else None

    def _used(self, key: tuple[str, str], session: _Session) -> None:
        """Count a session anew, as the last that was used, and let those go for which there is no room."""
        size = session.nbytes
        with self._lock:
            if self._sessions.get(key) is not session:
                return  # it made room meanwhile
            self._sessions.move_to_end(key)
            self._count(session, size)
            while len(self._sessions) > 1 and self._is_over:
                oldest, least = next(iter(self._sessions.items()))
                # A swap of releases may have taken its state since it was counted.
                self._count(least, least.nbytes)
                if self._is_over:
                    del self._sessions[oldest]
                    self._count(least, 0)

    @property
    def _is_over(self) -> bool:
        return len(self._sessions) > self._limits.shoppers or self.bytes > self._limits.bytes

    def _count(self, session: _Session, size: int) -> None:
        self.bytes += size - session.counted
        session.counted = size

"""What a shopper is asked about: one object that carries a request for recommendations through every stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..catalog.growing import microseconds
from ..catalog.schema import EVENT_TYPES
from ..errors import UsageError

if TYPE_CHECKING:
    from ..arrays import FloatArray
    from ..catalog.sequences import History
    from ..retrieval.filters import Filter


@dataclass(frozen=True)
class SessionEvent:
    """An item that a shopper met, with the moment and the type of the event where they are known."""

    item_id: str
    timestamp: datetime | None = None
    event_type: str | None = None

    def __post_init__(self) -> None:
        if self.event_type is not None and self.event_type not in EVENT_TYPES:
            raise UsageError(f"The event type {self.event_type!r} is not known; use one of {', '.join(EVENT_TYPES)}.")

    @property
    def microseconds(self) -> int | None:
        """The moment since 1970, UTC where it names no zone."""
        if self.timestamp is None:
            return None
        return microseconds(self.timestamp if self.timestamp.tzinfo else self.timestamp.replace(tzinfo=UTC))


@dataclass(frozen=True, eq=False)
class Followed:
    """A shopper whose events were followed as they came, as one recommender is to see them."""

    history: History  # rows of its catalog
    unknown: Sequence[str]  # items that it does not know
    behaviour: FloatArray | None  # (1, D') session embedding of the spoke's behavioural part, where it has one


@dataclass(frozen=True)
class Question:
    """Who is asked for, and how their list is to be made."""

    session: Sequence[str | SessionEvent] = ()  # item ids or events, oldest first
    user: str | None = None  # a known shopper, in the place of a session
    k: int = 10
    exclude_seen: bool = False
    filter: Filter | None = None  # of the catalog, what may be shown
    diversity: float = 0.0  # from 0 to 1, trades score for difference
    near: float | None = None  # items of this cosine or more to one before them are passed over
    followed: Followed | None = None  # what is known of the user beyond the record
    fallback: bool = False  # whether who or what is unknown is answered like a newcomer, rather than refused

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"{self.k} recommendations were asked for; ask for at least one.")
        if self.session and self.user is not None:
            raise UsageError("A session and a user were both given; ask for one of them.")
        if not 0 <= self.diversity <= 1:
            raise UsageError(f"A diversity of {self.diversity:g} was asked for; give a number from 0 to 1.")
        if self.near is not None and not 0 < self.near <= 1:
            raise UsageError(
                f"Items of a cosine of {self.near:g} were to be passed over; give a number above 0, up to 1."
            )

    @property
    def events(self) -> list[SessionEvent]:
        """The session as events, oldest first; by their moments, where all are known."""
        events = [own if isinstance(own, SessionEvent) else SessionEvent(own) for own in self.session]
        timed = [own.timestamp is not None for own in events]
        return sorted(events, key=lambda own: own.microseconds or 0) if all(timed) else events

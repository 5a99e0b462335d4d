"""A shopper who is followed: what is recorded and what happens now as one history, and the state of the spoke's model.

The history is cut by the rule of the batch (`catalog.growing`), so that an answer is what the next ingest would make of
the same events. While events only come after each other the model remembers the earlier ones, and a new one costs one
position; whatever changes the past is computed again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from ..catalog.growing import LAST, NO_ITEM, Moment, as_history, event_code, grown_history, microseconds
from ..catalog.shopper_events import ShopperEvent
from .question import Followed

if TYPE_CHECKING:
    import polars as pl

    from ..spokes.streaming import SessionState
    from .recommendations import Recommender

# More new events than these are read in one pass.
ONE_BY_ONE = 4
MOMENT_BYTES = 200  # of one remembered event, as Python holds it


class Follower:
    """One shopper before one recommender, which it does not hold; to be asked by one thread at a time."""

    def __init__(self, recommender: Recommender, user: str) -> None:
        self._recorded = _moments(recommender.shoppers.recorded(user), recommender.catalog.row_of)
        self._known = set(map(_what, self._recorded))
        self._history: list[Moment] = []
        self._state: SessionState | None = None

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        moments = len(self._recorded) + len(self._known) + len(self._history)
        return MOMENT_BYTES * moments + (self._state.nbytes if self._state else 0)

    def follow(self, recommender: Recommender, events: Collection[ShopperEvent]) -> Followed:
        """The shopper after `events`, all that happened lately, in any order; those that are recorded count once."""
        row_of, shoppers = recommender.catalog.row_of, recommender.shoppers
        named = [own for own in events if own.item_id is None or own.item_id in row_of]
        live = [moment for moment in (_moment(own, row_of) for own in named) if _what(moment) not in self._known]
        moments = sorted([*self._recorded, *live], key=_when)
        self._advance(recommender, grown_history(moments, shoppers.sessions, shoppers.time_kind))
        unknown = [own.item_id for own in events if own.item_id is not None and own.item_id not in row_of]
        embedding = None if self._state is None else self._state.embedding[None].copy()
        return Followed(as_history(self._history), list(dict.fromkeys(unknown)), embedding)

    def _advance(self, recommender: Recommender, history: list[Moment]) -> None:
        """Bring the state from the history that it rests on to a later one."""
        from ..spokes.streaming import resume

        sessions, known = recommender.loaded.sessions, len(self._history)
        goes_on = self._state is not None and history[:known] == self._history
        new = history[known:] if goes_on and len(history) - known <= ONE_BY_ONE else history
        self._history = history
        if sessions.transformer is None:
            return
        read = as_history(new)
        vectors = np.ascontiguousarray(recommender.vectors[read.items, : sessions.width])  # (T, D')
        if self._state is None or new is history:
            self._state = resume(sessions.transformer, vectors, read.timestamps, read.event_types)
            return
        for vector, moment in zip(vectors, new, strict=True):
            self._state.append(vector, moment.time, moment.event_type)


def _moment(event: ShopperEvent, row_of: dict[str, int]) -> Moment:
    position = LAST if event.position is None else event.position
    item = NO_ITEM if event.item_id is None else row_of[event.item_id]
    return Moment(microseconds(event.timestamp), position, item, event_code(event.event_type), event.session_id)


def _moments(rows: pl.DataFrame, row_of: dict[str, int]) -> list[Moment]:
    """A shopper's recorded events; those on items that are gone are left out, as the batch does."""
    import polars as pl

    columns = rows.select(
        pl.col("timestamp").cast(pl.Int64), pl.col("position").fill_null(LAST), "item_id", "event_type", "session_id"
    )
    return [
        Moment(time, position, NO_ITEM if item is None else row_of[item], event_code(event_type or ""), session)
        for time, position, item, event_type, session in columns.iter_rows()
        if item is None or item in row_of
    ]


def _when(moment: Moment) -> tuple[int, int]:
    return moment.time, moment.position


def _what(moment: Moment) -> tuple[int, int, int]:
    """What tells an event from a shopper's others, to the microsecond, whatever brought it here."""
    return moment.time, moment.item, moment.event_type

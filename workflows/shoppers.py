"""Known shoppers: the history that a category has of one, or which other categories know them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..catalog.schema import EVENT_CODES
from ..errors import NotFoundError
from ..forks import Lock
from .cache import Memo
from .newcomers import Elsewhere, OtherCategories

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from ..catalog.schema import TimeKind
    from ..catalog.sequences import History
    from ..catalog.sessions import SessionSettings
    from ..registry.records import DomainRecord, SnapshotRecord
    from .context import Context
    from .question import Question

# Shoppers whose histories are kept once they have been read.
KEPT_HISTORIES = 10_000


class Shoppers:
    """The newest events of one category, read shopper by shopper; many threads may ask at once."""

    def __init__(self, context: Context, domain: DomainRecord, item_ids: pl.Series, index: str) -> None:
        """`item_ids` (N,) are those of the rows of an index, `index` its reference."""
        from .datasets import find_snapshot

        self._context, self._domain, self._item_ids, self._index = context, domain, item_ids, index
        self.events: SnapshotRecord | None = find_snapshot(context, domain.name, "events")
        self._kept: Memo[tuple[History, list[Elsewhere]]] = Memo(KEPT_HISTORIES)
        self._lock = Lock()  # around what is read once, at the first question that needs it

    @cached_property
    def sessions(self) -> SessionSettings:
        """How events are cut into sessions."""
        from .datasets import session_settings

        return session_settings(self._domain)

    @property
    def time_kind(self) -> TimeKind:
        """What the times of the recorded events mean."""
        from .datasets import time_kind

        return "real" if self.events is None else time_kind(self.events)

    def recorded(self, user: str) -> pl.DataFrame:
        """What is recorded of a shopper, as it is, by time; no rows where that is nothing."""
        import polars as pl

        from ..catalog.schema import EVENT_SCHEMA
        from ..catalog.snapshots import HISTORY_COLUMNS, read_user_events

        with self._lock:
            folder = self._table
        none = pl.DataFrame(schema={name: EVENT_SCHEMA[name] for name in HISTORY_COLUMNS})
        return none if folder is None else pl.concat([none, read_user_events(folder, user)], how="diagonal")

    def history(self, question: Question, row_of: Mapping[str, int]) -> tuple[History, list[str], list[Elsewhere]]:
        """The events that a question rests on, oldest first, its unknown items, and who else knows the shopper.

        Empty for a shopper who is known from other categories alone, and where what is unknown may fall back.
        """
        from ..catalog.sequences import History

        nothing = History(np.zeros(0, dtype=np.int64))
        if question.followed is not None:
            return question.followed.history, list(question.followed.unknown), []
        if question.user is None:
            return *self._of_session(question, row_of), []
        try:
            history, known_from = self.read(question.user)
        except NotFoundError:
            if not question.fallback:
                raise
            return nothing, [], []
        return history, [], known_from

    def _of_session(self, question: Question, row_of: Mapping[str, int]) -> tuple[History, list[str]]:
        from ..catalog.sequences import History

        events = question.events
        unknown = [own.item_id for own in events if own.item_id not in row_of]
        known = [own for own in events if own.item_id in row_of]
        if events and not known and not question.fallback:
            raise NotFoundError(
                f"None of the {len(events)} items of the session (first: {events[0].item_id!r}) is in {self._index}; "
                "check the ids, or ingest the catalog they belong to and build its index."
            )
        rows = np.array([row_of[own.item_id] for own in known], dtype=np.int64)
        moments = [own.microseconds for own in known]
        times = np.array(moments, np.int64) if known and None not in moments else None
        codes = [EVENT_CODES.get(own.event_type or "", 0) for own in known]
        return History(rows, times, np.array(codes, np.int64) if any(codes) else None), unknown

    def read(self, user: str) -> tuple[History, list[Elsewhere]]:
        """What `_read` finds, kept."""
        return self._kept.get(user, lambda: self._read(user))

    def _read(self, user: str) -> tuple[History, list[Elsewhere]]:
        """A shopper's item rows, oldest first, with what is known of the events; without any, who else knows them."""
        from ..catalog.sequences import History
        from ..catalog.snapshots import read_user_events
        from .datasets import user_sequences

        with self._lock:
            folder = self._table
        if self.events is not None and folder is not None:
            found = user_sequences(folder, self._domain, self.events, self._item_ids, user)
            if len(found):
                return found.by_user().history(0), []
        with self._lock:
            others = self._others
        known_from = others.knowing(user)
        # Where a category cannot be read nobody can be called unknown.
        if known_from or others.unread:
            return History(np.zeros(0, dtype=np.int64)), known_from
        events = 0 if folder is None else read_user_events(folder, user).height
        raise NotFoundError(_why_unknown(self._domain, user, events))

    @cached_property
    def _table(self) -> Path | None:
        from .datasets import table_folder

        return None if self.events is None else table_folder(self._context, self.events)

    @cached_property
    def _others(self) -> OtherCategories:
        return OtherCategories(self._context, self._domain.name)


def _why_unknown(domain: DomainRecord, user: str, events: int) -> str:
    """Why there is nothing to go by, with the remedy."""
    from ..catalog.sessions import why_none
    from .datasets import session_settings

    if not events:
        return (
            f"User {user!r} has no session in {domain.name} and no event in any other category; check the id, or pass "
            "--session instead."
        )
    settings = session_settings(domain)
    if events < settings.min_length:
        return (
            f"User {user!r} has {events} events in {domain.name}, and a session takes {settings.min_length}; pass "
            "--session instead."
        )
    mode = "per_user" if settings.mode == "per_user" else "gap"
    return (
        f"User {user!r} has {events} events in {domain.name} but no session: {why_none(mode, settings)}; change it "
        f"with `hubspoke data ingest {domain.name} --sessions MODE`, or pass --session instead."
    )

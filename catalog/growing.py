"""A shopper's history while it grows: what `clean_sessions` makes of one shopper's events, in microseconds.

The one difference: the session that is going on counts however short it is, for the next event may make it longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np

from .schema import EVENT_CODES, TimeKind
from .sequences import History
from .sessions import SessionSettings

IMPRESSION, SEARCH = EVENT_CODES["impression"], EVENT_CODES["search"]
NO_ITEM = -1
LAST = 2**63 - 1


class Moment(NamedTuple):
    """One event of a shopper, in the numbers of `History`."""

    time: int  # microseconds UTC
    position: int  # among events of the same time, `LAST` where it is not known
    item: int  # row of the catalog, `NO_ITEM` for none
    event_type: int  # 1 + place in `EVENT_TYPES`
    session_id: str | None = None


def microseconds(moment: datetime) -> int:
    """A moment that names its zone as `History` holds it."""
    # Rounded: seconds as floating point fall short of a microsecond as often as they exceed it.
    return round(moment.timestamp() * 1_000_000)


def event_code(event_type: str) -> int:
    """The number of an event type, 0 for one that is not known."""
    return EVENT_CODES.get(event_type, 0)


def grown_history(moments: Sequence[Moment], settings: SessionSettings, time_kind: TimeKind = "real") -> list[Moment]:
    """What counts of a shopper's events, sorted by time and position, which are all on items of the catalog or none."""
    sessions = [session for session in _sessions(moments, settings, time_kind) if session]
    newest = max(reversed(sessions), key=lambda session: session[-1][:2], default=None)
    kept: list[Moment] = []
    for session in sessions:
        rest = len(session) % settings.max_length
        short = rest < settings.min_length and session is not newest
        kept += session[: len(session) - rest] if short else session
    return kept


def as_history(moments: Sequence[Moment]) -> History:
    """The form that models read."""
    rows, times, types = np.array([(own.item, own.time, own.event_type) for own in moments], np.int64).reshape(-1, 3).T
    return History(rows, times, types)


def _sessions(moments: Sequence[Moment], settings: SessionSettings, time_kind: TimeKind) -> Iterable[list[Moment]]:
    """Sessions by their start, some of them empty, with repeats collapsed and what names no item left out."""
    mode = settings.mode if settings.mode != "auto" else "gap" if time_kind == "real" else "per_user"
    pause = round(settings.gap_minutes * 60_000_000)
    sessions: dict[str | int, list[Moment]] = {}
    before: int | None = None
    cuts = 0
    for moment in moments:
        if moment.event_type == IMPRESSION or (mode == "given" and moment.session_id is None):
            continue
        late = before is None or moment.time - before >= pause
        cuts += mode == "gap" and (late or moment.event_type == SEARCH)
        session = sessions.setdefault((moment.session_id or "") if mode == "given" else cuts, [])
        before = moment.time
        repeated = settings.collapse_repeats and session and session[-1].item == moment.item
        if moment.item != NO_ITEM and moment.event_type != SEARCH and not repeated:
            session.append(moment)
    return sessions.values()

"""Events cleaned into sessions, with a waterfall that says what each step cost.

A search splits sessions but is no item; an impression is no interaction; repeats collapse; short sessions go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..errors import InvalidDataError
from .schema import TimeKind
from .validation import Step

Mode = Literal["gap", "per_user", "given"]
NO_SESSION_ID = "events without session_id left out"
COLUMNS = ("user_id", "session", "item_id", "timestamp", "event_type")


class SessionSettings(BaseModel):
    """Thresholds of session cleaning.

    Attributes:
        mode: `gap` cuts at pauses and searches, `per_user` takes a user's history as one session, `given` follows
            `session_id`; `auto` is `gap` where time is real, else `per_user`.
        gap_minutes: a pause this long or longer starts a new session.
        min_length: sessions with fewer items are dropped.
        max_length: longer sessions are cut into consecutive parts (not in mode `per_user`).
        collapse_repeats: whether the same item several times in a row counts once.
        min_item_count: items with fewer events are reported as rare; none is dropped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["auto", "gap", "per_user", "given"] = "auto"
    gap_minutes: float = Field(default=30.0, gt=0)
    min_length: int = Field(default=3, ge=1)
    max_length: int = Field(default=50, ge=1)
    collapse_repeats: bool = True
    min_item_count: int = Field(default=5, ge=0)

    @model_validator(mode="after")
    def _lengths_agree(self) -> SessionSettings:
        if self.max_length < self.min_length:
            raise ValueError(f"max_length ({self.max_length}) must be at least min_length ({self.min_length})")
        return self


@dataclass(frozen=True)
class CleanSessions:
    """Cleaned sessions.

    Attributes:
        frame: `user_id`, `session` (int, unique over all users, increasing), `item_id`, `timestamp`, `event_type`;
            sorted by user, then session, then time.
        waterfall: rows, sessions and users after each step.
        mode: how sessions were cut.
        rare_items: items with fewer than `min_item_count` events left.
    """

    frame: pl.DataFrame
    waterfall: tuple[Step, ...]
    mode: Mode
    rare_items: int

    def to_json(self) -> dict[str, Any]:
        """Counts and waterfall as a plain dict."""
        return {
            "mode": self.mode,
            "rows": self.frame.height,
            "sessions": self.frame["session"].n_unique(),
            "users": self.frame["user_id"].n_unique(),
            "items": self.frame["item_id"].n_unique(),
            "rare_items": self.rare_items,
            "waterfall": [step.to_json() for step in self.waterfall],
        }


class _Waterfall:
    """Applies steps to a table and writes down what each one left."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        self.steps: list[Step] = []

    def keep(self, name: str, condition: pl.Expr) -> None:
        self.apply(name, self.frame.filter(condition))

    def apply(self, name: str, frame: pl.DataFrame) -> None:
        sessions = frame["session"].n_unique() if "session" in frame.columns else None
        step = Step(name, self.frame.height, frame.height, sessions, frame["user"].n_unique())
        self.steps.append(step)
        self.frame = frame


def clean_sessions(
    events: pl.DataFrame,
    settings: SessionSettings | None = None,
    time_kind: TimeKind = "real",
    *,
    part: bool = False,
) -> CleanSessions:
    """Cut a table of canonical events into sessions and clean them.

    Args:
        events: columns of the event schema; any order.
        settings: thresholds.
        time_kind: what the timestamps mean; decides the mode `auto`.
        part: whether these are the events of some users only, among whom nobody may have a `session_id`.

    Raises:
        InvalidDataError: mode `given` without any `session_id`.
    """
    settings = settings or SessionSettings()
    mode = _mode(settings, time_kind)
    flow = _Waterfall(_by_user_and_time(events))
    flow.keep("impressions left out", pl.col("event_type") != "impression")
    if mode == "given":
        if not part or "session_id" not in flow.frame.columns:
            _require_given(flow.frame)
        flow.keep(NO_SESSION_ID, pl.col("session_id").is_not_null())
    flow.apply(_cut_name(mode, settings), flow.frame.with_columns(session=_session_key(mode, settings)))
    flow.keep("searches and events without item left out", _names_item())
    if mode == "given":
        flow.frame = _contiguous(flow.frame)
    if settings.collapse_repeats:
        flow.keep("repeats collapsed", ~_repeats())
    if mode != "per_user":
        flow.apply(f"sessions over {settings.max_length} cut", _split_long(flow.frame, settings.max_length))
    flow.keep(f"sessions under {settings.min_length} left out", pl.len().over("session") >= settings.min_length)
    return CleanSessions(_numbered(flow.frame), tuple(flow.steps), mode, _rare_items(flow.frame, settings))


def _mode(settings: SessionSettings, time_kind: TimeKind) -> Mode:
    if settings.mode == "auto":
        return "gap" if time_kind == "real" else "per_user"
    return settings.mode


def _by_user_and_time(events: pl.DataFrame) -> pl.DataFrame:
    """Stable order by user, time and position, with users as numbers: comparing those is cheaper than text."""
    keys = ["user_id", "timestamp", *(["position"] if "position" in events.columns else [])]
    wanted = [
        "user_id",
        "item_id",
        "timestamp",
        "event_type",
        *(["session_id"] if "session_id" in events.columns else []),
    ]
    ordered = events.select(list(dict.fromkeys([*wanted, *keys]))).sort(keys, maintain_order=True, nulls_last=True)
    return ordered.select(
        *wanted,
        pl.col("user_id").rle_id().cast(pl.Int64).alias("user"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
    )


def _require_given(frame: pl.DataFrame) -> None:
    if "session_id" not in frame.columns or frame["session_id"].null_count() == frame.height:
        raise none_given()


def none_given() -> InvalidDataError:
    """What is wrong where sessions are to be taken from `session_id` and no event has one."""
    return InvalidDataError("Sessions are to be taken from session_id, but no event has one; use --sessions auto.")


def _cut_name(mode: Mode, settings: SessionSettings) -> str:
    names = {
        "gap": f"cut at pauses of {settings.gap_minutes:g} minutes and at searches",
        "per_user": "one session per user",
        "given": "cut by session_id",
    }
    return names[mode]


def _session_key(mode: Mode, settings: SessionSettings) -> pl.Expr:
    """A number that is the same within a session; rows of a session may still lie apart in mode `given`."""
    if mode == "per_user":
        return pl.col("user")
    if mode == "given":
        return pl.col("row").first().over("user", "session_id")
    pause = pl.duration(microseconds=round(settings.gap_minutes * 60_000_000))
    late = (pl.col("timestamp") - pl.col("timestamp").shift(1)) >= pause
    starts = (pl.col("user") != pl.col("user").shift(1)) | late | (pl.col("event_type") == "search")
    return starts.fill_null(True).cast(pl.Int64).cum_sum()


def _names_item() -> pl.Expr:
    return pl.col("item_id").is_not_null() & (pl.col("event_type") != "search")


def _contiguous(frame: pl.DataFrame) -> pl.DataFrame:
    """Each session's rows together; the session key is its first row, so sessions stay in order of their start."""
    return frame.sort("session", maintain_order=True)


def _repeats() -> pl.Expr:
    same = (pl.col("item_id") == pl.col("item_id").shift(1)) & (pl.col("session") == pl.col("session").shift(1))
    return same.fill_null(False)


def _split_long(frame: pl.DataFrame, max_length: int) -> pl.DataFrame:
    """Consecutive parts of `max_length`; the rest of a session is its last, shorter part."""
    part = pl.int_range(pl.len(), dtype=pl.Int64).over("session") // max_length
    return frame.with_columns(session=pl.struct("session", part.alias("part")).rle_id().cast(pl.Int64))


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(session=pl.col("session").rle_id().cast(pl.Int64)).select(COLUMNS)


def _rare_items(frame: pl.DataFrame, settings: SessionSettings) -> int:
    counts = frame["item_id"].value_counts()["count"]
    return int((counts < settings.min_item_count).sum())

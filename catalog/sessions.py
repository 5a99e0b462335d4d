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
    """Thresholds of session cleaning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # `gap` cuts at pauses and searches, `per_user` takes a user's history as one session, `given` follows `session_id`;
    # `auto` is `gap` where time is real, else `per_user`.
    mode: Literal["auto", "gap", "per_user", "given"] = "auto"
    gap_minutes: float = Field(default=30.0, gt=0, description="a pause this long or longer starts a new session")
    min_length: int = Field(default=3, ge=1, description="sessions with fewer items are dropped")
    max_length: int = Field(default=50, ge=1, description="longer ones are cut into parts (not in mode per_user)")
    collapse_repeats: bool = Field(default=True, description="the same item several times in a row counts once")
    min_item_count: int = Field(default=5, ge=0, description="rarer items are reported; none is dropped")

    @model_validator(mode="after")
    def _lengths_agree(self) -> SessionSettings:
        if self.max_length < self.min_length:
            raise ValueError(f"max_length ({self.max_length}) must be at least min_length ({self.min_length})")
        return self


@dataclass(frozen=True)
class CleanSessions:
    """Cleaned sessions, and the rows, sessions and users that each step left."""

    frame: pl.DataFrame  # of `COLUMNS`; sorted by user, session (a number unique over all users, increasing) and time
    waterfall: tuple[Step, ...]
    mode: Mode  # how sessions were cut
    rare_items: int  # with fewer than `min_item_count` events left

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
    events: pl.DataFrame, settings: SessionSettings | None = None, time_kind: TimeKind = "real", *, part: bool = False
) -> CleanSessions:
    """Cut a table of canonical events, in any order, into sessions and clean them.

    A `part` holds the events of some users only, among whom nobody may have a `session_id`.
    """
    settings = settings or SessionSettings()
    mode: Mode = settings.mode if settings.mode != "auto" else "gap" if time_kind == "real" else "per_user"
    flow = _Waterfall(_by_user_and_time(events))
    flow.keep("impressions left out", pl.col("event_type") != "impression")
    if mode == "given":
        given = "session_id" in flow.frame.columns
        if not (given and part) and (not given or flow.frame["session_id"].null_count() == flow.frame.height):
            raise none_given()
        flow.keep(NO_SESSION_ID, pl.col("session_id").is_not_null())
    cut = {
        "gap": f"cut at pauses of {settings.gap_minutes:g} minutes and at searches",
        "per_user": "one session per user",
        "given": "cut by session_id",
    }
    flow.apply(cut[mode], flow.frame.with_columns(session=_session_key(mode, settings)))
    names_item = pl.col("item_id").is_not_null() & (pl.col("event_type") != "search")
    flow.keep("searches and events without item left out", names_item)
    if mode == "given":
        # Each session's rows together; the key is its first row, so sessions stay in order of their start.
        flow.frame = flow.frame.sort("session", maintain_order=True)
    if settings.collapse_repeats:
        same = (pl.col("item_id") == pl.col("item_id").shift(1)) & (pl.col("session") == pl.col("session").shift(1))
        flow.keep("repeats collapsed", ~same.fill_null(False))
    if mode != "per_user":
        # Consecutive parts; the rest of a session is its last, shorter part.
        nth = pl.int_range(pl.len(), dtype=pl.Int64).over("session") // settings.max_length
        parts = pl.struct("session", nth.alias("part")).rle_id().cast(pl.Int64)
        flow.apply(f"sessions over {settings.max_length} cut", flow.frame.with_columns(session=parts))
    flow.keep(f"sessions under {settings.min_length} left out", pl.len().over("session") >= settings.min_length)
    frame = flow.frame.with_columns(session=pl.col("session").rle_id().cast(pl.Int64)).select(COLUMNS)
    rare = frame["item_id"].value_counts()["count"] < settings.min_item_count
    return CleanSessions(frame, tuple(flow.steps), mode, int(rare.sum()))


def why_none(mode: str, settings: SessionSettings, users: int | None = None) -> str:
    """Why events give no session, with the remedy; `users` would have one if all of a user's events were one."""
    least = f"{settings.min_length} items"
    if mode == "per_user":
        return f"no user has events on {least} or more; more events are needed"
    if users == 0:
        return f"every session is shorter than {least}, and so are all events of a user; more events are needed"
    many = "" if users is None else f" ({users} users would have one)"
    return f"every session is shorter than {least}; --sessions per_user takes all events of a user as one{many}"


def none_given() -> InvalidDataError:
    """What is wrong where sessions are to be taken from `session_id` and no event has one."""
    return InvalidDataError("Sessions are to be taken from session_id, but no event has one; use --sessions auto.")


def _by_user_and_time(events: pl.DataFrame) -> pl.DataFrame:
    """Stable order by user, time and position, with users as numbers: comparing those is cheaper than text."""
    keys = [name for name in ("user_id", "timestamp", "position") if name in events.columns]
    known = ("user_id", "item_id", "timestamp", "event_type", "session_id")
    wanted = [name for name in known if name != "session_id" or name in events.columns]
    ordered = events.select(list(dict.fromkeys([*wanted, *keys]))).sort(keys, maintain_order=True, nulls_last=True)
    return ordered.select(
        *wanted,
        pl.col("user_id").rle_id().cast(pl.Int64).alias("user"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
    )


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

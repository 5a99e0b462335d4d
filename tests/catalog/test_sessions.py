from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.schema import EVENT_SCHEMA
from hubspoke.catalog.sessions import CleanSessions, SessionSettings, clean_sessions
from hubspoke.errors import InvalidDataError
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

START = datetime(2020, 1, 1, tzinfo=UTC)
Row = tuple[str, str | None, float, str, str | None]


def events(rows: list[Row]) -> pl.DataFrame:
    table = pl.DataFrame(
        {
            "user_id": [r[0] for r in rows],
            "item_id": [r[1] for r in rows],
            "timestamp": [START + timedelta(minutes=r[2]) for r in rows],
            "event_type": [r[3] for r in rows],
            "session_id": [r[4] for r in rows],
        },
        schema={name: EVENT_SCHEMA[name] for name in ("user_id", "item_id", "timestamp", "event_type", "session_id")},
    )
    return table.with_columns(position=pl.lit(None, dtype=pl.Int64))


def views(user: str, items: str, minutes: list[float]) -> list[Row]:
    return [(user, item, minute, "view", None) for item, minute in zip(items, minutes, strict=True)]


def lists(clean: CleanSessions) -> list[list[str]]:
    return clean.frame.group_by("session", maintain_order=True).agg("item_id")["item_id"].to_list()


def test_a_pause_of_thirty_minutes_cuts() -> None:
    clean = clean_sessions(events(views("u", "abcdef", [0, 29.9, 59.8, 89.8, 90, 91])))
    assert clean.mode == "gap"
    assert lists(clean) == [["a", "b", "c"], ["d", "e", "f"]]
    assert clean.frame["session"].to_list() == [0, 0, 0, 1, 1, 1]
    assert clean.frame.columns == ["user_id", "session", "item_id", "timestamp", "event_type"]
    assert clean.frame["session"].dtype == pl.Int64


BUSY = [*views("u", "abc", [0, 1, 2]), ("u", None, 3, "search", None), *views("u", "def", [4, 5, 6])]
SHOWN = [*views("u", "abc", [0, 1, 2]), ("u", "x", 20, "impression", None), *views("u", "def", [40, 41, 42])]
LONG = views("u", "abcdefgh", [float(i) for i in range(8)])


@pytest.mark.parametrize(
    ("rows", "changes", "expected"),
    [
        (BUSY, {}, ["abc", "def"]),  # a search cuts and is no item
        (BUSY, {"mode": "per_user"}, ["abcdef"]),
        (SHOWN, {}, ["abc", "def"]),  # an impression is no interaction and bridges no pause
        # Repeats collapse only when consecutive and within a session.
        (views("u", "aabac", [0, 1, 2, 3, 4]), {}, ["abac"]),
        (views("u", "aabac", [0, 1, 2, 3, 4]), {"collapse_repeats": False}, ["aabac"]),
        (views("u", "abccde", [0, 1, 2, 60, 61, 62]), {}, ["abc", "cde"]),
        # Long sessions are cut, and short rests dropped.
        (LONG, {"max_length": 3}, ["abc", "def"]),
        (LONG, {"max_length": 3, "mode": "per_user"}, ["abcdefgh"]),
    ],
)
def test_sessions_by_hand(rows: list[Row], changes: dict[str, Any], expected: list[str]) -> None:
    clean = clean_sessions(events(rows), SessionSettings.model_validate(changes))
    assert ["".join(own) for own in lists(clean)] == expected


def test_given_sessions_may_interleave() -> None:
    rows: list[Row] = [("u", i, m, "view", s) for i, m, s in zip("abcdefg", range(7), "xyxyxy", strict=False)]
    rows.append(("u", "z", 9, "view", None))
    clean = clean_sessions(events(rows), SessionSettings(mode="given"))
    assert lists(clean) == [["a", "c", "e"], ["b", "d", "f"]]
    assert [s.rows_out for s in clean.waterfall if "session_id left out" in s.name] == [6]
    shared: list[Row] = [(u, i, m, "view", "s") for u in "uv" for m, i in enumerate("abc")]
    clean = clean_sessions(events(shared), SessionSettings(mode="given"))
    assert clean.frame["session"].to_list() == [0, 0, 0, 1, 1, 1]  # the same id of two users is two sessions
    with pytest.raises(InvalidDataError, match="session_id"):
        clean_sessions(events(views("u", "abc", [0, 1, 2])), SessionSettings(mode="given"))


@pytest.mark.parametrize(("time_kind", "mode"), [("real", "gap"), ("day", "per_user"), ("order", "per_user")])
def test_auto_follows_the_time_kind(time_kind: str, mode: str) -> None:
    assert clean_sessions(events(views("u", "abc", [0, 1, 2])), None, time_kind).mode == mode  # type: ignore[arg-type]


def test_users_never_share_a_session_and_equal_times_keep_order() -> None:
    rows = [*views("v", "xyz", [0, 0, 0]), *views("u", "cab", [0, 0, 0])]
    clean = clean_sessions(events(rows))
    assert lists(clean) == [["c", "a", "b"], ["x", "y", "z"]]
    assert clean.frame["user_id"].to_list() == ["u"] * 3 + ["v"] * 3


def test_waterfall_counts_every_step() -> None:
    rows = [
        *views("u", "aabc", [0, 1, 2, 3]),
        ("u", None, 4, "search", None),
        ("u", "x", 5, "impression", None),
        *views("v", "ab", [0, 1]),
    ]
    clean = clean_sessions(events(rows))
    assert [(s.rows_in, s.rows_out, s.sessions, s.users) for s in clean.waterfall] == [
        (8, 7, None, 2),  # impressions
        (7, 7, 3, 2),  # cut: the search opens a session of its own
        (7, 6, 2, 2),  # searches
        (6, 5, 2, 2),  # repeats
        (5, 5, 2, 2),  # long
        (5, 3, 1, 1),  # short
    ]
    assert clean.rare_items == 3
    assert clean.to_json()["sessions"] == 1


def test_nothing_left_is_an_empty_table() -> None:
    clean = clean_sessions(events(views("u", "ab", [0, 1])))
    assert clean.frame.height == 0
    assert clean_sessions(events([])).frame.columns == clean.frame.columns


def test_settings_refuse_nonsense() -> None:
    for bad in ({"min_length": 0}, {"max_length": 2}, {"gap_minutes": 0}, {"gap": 3}, {"mode": "daily"}):
        with pytest.raises(ValidationError):
            SessionSettings.model_validate(bad)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from("uv"), st.sampled_from("abc"), st.integers(0, 200)), max_size=60),
    st.integers(1, 3),
    st.integers(3, 6),
)
def test_laws_of_clean_sessions(rows: list[tuple[str, str, int]], shortest: int, longest: int) -> None:
    table = events([(u, i, float(m), "view", None) for u, i, m in rows])
    clean = clean_sessions(table, SessionSettings(min_length=shortest, max_length=longest))
    frame = clean.frame
    lengths = frame.group_by("session").len()["len"].to_list()
    assert all(shortest <= n <= longest for n in lengths)
    assert frame["session"].unique().sort().to_list() == list(range(len(lengths)))
    assert frame.group_by("session").agg(pl.col("user_id").n_unique())["user_id"].to_list() == [1] * len(lengths)
    assert frame.sort("user_id", "session", "timestamp", maintain_order=True).equals(frame)
    outs = [s.rows_out for s in clean.waterfall]
    assert [s.rows_in for s in clean.waterfall] == [len(rows), *outs[:-1]]
    assert outs[-1] == frame.height

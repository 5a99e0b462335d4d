"""What shoppers did is read the same from the log and from a snapshot's table, damaged lines passed over."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from hubspoke.catalog.actions import ACTION_SCHEMA, actions_of, read_actions
from hubspoke.catalog.line_log import LineLog
from hubspoke.catalog.schema import EVENT_TYPES
from hubspoke.catalog.shopper_events import ShopperEvent, events_frame, identified
from hypothesis import given
from hypothesis import strategies as st

AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=5)
EVENTS = st.builds(
    ShopperEvent,
    event_id=TEXT,
    user_id=TEXT,
    item_id=TEXT,
    timestamp=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
    event_type=st.sampled_from(EVENT_TYPES),
    value=st.none() | st.floats(-1e9, 1e9),
    quantity=st.none() | st.integers(0, 2**53),
    attributes=st.just({}) | st.just({"shop": "north"}),
    recommendation_id=st.none() | TEXT,
)


def event(**told: Any) -> ShopperEvent:
    return identified(ShopperEvent(**{"user_id": "ann", "item_id": "rose", "timestamp": AT} | told))


def test_a_folder_that_is_none_holds_nothing(tmp_path: Path) -> None:
    found = read_actions(tmp_path / "nothing")
    assert (found.schema, found.height) == (ACTION_SCHEMA, 0)


def test_lines_that_are_no_events_hide_no_others(tmp_path: Path) -> None:
    line = event(event_id="e1", value=2.5, recommendation_id="r1").line()
    wrong = (
        b"no json\n", b"\xff\n", b"[1]\n", b"{}\n", line[:30] + b"\n",
        line.replace(b"2026-11-30T12:00:00Z", b"yesterday"), line.replace(b'"ann"', b"null"),
    )  # fmt: skip
    for number, own in enumerate(wrong):
        (tmp_path / f"{number}.jsonl").write_bytes(line + own + line)
    (tmp_path / "9.open.jsonl").write_bytes(line + line[:-1])
    found = read_actions(tmp_path)
    assert found.height == 2 * len(wrong) + 1
    assert found.unique().rows() == [("e1", "ann", "rose", AT, "view", 2.5, None, "r1")]


@given(st.lists(EVENTS, max_size=5))
def test_a_log_and_a_snapshot_tell_the_same(tmp_path_factory: Any, events: list[ShopperEvent]) -> None:
    own = [identified(event) for event in events]
    folder = tmp_path_factory.mktemp("log")
    LineLog(folder).append(own)
    logged, stored = read_actions(folder), actions_of(events_frame(own).lazy()).collect()
    assert logged.schema == stored.schema == pl.Schema(ACTION_SCHEMA)
    assert logged.equals(stored)

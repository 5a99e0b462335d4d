"""One event from a shop: what is taken, what is refused and in which words, and ids that follow from content."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.schema import EVENT_SCHEMA
from hubspoke.catalog.shopper_events import ShopperEvent, event_ids, events_frame, read_event
from hubspoke.errors import InvalidDataError

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
LEAST = {"user_id": "ann", "item_id": "rose"}


def test_an_event_of_the_least_is_a_view_now() -> None:
    event = read_event(LEAST, NOW)
    assert (event.user_id, event.item_id, event.event_type, event.timestamp) == ("ann", "rose", "view", NOW)
    assert read_event({**LEAST, "query": None}, NOW) == event


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-01-31T14:05:00Z", datetime(2026, 1, 31, 14, 5, tzinfo=UTC)),
        ("2026-01-31T14:05:00.123456+02:00", datetime(2026, 1, 31, 12, 5, 0, 123456, tzinfo=UTC)),
        ("2026-01-31 14:05:00", datetime(2026, 1, 31, 14, 5, tzinfo=UTC)),
        ("2026-11-29T12:04:59Z", NOW + timedelta(minutes=4, seconds=59)),
    ],
)
def test_times_are_utc_to_the_microsecond(written: str, read: datetime) -> None:
    assert read_event({**LEAST, "timestamp": written}, NOW).timestamp == read


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("rose", "An event is an object with a user_id and an item_id, not a str."),
        ({"item_id": "rose"}, "user_id: Field required."),
        ({"user_id": "", "item_id": "rose"}, "user_id: String should have at least 1 character."),
        ({"user_id": 7, "item_id": "rose"}, "user_id: Input should be a valid string."),
        ({"user_id": "ann"}, "A view names its item; give it an item_id."),
        ({**LEAST, "event_type": "buy"}, "event_type: use one of view, click, cart"),
        ({**LEAST, "timestamp": 1700000000}, "timestamp: write a time as 2026-01-31T14:05:00Z."),
        ({**LEAST, "timestamp": "1700000000"}, "timestamp: write a time as"),
        ({**LEAST, "timestamp": "2026-01-31"}, "timestamp: write a time as"),
        ({**LEAST, "timestamp": "2026-11-29T12:06:00Z"}, "more than 5 minutes ahead of 2026-11-29T12:00:00"),
        ({**LEAST, "value": "9.5"}, "value: write a number."),
        ({**LEAST, "value": float("nan")}, "value: write a number."),
        ({**LEAST, "quantity": 1.5}, "quantity: write a whole number."),
        ({**LEAST, "quantity": True}, "quantity: write a whole number."),
        ({**LEAST, "quantity": -1}, "quantity: Input should be greater than or equal to 0."),
        ({**LEAST, "price": 3}, "price is no field of an event; put it into attributes, as text."),
        ({**LEAST, "attributes": {"shop": 3}}, "attributes.shop: Input should be a valid string."),
        ({**LEAST, "attributes": {"event_id": "x"}}, "Event_id is a field of its own, not an attribute."),
        ({**LEAST, "item_id": "a\nb"}, "item_id: String should match pattern"),
        ({"user_id": 7, "item_id": 7}, "(and 1 more)."),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(wrong: Any, words: str) -> None:
    with pytest.raises(InvalidDataError) as refused:
        read_event(wrong, NOW)
    assert words in str(refused.value) and str(refused.value).endswith(".")


def test_searches_and_impressions_may_name_no_item() -> None:
    for event_type in ("search", "impression"):
        assert read_event({"user_id": "ann", "event_type": event_type, "query": "oak"}, NOW).item_id is None


def test_an_id_follows_from_content_where_the_shop_has_none() -> None:
    first = read_event({**LEAST, "timestamp": "2026-11-29T11:00:00Z"}, NOW)
    again = read_event({**LEAST, "timestamp": "2026-11-29T12:00:00+01:00"}, NOW + timedelta(hours=1))
    other = read_event({**LEAST, "timestamp": "2026-11-29T11:00:01Z"}, NOW)
    assert first.event_id == again.event_id != other.event_id and len(first.event_id) == 32
    assert read_event({**LEAST, "event_id": "e1"}, NOW).event_id == "e1"


def test_a_line_holds_the_whole_event() -> None:
    raw = {**LEAST, "event_id": "e1", "event_type": "purchase", "value": 9.5, "quantity": 2, "session_id": "s"}
    raw |= {"attributes": {"shop": "Köln\n"}, "recommendation_id": "r1", "timestamp": "2026-11-29T11:00:00.000001Z"}
    event = read_event(raw, NOW)
    assert event.line().count(b"\n") == 1
    assert ShopperEvent.model_validate(json.loads(event.line())) == event


def test_a_table_of_events_keeps_their_ids_and_recommendations_as_attributes() -> None:
    own = timezone(timedelta(hours=1))
    first = read_event({**LEAST, "event_id": "e1", "recommendation_id": "r1", "attributes": {"shop": "a"}}, NOW)
    second = read_event({"user_id": "bob", "event_type": "search", "query": "oak"}, NOW.astimezone(own))
    frame = events_frame([first, second])
    assert frame.schema == EVENT_SCHEMA
    told = [{row["key"]: row["value"] for row in rows} for rows in frame["attributes"]]
    assert told == [{"shop": "a", "event_id": "e1", "recommendation_id": "r1"}, {"event_id": second.event_id}]
    assert frame["timestamp"].to_list() == [NOW, NOW]
    assert event_ids(frame).to_list() == ["e1", second.event_id]
    bare = frame.with_columns(pl.lit([], dtype=EVENT_SCHEMA["attributes"]).alias("attributes"))
    assert event_ids(bare).to_list() == [None, None]

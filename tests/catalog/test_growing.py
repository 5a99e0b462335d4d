"""A shopper's growing history: the batch rule event by event, but for the session that is going on."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hubspoke.catalog.growing import LAST, NO_ITEM, Moment, as_history, event_code, grown_history
from hubspoke.catalog.schema import EVENT_TYPES
from hubspoke.catalog.sessions import SessionSettings, clean_sessions
from hypothesis import given
from hypothesis import strategies as st

START = datetime(2024, 1, 1, tzinfo=UTC)
MICROSECONDS = round(START.timestamp() * 1_000_000)
MINUTE = 60_000_000
VIEW, SEARCH, IMPRESSION = (event_code(name) for name in ("view", "search", "impression"))


def at(minute: float, item: int, event_type: int = VIEW, session_id: str | None = None) -> Moment:
    return Moment(MICROSECONDS + round(minute * MINUTE), LAST, item, event_type, session_id)


def items(moments: list[Moment]) -> list[int]:
    return [own.item for own in moments]


def test_an_earlier_session_that_is_too_short_goes_and_the_one_going_on_stays() -> None:
    rule = SessionSettings(min_length=2)
    visits = [at(0, 1), at(1, 2), at(60, 3), at(120, 4)]
    assert items(grown_history(visits, rule)) == [1, 2, 4]
    # One more event joins the visit of an hour before and makes it long enough.
    assert items(grown_history([*visits, at(149.9, 5)], rule)) == [1, 2, 4, 5]
    assert items(grown_history([*visits, at(150, 5)], rule)) == [1, 2, 5]
    assert items(grown_history([*visits[:3], at(61, 4), at(200, 5)], rule)) == [1, 2, 3, 4, 5]
    # A search begins another session, whose first item is awaited.
    assert items(grown_history([at(0, 1), at(1, NO_ITEM, SEARCH)], rule)) == [1]
    assert items(grown_history([at(0, 1), at(1, NO_ITEM, SEARCH), at(2, 2)], rule)) == [2]
    assert grown_history([], rule) == grown_history([at(0, NO_ITEM, IMPRESSION)], rule) == []


def test_a_history_tells_rows_times_and_types() -> None:
    history = as_history([at(0, 7), at(1, 9, event_code("purchase"))])
    assert (history.items.tolist(), history.event_types.tolist()) == ([7, 9], [1, 4])
    assert history.timestamps.tolist() == [MICROSECONDS, MICROSECONDS + MINUTE]
    assert len(as_history([])) == 0 and event_code("unheard") == 0


MOMENTS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 5, 29, 30, 31, 200]),  # minutes since the one before
        st.sampled_from([None, 0, 1]),  # position
        st.sampled_from([NO_ITEM, 1, 1, 2, 3]),
        st.sampled_from([VIEW, VIEW, VIEW, SEARCH, IMPRESSION, 4]),
        st.sampled_from([None, "a", "b"]),
    ),
    max_size=14,
)
RULES = st.builds(
    SessionSettings,
    mode=st.sampled_from(["auto", "gap", "per_user", "given"]),
    min_length=st.integers(1, 3),
    max_length=st.integers(3, 5),
    collapse_repeats=st.booleans(),
)


@given(drawn=MOMENTS, rule=RULES, kind=st.sampled_from(["real", "day"]))
def test_it_is_what_cleaning_makes_of_the_events_and_the_rest_of_the_newest_session(drawn, rule, kind) -> None:
    minute, rows = 0, []
    for pause, position, item, event_type, session_id in drawn:
        minute += pause
        rows.append((minute, position, None if item == NO_ITEM else str(item), event_type, session_id))
    table = pl.DataFrame(
        {
            "user_id": ["ann"] * len(rows),
            "item_id": [row[2] for row in rows],
            "timestamp": [START + timedelta(minutes=row[0]) for row in rows],
            "event_type": [EVENT_TYPES[row[3] - 1] for row in rows],
            "session_id": [row[4] for row in rows],
            "position": [row[1] for row in rows],
        },
        schema_overrides={"timestamp": pl.Datetime("us", "UTC"), "item_id": pl.String, "session_id": pl.String,
                          "position": pl.Int64, "user_id": pl.String, "event_type": pl.String},
    )  # fmt: skip
    moments = sorted(
        (
            Moment(MICROSECONDS + row[0] * MINUTE, LAST if row[1] is None else row[1], int(row[2] or NO_ITEM), *row[3:])
            for row in rows
        ),
        key=lambda own: own[:2],
    )
    grown = [(str(own.item), own.time, EVENT_TYPES[own.event_type - 1]) for own in grown_history(moments, rule, kind)]
    cleaned = clean_sessions(table, rule, kind, part=True).frame
    times = cleaned["timestamp"].cast(pl.Int64).to_list()
    batch = list(zip(cleaned["item_id"].to_list(), times, cleaned["event_type"].to_list(), strict=True))
    extra = len(grown) - len(batch)
    # What is more is one run of events, shorter than a session.
    assert 0 <= extra < rule.min_length
    assert any(grown[:n] + grown[n + extra :] == batch for n in range(len(batch) + 1))

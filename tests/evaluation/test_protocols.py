"""Splits on hand-written histories, and that nothing that is tested reaches training."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hubspoke.catalog.sequences import History, Sequences
from hubspoke.errors import UsageError
from hubspoke.evaluation.protocols import Protocol, evaluation_set, leave_one_out, temporal, training_mask
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

DAY = 86_400_000_000
START = datetime(2017, 1, 1, tzinfo=UTC)
START_US = 17_167 * DAY


def sequences_of(sessions: list[tuple[int, list[tuple[int, float]]]], n_items: int = 10) -> Sequences:
    """Sequences from (user, [(item, day), ...]) sessions."""
    events = [event for _, session in sessions for event in session]
    return Sequences(
        items=np.array([item for item, _ in events], dtype=np.int64),
        timestamps=np.array([START_US + int(day * DAY) for _, day in events], dtype=np.int64),
        offsets=np.cumsum([0, *(len(session) for _, session in sessions)]).astype(np.int64),
        users=np.array([user for user, _ in sessions], dtype=np.int64),
        user_ids=tuple("abcdefghij"[: 1 + max((user for user, _ in sessions), default=-1)]),
        n_items=n_items,
    )


# User a: two sessions; b: too short for leave-one-out; c: one session, a repeat in it.
SESSIONS = sequences_of(
    [(0, [(1, 0), (2, 0)]), (0, [(3, 5), (4, 5)]), (1, [(7, 1), (8, 6)]), (2, [(5, 1), (6, 2), (5, 6), (9, 7), (9, 8)])]
)


def on_day(day: int) -> datetime:
    return START + timedelta(days=day)


def test_leave_one_out_takes_the_last_event_of_the_user_over_all_sessions() -> None:
    got = leave_one_out(SESSIONS)
    assert got.users == ["a", "c"]
    assert [history.items.tolist() for history in got.histories] == [[1, 2, 3], [5, 6, 5, 9]]
    assert [target.tolist() for target in got.targets] == [[4], [9]]
    assert got.n_left_out == 1
    assert got.protocol.name == "leave-one-out"


def test_histories_bring_times_and_types_along() -> None:
    types = np.arange(len(SESSIONS.items)).astype(np.int8)
    for sequences in (replace(SESSIONS, event_types=types), replace(SESSIONS, event_types=types).by_user()):
        first, second = leave_one_out(sequences).histories
        assert isinstance(first, History) and isinstance(second, History)
        assert first.timestamps is not None and first.event_types is not None and second.event_types is not None
        assert ((first.timestamps - START_US) // DAY).tolist() == [0, 0, 5]
        assert first.event_types.tolist() == [0, 1, 2] and second[-2:].event_types.tolist() == [8, 9]
    (first, _) = leave_one_out(SESSIONS).histories
    assert isinstance(first, History) and first.event_types is None


def test_validation_is_the_last_but_one_event() -> None:
    got = leave_one_out(SESSIONS, part="validation")
    assert [history.items.tolist() for history in got.histories] == [[1, 2], [5, 6, 5]]
    assert [target.tolist() for target in got.targets] == [[3], [9]]
    assert got.protocol.part == "validation"


def test_grouping_by_user_or_by_session_gives_the_same_set() -> None:
    by_session, by_user = leave_one_out(SESSIONS), leave_one_out(SESSIONS.by_user())
    assert [h.items.tolist() for h in by_session.histories] == [h.items.tolist() for h in by_user.histories]
    assert training_mask(SESSIONS, Protocol()).tolist() == training_mask(SESSIONS.by_user(), Protocol()).tolist()


def test_training_sees_neither_validation_nor_test_and_all_of_short_users() -> None:
    kept = SESSIONS.keep_events(training_mask(SESSIONS, Protocol()))
    assert [sequence.tolist() for sequence in kept] == [[1, 2], [7, 8], [5, 6, 5]]
    np.testing.assert_array_equal(leave_one_out(SESSIONS).train_counts, kept.item_counts())


def test_a_refit_sees_validation_but_not_test() -> None:
    refit = Protocol(refit=True)
    kept = SESSIONS.keep_events(training_mask(SESSIONS, refit))
    assert [sequence.tolist() for sequence in kept] == [[1, 2], [3], [7, 8], [5, 6, 5, 9]]
    assert leave_one_out(SESSIONS, settings=refit).train_counts[9] == 1
    assert leave_one_out(SESSIONS, "validation", refit).train_counts[9] == 0


def test_sequences_out_of_time_order_do_not_leak_the_future() -> None:
    swapped = sequences_of([(0, [(4, 5), (5, 5)]), (0, [(1, 0), (2, 0)])])
    got = leave_one_out(swapped)
    assert got.histories[0].items.tolist() == [1, 2, 4]
    assert got.targets[0].tolist() == [5]
    kept = swapped.keep_events(training_mask(swapped, Protocol()))
    assert [sequence.tolist() for sequence in kept] == [[1, 2]]


def test_events_of_one_moment_keep_their_order() -> None:
    got = leave_one_out(sequences_of([(0, [(3, 1), (1, 1), (2, 1), (0, 1)])]))
    assert got.histories[0].items.tolist() == [3, 1, 2]


def test_temporal_targets_are_the_distinct_items_of_the_window() -> None:
    got = temporal(SESSIONS, on_day(5), on_day(8))
    assert got.users == ["a", "b", "c"]
    assert [history.items.tolist() for history in got.histories] == [[1, 2], [7], [5, 6]]
    assert [target.tolist() for target in got.targets] == [[3, 4], [8], [5, 9]]
    assert got.n_left_out == 0


def test_the_window_holds_its_start_and_not_its_end() -> None:
    got = temporal(SESSIONS, on_day(6), on_day(7))
    assert got.users == ["b", "c"]
    assert [target.tolist() for target in got.targets] == [[8], [5]]


def test_users_with_nothing_before_the_window_are_left_out_and_counted() -> None:
    got = temporal(SESSIONS, on_day(1))
    assert got.users == ["a"]
    assert got.n_left_out == 2


def test_a_window_in_another_time_zone_is_the_same_moment() -> None:
    shifted = on_day(5).astimezone(timezone(timedelta(hours=-7)))
    assert temporal(SESSIONS, shifted).users == temporal(SESSIONS, on_day(5)).users


def test_a_planted_future_event_reaches_no_training_part() -> None:
    planted = sequences_of([(0, [(1, 0), (2, 1), (3, 2)]), (1, [(1, 0), (2, 1), (9, 30)])])
    protocol = Protocol(name="temporal", train_until=on_day(2), test_from=on_day(3), test_until=on_day(31))
    assert 9 not in planted.keep_events(training_mask(planted, protocol)).items
    assert 9 not in planted.keep_events(training_mask(planted, protocol.model_copy(update={"refit": True}))).items
    assert evaluation_set(planted, protocol).train_counts[9] == 0
    assert 9 not in planted.keep_events(training_mask(planted, Protocol(refit=True))).items


def test_temporal_validation_lies_between_training_and_test() -> None:
    protocol = Protocol(name="temporal", part="validation", train_until=on_day(5), test_from=on_day(7))
    got = evaluation_set(SESSIONS, protocol)
    assert [target.tolist() for target in got.targets] == [[3, 4], [8], [5]]
    assert training_mask(SESSIONS, protocol).sum() == 5
    refit = Protocol(name="temporal", refit=True, train_until=on_day(5), test_from=on_day(7))
    assert training_mask(SESSIONS, refit).sum() == 9


def test_no_events_give_an_empty_set() -> None:
    empty = sequences_of([])
    assert len(leave_one_out(empty)) == 0
    assert leave_one_out(empty).train_counts.tolist() == [0] * 10


def test_describe_names_what_matters() -> None:
    assert Protocol().describe() == (
        "leave-one-out test, full ranking, seen items ranked, history <= 50, cold < 5 training events"
    )
    protocol = Protocol(
        name="temporal", exclude_seen=True, refit=True, train_until=on_day(2), test_from=on_day(4), test_until=on_day(9)
    )
    assert protocol.describe() == (
        "temporal test, window 2017-01-05 to 2017-01-10, training before 2017-01-05, full ranking, "
        "seen items excluded, history <= 50, cold < 5 training events, refitted on all but test"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"test_from": START}, "takes no dates"),
        ({"name": "temporal"}, "needs test_from"),
        ({"name": "temporal", "test_from": START, "test_until": START}, "follow each other"),
        ({"name": "temporal", "test_from": START, "train_until": on_day(1)}, "follow each other"),
        ({"name": "temporal", "test_from": datetime(2017, 1, 1)}, "timezone"),
        ({"name": "temporal", "part": "validation", "test_from": START}, "needs train_until"),
        ({"part": "validation", "refit": True}, "has seen the validation part"),
        ({"sampled": True}, "sampled"),
    ],
)
def test_contradicting_settings_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Protocol(**fields)


def test_leave_one_out_with_temporal_settings_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="temporal settings"):
        leave_one_out(SESSIONS, settings=Protocol(name="temporal", test_from=START))


histories = st.lists(
    st.tuples(st.integers(0, 4), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6)),
    max_size=8,
)


@given(histories)
def test_every_event_of_a_tested_user_has_exactly_one_role(drawn: list[tuple[int, list[tuple[int, int]]]]) -> None:
    sessions = sorted(((user, sorted(events, key=lambda e: e[1])) for user, events in drawn), key=lambda s: s[0])
    sequences = sequences_of([(user, [(item, float(day)) for item, day in events]) for user, events in sessions])
    test, validation = leave_one_out(sequences), leave_one_out(sequences, "validation")
    assert test.users == validation.users
    train, refit = (training_mask(sequences, Protocol(refit=refit)) for refit in (False, True))
    assert train.sum() + 2 * len(test) == len(sequences.items)
    assert refit.sum() + len(test) == len(sequences.items)
    assert (refit | ~train).all()
    for before, later, target in zip(validation.histories, test.histories, validation.targets, strict=True):
        assert later.items.tolist() == [*before.items.tolist(), *target.tolist()]

"""Splits on hand-written histories, and that nothing that is tested reaches training."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hubspoke.catalog.sequences import History, Sequences
from hubspoke.errors import UsageError
from hubspoke.evaluation.protocols import Protocol, evaluation_set, leave_one_out, training_mask
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


@pytest.mark.parametrize(
    ("part", "histories", "targets"),
    [
        ("test", [[1, 2, 3], [5, 6, 5, 9]], [[4], [9]]),
        ("validation", [[1, 2], [5, 6, 5]], [[3], [9]]),
    ],
)
def test_leave_one_out_asks_for_one_event_of_a_user_over_all_sessions(
    part: Any, histories: list[list[int]], targets: list[list[int]]
) -> None:
    for sequences in (SESSIONS, SESSIONS.by_user()):
        got = leave_one_out(sequences, part)
        assert (got.users, got.n_left_out, got.protocol.part) == (["a", "c"], 1, part)
        assert [history.items.tolist() for history in got.histories] == histories
        assert [target.tolist() for target in got.targets] == targets


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


def test_training_sees_neither_validation_nor_test_and_all_of_short_users() -> None:
    assert training_mask(SESSIONS, Protocol()).tolist() == training_mask(SESSIONS.by_user(), Protocol()).tolist()
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


@pytest.mark.parametrize(
    ("start", "end", "users", "histories", "targets", "left_out"),
    [
        # The distinct items of the window, which holds its start and not its end.
        (5, 8, "abc", [[1, 2], [7], [5, 6]], [[3, 4], [8], [5, 9]], 0),
        (6, 7, "bc", [[7], [5, 6]], [[8], [5]], 0),
        # Those with nothing before the window are left out and counted.
        (1, None, "a", [[1, 2]], [[3, 4]], 2),
    ],
)
def test_temporal_asks_for_the_items_of_a_window(
    start: int, end: int | None, users: str, histories: list[list[int]], targets: list[list[int]], left_out: int
) -> None:
    protocol = Protocol(name="temporal", test_from=on_day(start), test_until=None if end is None else on_day(end))
    got = evaluation_set(SESSIONS, protocol)
    assert (got.users, got.n_left_out) == (list(users), left_out)
    assert [history.items.tolist() for history in got.histories] == histories
    assert [target.tolist() for target in got.targets] == targets
    elsewhere = protocol.model_copy(update={"test_from": on_day(start).astimezone(timezone(timedelta(hours=-7)))})
    assert evaluation_set(SESSIONS, elsewhere).users == got.users


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

"""Splits on hand-written histories, and that nothing that is tested reaches training."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hubspoke.catalog.sequences import Sequences
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
    [("test", [[1, 2, 3], [5, 6, 5, 9]], [[4], [9]]), ("validation", [[1, 2], [5, 6, 5]], [[3], [9]])],
)
def test_leave_one_out_asks_for_one_event_of_a_user_over_all_sessions(part: Any, histories, targets) -> None:
    for sequences in (SESSIONS, SESSIONS.by_user()):
        got = leave_one_out(sequences, part)
        assert (got.users, got.n_left_out, got.protocol.part) == (["a", "c"], 1, part)
        assert [history.items.tolist() for history in got.histories] == histories
        assert [target.tolist() for target in got.targets] == targets


def test_histories_bring_times_and_types_along() -> None:
    types = np.arange(len(SESSIONS.items)).astype(np.int8)
    for sequences in (replace(SESSIONS, event_types=types), replace(SESSIONS, event_types=types).by_user()):
        first, second = leave_one_out(sequences).histories
        assert ((first.timestamps - START_US) // DAY).tolist() == [0, 0, 5]
        assert (first.event_types.tolist(), second[-2:].event_types.tolist()) == ([0, 1, 2], [8, 9])
    assert leave_one_out(SESSIONS).histories[0].event_types is None


@pytest.mark.parametrize(
    ("refit", "trained"), [(False, [[1, 2], [7, 8], [5, 6, 5]]), (True, [[1, 2], [3], [7, 8], [5, 6, 5, 9]])]
)
def test_training_sees_no_test_and_validation_on_a_refit_alone(refit: bool, trained: list[list[int]]) -> None:
    protocol = Protocol(refit=refit)
    mask = training_mask(SESSIONS, protocol)
    assert mask.tolist() == training_mask(SESSIONS.by_user(), protocol).tolist()
    kept = SESSIONS.keep_events(mask)
    assert [sequence.tolist() for sequence in kept] == trained
    np.testing.assert_array_equal(leave_one_out(SESSIONS, settings=protocol).train_counts, kept.item_counts())
    # Measured on validation is what a model was before its refit.
    assert leave_one_out(SESSIONS, "validation", protocol).train_counts[9] == 0


def test_sessions_are_put_in_order_of_time_and_ties_keep_theirs() -> None:
    swapped = sequences_of([(0, [(4, 5), (5, 5)]), (0, [(1, 0), (2, 0)]), (1, [(3, 1), (1, 1), (2, 1), (0, 1)])])
    got = leave_one_out(swapped)
    assert [history.items.tolist() for history in got.histories] == [[1, 2, 4], [3, 1, 2]]
    assert [target.tolist() for target in got.targets] == [[5], [0]]
    kept = swapped.keep_events(training_mask(swapped, Protocol()))
    assert [sequence.tolist() for sequence in kept] == [[1, 2], [3, 1]]
    empty = leave_one_out(sequences_of([]))  # no events give an empty set
    assert (len(empty), empty.train_counts.tolist()) == (0, [0] * 10)


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
def test_temporal_asks_for_the_items_of_a_window(start, end: int | None, users, histories, targets, left_out) -> None:
    protocol = Protocol(name="temporal", test_from=on_day(start), test_until=None if end is None else on_day(end))
    got = evaluation_set(SESSIONS, protocol)
    assert (got.users, got.n_left_out) == (list(users), left_out)
    assert [history.items.tolist() for history in got.histories] == histories
    assert [target.tolist() for target in got.targets] == targets
    elsewhere = protocol.model_copy(update={"test_from": on_day(start).astimezone(timezone(timedelta(hours=-7)))})
    assert evaluation_set(SESSIONS, elsewhere).users == got.users


def test_temporal_validation_lies_between_training_and_test() -> None:
    protocol = Protocol(name="temporal", part="validation", train_until=on_day(5), test_from=on_day(7))
    got = evaluation_set(SESSIONS, protocol)
    assert [target.tolist() for target in got.targets] == [[3, 4], [8], [5]]
    for refit, days in ((False, 5), (True, 7)):
        window = Protocol(name="temporal", refit=refit, train_until=on_day(5), test_from=on_day(7))
        before = [moment < START_US + days * DAY for moment in SESSIONS.timestamps]
        assert training_mask(SESSIONS, window).tolist() == before
        assert evaluation_set(SESSIONS, window).train_counts.sum() == sum(before)


def test_describe_names_what_matters() -> None:
    plain = "leave-one-out test, full ranking, seen items ranked, history <= 50, cold < 5 training events"
    assert Protocol().describe() == plain
    days = {"train_until": on_day(2), "test_from": on_day(4), "test_until": on_day(9)}
    protocol = Protocol(name="temporal", exclude_seen=True, refit=True, **days)
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
    ],
)
def test_contradicting_settings_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Protocol(**fields)
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

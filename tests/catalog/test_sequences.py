from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hubspoke.catalog.schema import TIMESTAMP
from hubspoke.catalog.sequences import History, Sequences, build_sequences
from hubspoke.errors import InvalidDataError
from hypothesis import given, settings
from hypothesis import strategies as st

ITEMS = pl.Series("item_id", ["a", "b", "c", "d"])


def sessions(rows: list[tuple[str, int, str]]) -> pl.DataFrame:
    times = [datetime(2020, 1, 1, 0, 0, i, tzinfo=UTC) for i in range(len(rows))]
    return pl.DataFrame(
        rows, schema={"user_id": pl.String, "session": pl.Int64, "item_id": pl.String}, orient="row"
    ).with_columns(pl.Series("timestamp", times, dtype=TIMESTAMP))


def example() -> Sequences:
    rows = [("u", 0, "a"), ("u", 0, "c"), ("u", 1, "d"), ("v", 2, "c"), ("v", 2, "b"), ("v", 2, "c")]
    return build_sequences(sessions(rows), ITEMS)


def test_build_keeps_order_users_and_rows() -> None:
    sequences = example()
    assert [s.tolist() for s in sequences] == [[0, 2], [3], [2, 1, 2]]
    assert sequences.offsets.tolist() == [0, 2, 3, 6]
    assert sequences.users.tolist() == [0, 0, 1]
    assert sequences.user_ids == ("u", "v")
    assert sequences.lengths.tolist() == [2, 1, 3]
    assert sequences.item_counts().tolist() == [1, 1, 3, 1]
    assert sequences.first_counts().tolist() == [1, 0, 1, 0]  # u begins with a, v with c
    assert sequences.timestamps[1] - sequences.timestamps[0] == 1_000_000
    assert sequences.items.dtype == np.int64


def test_event_types_go_along_where_they_are_known() -> None:
    assert example().event_types is None and example().by_user().event_types is None
    rows = [("u", 0, "a"), ("u", 0, "c"), ("u", 1, "d"), ("v", 2, "c")]
    types = pl.Series("event_type", ["view", "purchase", "peek", None])
    sequences = build_sequences(sessions(rows).with_columns(types), ITEMS)
    assert sequences.event_types is not None
    assert sequences.event_types.tolist() == [1, 4, 0, 0]
    kept = sequences.keep_events(np.array([False, True, True, True]))
    assert kept.event_types is not None and kept.event_types.tolist() == [4, 0, 0]
    assert kept.by_user().event_types is kept.event_types


def test_a_history_reads_as_its_rows_and_its_slices_keep_times_and_types() -> None:
    history = History(np.array([4, 5, 6]), np.array([10, 20, 30]), np.array([1, 2, 3]))
    np.testing.assert_array_equal(history, [4, 5, 6])
    for key, rows in (
        (slice(-2, None), [5, 6]),
        (slice(None, None, 2), [4, 6]),
        (slice(0, 0), []),
        (np.array([2]), [6]),
    ):
        part = history[key]
        assert part.items.tolist() == rows and len(part) == len(rows)
        assert part.timestamps is not None and part.timestamps.tolist() == [10 * row - 30 for row in rows]
        assert part.event_types is not None and part.event_types.tolist() == [row - 3 for row in rows]
    unknown = History(np.array([1, 2]))[1:]
    assert unknown.timestamps is None and unknown.event_types is None and unknown.items.tolist() == [2]


def test_a_sequence_as_a_history() -> None:
    sequences = replace(example(), event_types=np.arange(6, dtype=np.int8))
    history = sequences.history(2)
    assert history.items.tolist() == sequences[2].tolist() == [2, 1, 2]
    assert history.timestamps is not None and history.timestamps.tolist() == sequences.timestamps[3:].tolist()
    assert history.event_types is not None and history.event_types.tolist() == [3, 4, 5]
    assert history.event_types.dtype == np.int64
    assert example().history(0).event_types is None


def test_unknown_items_are_an_error_that_counts_them() -> None:
    with pytest.raises(InvalidDataError, match=r"1 events name items .*'z'"):
        build_sequences(sessions([("u", 0, "a"), ("u", 0, "z")]), ITEMS)


def test_no_sessions() -> None:
    sequences = build_sequences(sessions([]), ITEMS)
    assert len(sequences) == 0
    assert len(sequences.by_user()) == 0
    assert sequences.item_counts().tolist() == sequences.first_counts().tolist() == [0, 0, 0, 0]


def test_by_user_joins_sessions() -> None:
    joined = example().by_user()
    assert [s.tolist() for s in joined] == [[0, 2, 3], [2, 1, 2]]
    assert joined.users.tolist() == [0, 1]


def test_keep_events_leaves_out_empty_sequences() -> None:
    kept = example().keep_events(np.array([True, False, False, False, True, True]))
    assert [s.tolist() for s in kept] == [[0], [1, 2]]
    assert kept.users.tolist() == [0, 1]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), max_size=6), st.randoms(use_true_random=False))
def test_keep_events_is_a_filter_of_each_sequence(groups: list[list[int]], random: object) -> None:
    rows = [(f"u{s // 2}", s, "abcd"[i]) for s, group in enumerate(groups) for i in group]
    sequences = build_sequences(sessions(rows), ITEMS)
    mask = np.array([random.random() < 0.5 for _ in rows], dtype=bool)  # type: ignore[attr-defined]
    flags = iter(mask.tolist())
    expected = [[i for i in group if next(flags)] for group in groups]
    assert [s.tolist() for s in sequences.keep_events(mask)] == [group for group in expected if group]

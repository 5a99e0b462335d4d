"""Neighbours and counts on a handful of events, by hand."""

import numpy as np
import pytest
from hubspoke.catalog.parsing import DAY_US
from hubspoke.catalog.sequences import Sequences
from hubspoke.ranking.counts import Counts
from hubspoke.ranking.neighbours import Neighbours

# Two shoppers: 0 1 0, a week later 2; and 1 2.
EVENTS = Sequences(
    items=np.array([0, 1, 0, 2, 1, 2]),
    timestamps=np.array([1, 2, 3, 40, 30, 39]) * DAY_US,
    offsets=np.array([0, 4, 6]),
    users=np.array([0, 1]),
    user_ids=("ann", "bob"),
    n_items=4,
)


def test_neighbours_are_cosines_of_what_was_met_together() -> None:
    near = Neighbours.fit(EVENTS, window=1, shrinkage=0.0)
    # 0 and 1 stand side by side twice, 0 and 2 once, 1 and 2 once; each has two events.
    assert near.offsets.tolist() == [0, 2, 4, 6, 6]
    assert near.items.tolist() == [1, 2, 0, 2, 0, 1]
    assert near.values.tolist() == [1.0, 0.5, 1.0, 0.5, 0.5, 0.5]
    rows, values = near.around(np.array([3, 2, 0]), decay=0.5)
    assert rows.tolist() == [0, 1, 2]
    assert values == pytest.approx([0.25, 1.25, 0.5])
    assert near.scores([np.array([3, 2, 0])], decay=0.5).tolist() == [[0.25, 1.25, 0.5, 0.0]]
    assert [len(own) for own in near.around(np.array([], np.int64))] == [0, 0]


def test_the_nearest_are_kept_and_another_catalog_has_other_rows() -> None:
    near = Neighbours.fit(EVENTS, window=1, shrinkage=0.0)
    best = near.nearest(1)
    assert (best.offsets.tolist(), best.items.tolist()) == ([0, 1, 2, 3, 3], [1, 0, 0])
    # Item 1 is gone, 0 and 2 have changed places, and there is a new one.
    moved = near.onto(np.array([2, -1, 0, 1]), 4)
    assert moved.offsets.tolist() == [0, 1, 1, 2, 2]
    assert (moved.items.tolist(), moved.values.tolist()) == ([2, 0], [0.5, 0.5])


def test_counts_of_all_time_and_of_the_last_days() -> None:
    counts = Counts.of(EVENTS, dated=True)
    assert counts.moment == 40 * DAY_US
    assert counts.taken.tolist() == [[2, 0, 0], [2, 1, 0], [2, 2, 2], [0, 0, 0]]
    assert (counts.first // DAY_US).tolist() == [1, 2, 39, 0]
    assert (counts.last // DAY_US).tolist() == [3, 30, 40, 0]
    assert counts.again.tolist() == [0.5, 0.0, 0.0, 0.0]
    assert counts.popular.tolist() == [2, 1, 0]
    # Where only the order is known the last days say nothing.
    assert Counts.of(EVENTS, dated=False).popular.tolist() == [0, 1, 2]
    moved = counts.onto(np.array([1, 0, -1, 2]), 3)
    assert moved.taken.tolist() == [[2, 1, 0], [2, 0, 0], [0, 0, 0]]
    assert moved.again.tolist() == [0.0, 0.5, 0.0]

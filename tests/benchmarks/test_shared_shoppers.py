"""The benchmark of shared shoppers: what a query may know, and what popularity counts."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.shared_shoppers import DAY, Category, popularity, shared_shoppers, taken_together


def category(events: list[tuple[str, int, int]], n_items: int, timed: bool) -> Category:
    """A category with events (user, row, day) and no content."""
    frame = pl.DataFrame(events, schema=["user_id", "row", "day"], orient="row").sort("user_id", "day")
    frame = frame.select("user_id", "row", timestamp=pl.col("day") * DAY)
    dataset: Any = None
    return Category(dataset, frame, timed, np.zeros((n_items, 1), np.float32))


# Old is there so that the first events, which have no part, are not those of ann, bob and cid.
HERE = [("old", 0, 0), ("ann", 1, 10), ("ann", 0, 30), ("bob", 2, 12), ("cid", 1, 40)]
THERE = [("ann", 0, 5), ("ann", 1, 10), ("ann", 0, 20), ("bob", 1, 11), ("eve", 0, 1)]
ELSEWHERE = [("ann", 0, 1), ("cid", 0, 50)]


@pytest.mark.parametrize(
    ("timed", "histories"),
    [(True, {"ann": [2, 0], "bob": [1]}), (False, {"ann": [2, 0, 1, 0], "bob": [1], "cid": [2]})],
)
def test_a_query_ends_before_the_day_of_the_target_where_times_are_real(timed: bool, histories: dict[str, Any]) -> None:
    others = [category(THERE, 2, timed), category(ELSEWHERE, 1, timed)]
    found = shared_shoppers(category(HERE, 3, timed), others, seed=0)
    assert {user: own.tolist() for user, own in zip(found.user_ids, found.histories, strict=True)} == histories
    targets = dict(zip(found.user_ids, found.targets.tolist(), strict=True))
    assert targets == {user: {"ann": 1, "bob": 2, "cid": 1}[user] for user in histories}


def test_popularity_counts_others_and_only_what_was_before() -> None:
    timed, ordered = category(HERE, 3, True), category(HERE, 3, False)
    everybody = shared_shoppers(timed, [], seed=0)
    counts = dict(zip(everybody.user_ids, popularity(timed, everybody).tolist(), strict=True))
    assert counts == {"ann": [1, 0, 0], "bob": [1, 1, 0], "cid": [2, 1, 1]}
    recent = dict(zip(everybody.user_ids, popularity(timed, everybody, 28).tolist(), strict=True))
    assert recent == {"ann": [1, 0, 0], "bob": [1, 1, 0], "cid": [1, 0, 1]}
    counts = dict(zip(everybody.user_ids, popularity(ordered, everybody).tolist(), strict=True))
    assert counts == {"ann": [1, 1, 1], "bob": [2, 2, 0], "cid": [2, 1, 1]}


def test_taken_together_counts_what_others_with_the_same_items_took() -> None:
    shared = shared_shoppers(category(HERE, 3, False), [category(THERE, 2, False)], seed=0)
    place = {user: place for place, user in enumerate(shared.user_ids)}
    ann, bob = shared.only(np.array([place["ann"]])), shared.only(np.array([place["bob"]]))
    # Ann began with row 1; she and bob share the foreign item 1.
    np.testing.assert_allclose(taken_together(ann, bob, [ann.targets], 3, 2), [[0, 1, 0]])

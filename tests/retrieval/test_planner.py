"""Filters: what leaves little is gathered once, a repeated one costs nothing, and memory is bounded."""

import numpy as np
import pytest
from hubspoke.retrieval import planner
from hubspoke.retrieval.base import ItemIndex
from hubspoke.retrieval.planner import Planner

N = 2000


@pytest.fixture
def index():
    vectors = np.random.default_rng(0).standard_normal((N, 8)).astype(np.float32)
    return ItemIndex.build(vectors, [str(row) for row in range(N)], "space", "ivf")


def mask(step, fixed=True):
    allowed = np.arange(N) % step == 0
    allowed.flags.writeable = not fixed
    return allowed


@pytest.fixture
def gathered(monkeypatch):
    """How many rows each plan that was made left."""
    counts, original = [], Planner._made

    def counting(self, allowed, count):
        counts.append(count)
        return original(self, allowed, count)

    monkeypatch.setattr(Planner, "_made", counting)
    return counts


def test_an_eighth_or_less_is_gathered_and_once_only_where_the_mask_stays(index, gathered):
    query = index.vectors()[:1]
    few, changing, many = mask(8), mask(20, fixed=False), mask(7)
    for allowed in (few, changing, many, few, changing, many, few):
        found = index.search(query, 5, allowed)[0]
        scores = index.scores(query[0], np.flatnonzero(allowed))
        assert [score for _, score in found] == sorted(scores.tolist(), reverse=True)[:5]
    assert gathered == [250, 100, 286, 100]
    changing[0] = False  # a mask that was written to is not taken for what it was
    assert index.search(query, 1, changing)[0][0][0] != 0


def test_what_is_kept_is_bounded_and_the_least_used_goes(index, gathered, monkeypatch):
    one = 40 * 8 * 4 + 40 * 8 + N
    small = Planner(index.index, kept_bytes=2 * one + 100)
    first, second, third = mask(50), mask(51), mask(52)
    for allowed in (first, second, first, third, first, second):
        small.plan(allowed, int(allowed.sum()))
    assert gathered == [40, 40, 39, 40]  # the second had to go for the third
    large = mask(2)
    assert small.plan(large, 1000) is small.plan(large, 1000)
    none = Planner(index.index, kept_bytes=10)
    none.plan(first, 40)
    assert not none._kept
    assert planner.KEPT_BYTES == 256 << 20


def test_a_mask_that_is_gone_is_never_taken_for_another(index):
    query = index.vectors()[:1]
    for shift in range(30):
        allowed = np.roll(mask(40), shift)
        allowed.flags.writeable = False
        assert all(allowed[row] for row, _ in index.search(query, 50, allowed)[0])
        del allowed  # nothing refers to it, so its place in memory is free


def test_hidden_rows_are_passed_over_and_the_mask_stays_one(index, gathered):
    query, few = index.vectors()[:1], mask(20)
    whole = index.search(query, 100, few)[0]
    hidden = [whole[0][0], whole[3][0], 1]  # one of them the filter bars already
    left = [one for one in whole if one[0] not in hidden]
    assert index.search(query, 10, few, hidden)[0] == left[:10]
    assert index.search(query, 500, few, hidden)[0] == left
    assert gathered == [100]


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_nothing_allowed_is_an_empty_list(index, kind):
    made = ItemIndex.build(index.vectors(), index.item_ids, "space", kind)
    assert made.search(index.vectors()[:2], 5, np.zeros(N, dtype=bool)) == [[], []]
    assert len(made.search(index.vectors()[:1], 5, np.arange(N) < 3)[0]) == 3

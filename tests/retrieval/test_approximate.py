"""What kinds promise that do not look at everything: recall, exact scores, whole lists, growth that loses nothing."""

import threading

import numpy as np
import pytest
from hubspoke.retrieval.approximate import FEWEST
from hubspoke.retrieval.base import ItemIndex
from hubspoke.retrieval.kinds import FLAT, index_kinds
from hubspoke.retrieval.measurement import Sample

KINDS = sorted(set(index_kinds()) - {FLAT, "listed"})
approximate = pytest.mark.parametrize("kind", KINDS)
N, D = 4000, 16
SMALL = [(kind, FEWEST, 1000, 6000) for kind in KINDS]


def clustered(n, seed=0, d=D):
    """Vectors around 60 centres whose norms differ two to one, as those of a spoke do."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((60, d))
    points = centres[rng.integers(0, 60, n)] + 0.5 * rng.standard_normal((n, d))
    return (points * rng.uniform(0.7, 1.4, (n, 1))).astype(np.float32)


def made(kind, vectors):
    return ItemIndex.build(vectors, [f"item {row}" for row in range(len(vectors))], "space", kind)


def rows_of(found):
    return [[row for row, _ in own] for own in found]


def truth(vectors, queries, k, allowed=None):
    scores = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def recall(found, true):
    pairs = zip(rows_of(found), true.tolist(), strict=True)
    return float(np.mean([len(set(own) & set(best)) / len(best) for own, best in pairs]))


@pytest.fixture(scope="module")
def indexes():
    vectors, queries = clustered(N), clustered(100, seed=1)
    kinds = {kind: made(kind, vectors) for kind in KINDS}
    sample = Sample.of(vectors, queries)
    return {kind: sample.tuned(index, 0.99) for kind, index in kinds.items()}


@approximate
def test_norms_that_differ_cost_no_recall_and_scores_are_exact(indexes, kind):
    index, queries = indexes[kind], clustered(100, seed=1)
    found = index.search(queries, 10)
    assert recall(found, truth(index.vectors(), queries, 10)) >= 0.99
    for query, own in zip(queries, found, strict=True):
        exact = index.scores(query, np.array([row for row, _ in own]))
        assert [score for _, score in own] == exact.tolist() == sorted(exact.tolist(), reverse=True)
    # How long a query is changes no order.
    assert rows_of(index.search(queries * 1000, 10)) == rows_of(found)


@approximate
@pytest.mark.parametrize("share", [None, 0.5, 0.02])
def test_a_shorter_list_begins_a_longer_one_and_none_is_short(indexes, kind, share):
    index, queries = indexes[kind], clustered(6, seed=2)
    allowed = None if share is None else np.random.default_rng(3).random(N) < share
    count = N if allowed is None else int(allowed.sum())
    longest = index.search(queries, N, allowed)
    for own in rows_of(longest):
        assert sorted(own) == (list(range(N)) if allowed is None else np.flatnonzero(allowed).tolist())
    for k in (1, 7, 60, 260, 700, count):
        assert index.search(queries, k, allowed) == [own[:k] for own in longest]
        assert index.search(queries[:1], k, allowed)[0] == longest[0][:k]


@approximate
def test_a_filter_that_goes_with_the_vectors_costs_no_recall(indexes, kind):
    index, queries = indexes[kind], clustered(50, seed=4)
    along = index.vectors() @ index.vectors()[5]
    for share in (0.4, 0.15, 0.01):
        allowed = along > np.quantile(along, 1 - share)
        assert recall(index.search(queries, 10, allowed), truth(index.vectors(), queries, 10, allowed)) >= 0.97


@approximate
def test_a_saved_index_answers_the_same_from_the_disk(indexes, kind, tmp_path):
    index, queries = indexes[kind], clustered(20, seed=5)
    allowed = np.arange(N) % 3 > 0
    index.save(tmp_path)
    loaded = ItemIndex.load(tmp_path)
    assert isinstance(loaded.vectors().base, np.memmap)
    assert loaded.search(queries, 30) == index.search(queries, 30)
    assert loaded.search(queries, 30, allowed) == index.search(queries, 30, allowed)
    assert (loaded.index.settings, loaded.index.state) == (index.index.settings, index.index.state)


@approximate
def test_what_is_removed_added_or_changed_is_right_at_once(indexes, kind, tmp_path):
    index, queries = indexes[kind], clustered(40, seed=6)
    assert index.index.state["growth"] == 0
    kept = np.random.default_rng(7).permutation(np.arange(300, N))  # 300 removed, the others in another order
    fresh = clustered(200, seed=8) * 3  # and some whose norms exceed all there were
    vectors, old_rows = np.vstack([fresh, index.vectors()[kept]]), np.concatenate([np.full(200, -1), kept])
    grown = index.regrown(vectors, [f"item {row}" for row in range(len(vectors))], old_rows)
    assert grown.index.state["growth"] == pytest.approx(500 / N)
    allowed = np.arange(len(vectors)) % 2 == 0
    for mask in (None, allowed):
        assert recall(grown.search(queries, 10, mask), truth(vectors, queries, 10, mask)) >= 0.98
        longest = rows_of(grown.search(queries[:2], len(vectors), mask))
        assert all(sorted(own) == np.arange(0, len(vectors), 1 if mask is None else 2).tolist() for own in longest)
    grown.save(tmp_path)
    assert ItemIndex.load(tmp_path).search(queries, 20, allowed) == grown.search(queries, 20, allowed)
    # Grown again, from a state that has moved already.
    again = grown.regrown(vectors[100:], grown.item_ids[100:], np.arange(100, len(vectors)))
    assert again.index.state["growth"] == pytest.approx(400 / N)
    assert recall(again.search(queries, 10), truth(vectors[100:], queries, 10)) >= 0.98


@pytest.mark.parametrize(("kind", "first", "batch", "last"), [("ivf", 10_000, 10_000, 60_000), *SMALL])
def test_adds_in_batches_lose_nothing_and_keep_recall(kind, first, batch, last):
    every, queries = clustered(last, seed=9), clustered(30, seed=10)
    index = made(kind, every[:first])
    for end in range(first + batch, last + 1, batch):
        ids, kept = [f"item {row}" for row in range(end)], np.full(end, -1)
        kept[: end - batch] = np.arange(end - batch)
        index = index.regrown(every[:end], ids, kept)
        if index.index.state["growth"] > 0.25:
            index = made(kind, every[:end])
        assert recall(index.search(queries, 10), truth(every[:end], queries, 10)) >= 0.97
    assert all(len(set(own)) == last for own in rows_of(index.search(queries[:2], last)))


def test_every_name_stands_for_the_class_that_bears_it():
    names = {name: kind.__name__ for name, kind in index_kinds().items()}
    assert (names["ivf"], names["ivf-pq"], names["hnsw"]) == ("InvertedIndex", "ProductIndex", "GraphIndex")


@approximate
def test_few_vectors_are_compared_one_by_one(kind):
    vectors, queries = clustered(FEWEST - 1), clustered(5, seed=11)
    small = made(kind, vectors)
    assert small.index.state["growth"] == 0
    grown = small.regrown(clustered(FEWEST), range(FEWEST), np.arange(-1, FEWEST - 1))
    assert grown.index.state["growth"] == 1
    np.testing.assert_array_equal(rows_of(made(kind, vectors).search(queries, 10)), truth(vectors, queries, 10))


@approximate
def test_threads_ask_one_index_at_once(indexes, kind):
    index, queries = indexes[kind], clustered(8, seed=12)
    masks = [None, np.arange(N) % 2 == 0, np.arange(N) % 40 == 0]
    masks[2].flags.writeable = False
    expected = [index.search(queries, 10, mask) for mask in masks]
    wrong = []

    def ask(turn):
        for step in range(12):
            which = (turn + step) % 3
            if index.search(queries, 10, masks[which]) != expected[which]:
                wrong.append(turn)

    threads = [threading.Thread(target=ask, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_unbalanced_structure_says_so():
    # All that is new lies in one cell of many.
    index = made("ivf", clustered(N))
    before = index.index.state["imbalance"]
    fresh = np.repeat(index.vectors()[:1], 3000, axis=0)
    ids = [f"item {row}" for row in range(N + 3000)]
    grown = index.regrown(np.vstack([index.vectors(), fresh]), ids, np.concatenate([np.arange(N), np.full(3000, -1)]))
    assert 1 <= before < 2 < grown.index.state["imbalance"]

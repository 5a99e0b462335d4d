"""Ranks and metrics against hand-computed values, and the laws they must obey."""

import math

import numpy as np
import pytest
from hubspoke.errors import InvalidDataError
from hubspoke.evaluation import metrics
from hubspoke.evaluation.metrics import AT_K, OVERALL, target_ranks, top_items, user_metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

INF = math.inf
score_rows = arrays(np.float64, (3, 12), elements=st.integers(-4, 4).map(float))


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_rank_counts_higher_scores_and_half_of_the_ties_with_others() -> None:
    scores = np.array([[0.9, 0.5, 0.5, 0.5, 0.1], [1.0, 2.0, 3.0, 5.0, 5.0]])
    ranks = target_ranks(scores, ints(0, 0, 0, 1, 1), ints(0, 1, 4, 4, 0))
    assert ranks.tolist() == [1.0, 3.0, 5.0, 1.5, 5.0]
    assert target_ranks(np.zeros((1, 101)), ints(0), ints(17)).tolist() == [51.0]


def test_filtered_items_take_no_place_and_a_filtered_target_is_never_found() -> None:
    scores = np.array([[-INF, 0.1, -INF, 0.3]])
    ranks = target_ranks(scores, ints(0, 0), ints(1, 0))
    assert ranks.tolist() == [2.0, INF]
    assert user_metrics(ranks[1:], ints(0), 1)["mrr"].tolist() == [0.0]


def test_scores_and_users_that_give_no_metric_are_refused() -> None:
    with pytest.raises(InvalidDataError, match="1 of 2 scores are NaN"):
        target_ranks(np.array([[0.0, np.nan]]), ints(0), ints(0))
    with pytest.raises(InvalidDataError, match="1 of 2 users"):
        user_metrics(np.array([1.0]), ints(1), 2)


def test_blocks_do_not_change_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores, rows, targets = rng.integers(0, 9, (5, 30)) / 1.0, rng.integers(0, 5, 40), rng.integers(0, 30, 40)
    whole = target_ranks(scores, rows, targets)
    monkeypatch.setattr(metrics, "_MAX_CELLS", 61)
    np.testing.assert_array_equal(target_ranks(scores, rows, targets), whole)


def test_single_target_metrics() -> None:
    got = user_metrics(np.array([1.0, 3.0, 10.0, 10.5, 200.0]), ints(0, 1, 2, 3, 4), 5)
    assert got["hr@10"].tolist() == got["recall@10"].tolist() == [1, 1, 1, 0, 0]
    assert got["hr@20"].tolist() == [1, 1, 1, 1, 0]
    np.testing.assert_allclose(got["ndcg@10"], [1, 0.5, 1 / math.log2(11), 0, 0])
    np.testing.assert_allclose(got["ndcg@20"][3], 1 / math.log2(11.5))
    np.testing.assert_allclose(got["mrr"], [1, 1 / 3, 0.1, 1 / 10.5, 1 / 200])
    assert tuple(got) == (*(f"{metric}@{k}" for metric in AT_K for k in (10, 20, 100)), *OVERALL)


def test_several_targets_of_one_user() -> None:
    got = user_metrics(np.array([2.0, 5.0, 40.0, 1.0]), ints(0, 0, 0, 1), 2, ks=(2, 10))
    assert got["hr@10"].tolist() == [1, 1]
    np.testing.assert_allclose(got["recall@2"], [1 / 3, 1])
    np.testing.assert_allclose(got["recall@10"], [2 / 3, 1])
    ideal_two, ideal_three = 1 + 1 / math.log2(3), 1 + 1 / math.log2(3) + 0.5
    np.testing.assert_allclose(got["ndcg@2"], [(1 / math.log2(3)) / ideal_two, 1])
    np.testing.assert_allclose(got["ndcg@10"], [(1 / math.log2(3) + 1 / math.log2(6)) / ideal_three, 1])
    assert got["mrr"].tolist() == [0.5, 1]
    # NDCG stays within one when a user's targets tie at the cut.
    ranks = target_ranks(np.zeros((1, 19)), np.zeros(19, dtype=np.int64), np.arange(19))
    assert user_metrics(ranks, np.zeros(19, dtype=np.int64), 1)["ndcg@10"].tolist() == [1.0]


def test_top_items_breaks_ties_by_row_and_leaves_filtered_places_empty() -> None:
    scores = np.array([[1.0, 5.0, 1.0, 1.0], [-INF, -INF, 2.0, -INF]])
    assert top_items(scores, 2).tolist() == [[0, 1], [-1, 2]]
    assert top_items(scores, 9).shape == (2, 4)


@given(score_rows, st.permutations(range(12)), st.integers(0, 11))
def test_ranks_depend_neither_on_the_place_of_items_nor_on_the_scale(scores: np.ndarray, order, target) -> None:
    rows, moved = ints(0, 1, 2), order.index(target)
    before = target_ranks(scores, rows, ints(target, target, target))
    scaled = np.exp(scores[:, order]) * 3 - 7
    assert before.tolist() == target_ranks(scaled, rows, ints(moved, moved, moved)).tolist()


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(1, 300)), min_size=1, max_size=30))
def test_the_laws_of_metrics(pairs: list[tuple[int, float]]) -> None:
    present, users = np.unique([user for user, _ in pairs], return_inverse=True)
    ranks = np.array([rank for _, rank in pairs])
    several, single = user_metrics(ranks, users, len(present)), user_metrics(ranks, np.arange(len(ranks)), len(ranks))
    for got in (several, single):
        assert all(((values >= 0) & (values <= 1)).all() for values in got.values())
        for k, longer in ((10, 20), (20, 100)):
            assert (got[f"hr@{k}"] <= got[f"hr@{longer}"]).all()
            assert (got[f"recall@{k}"] <= got[f"hr@{k}"]).all()
            assert (single[f"ndcg@{k}"] <= single[f"ndcg@{longer}"]).all()
            assert (single[f"ndcg@{k}"] <= single[f"hr@{k}"]).all()


@given(seed=st.integers(0, 500), n_targets=st.integers(1, 4), k=st.sampled_from([1, 5, 10]))
def test_ndcg_and_mrr_are_those_of_scikit_learn(seed: int, n_targets: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.tile(np.arange(12.0), (6, 1)), axis=1)  # without ties
    targets = np.array([rng.choice(12, n_targets, replace=False) for _ in range(6)])
    rows, items = np.repeat(np.arange(6), n_targets), targets.ravel()
    relevant = np.zeros((6, 12))
    relevant[rows, items] = 1
    found = user_metrics(target_ranks(scores, rows, items), rows, 6, (k,))
    assert found[f"ndcg@{k}"].mean() == pytest.approx(ndcg_score(relevant, scores, k=k))
    if n_targets == 1:  # with one target the reciprocal rank is the average precision
        assert found["mrr"].mean() == pytest.approx(label_ranking_average_precision_score(relevant, scores))

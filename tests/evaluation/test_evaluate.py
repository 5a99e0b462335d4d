"""Evaluation of hand-written recommenders: exact numbers, slices, the seen filter, batches."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hubspoke.errors import IncompatibleError, InvalidDataError, UsageError
from hubspoke.evaluation.evaluate import ItemFacts, evaluate
from hubspoke.evaluation.protocols import EvaluationSet, Protocol

N_ITEMS = 30


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def a_set(**settings: object) -> EvaluationSet:
    """Four users; items 0 to 9 have 10 training events, 10 to 19 two, 20 to 29 none."""
    return EvaluationSet(
        histories=[ints(0, 1), ints(5), ints(12, 3, 3), ints(21)],
        targets=[ints(2), ints(15, 0), ints(3, 25), ints(7)],
        users=["a", "b", "c", "d"],
        train_counts=np.repeat([10, 2, 0], 10),
        n_left_out=3,
        protocol=Protocol(**settings),
    )


def by_row(histories: Sequence[np.ndarray]) -> np.ndarray:
    """Everybody gets the items in row order; one read-only row for all, as a popularity model would."""
    return np.broadcast_to(-np.arange(N_ITEMS, dtype=np.float32), (len(histories), N_ITEMS))


def test_every_user_is_ranked_and_a_slice_restricts_targets_and_users() -> None:
    got = evaluate(by_row, a_set())
    # Ranks: a 3; b 16 and 1; c 4 and 26; d 8.
    np.testing.assert_allclose(got["all"].metrics["recall@10"], [1, 0.5, 0.5, 1])
    assert got.mean("mrr") == pytest.approx((1 / 3 + 1 + 1 / 4 + 1 / 8) / 4)
    assert (got.n_users, got["cold"].users, got["zero_shot"].users) == (4, ("b", "c"), ("c",))
    assert got["cold"].metrics["mrr"].tolist() == [1 / 16, 1 / 26]
    targets = {"all": 6, "cold": 2, "zero_shot": 1, "warm": 4, "head": 2, "torso": 2, "tail": 2}
    assert {name: part.n_targets for name, part in got.slices.items()} == targets


def test_the_seen_filter_drops_seen_targets_lifts_the_others_and_knows_more_than_is_shown() -> None:
    shown = []

    def score(histories: Sequence[np.ndarray]) -> np.ndarray:
        shown.extend(history.tolist() for history in histories)
        return by_row(histories)

    got = evaluate(score, a_set(exclude_seen=True, max_history=1))
    assert shown == [[1], [5], [3], [21]]
    assert (got.n_dropped_targets, got["all"].n_targets) == (1, 5)
    # a: items 0 and 1 are gone, so item 2 comes first; c: item 3 was seen, item 25 has two fewer before it.
    np.testing.assert_allclose(got["all"].metrics["mrr"], [1, 1, 1 / 24, 1 / 8])


def test_the_result_does_not_depend_on_the_batch_size() -> None:
    table = np.random.default_rng(0).integers(0, 6, (N_ITEMS, N_ITEMS)).astype(np.float64)

    def in_batches(size: int) -> tuple[dict[str, Any], list[tuple[int, int]]]:
        told: list[tuple[int, int]] = []
        score, given = lambda histories: table[[h[-1] for h in histories]], a_set(exclude_seen=True)
        found = evaluate(score, given, size, lambda *done: told.append(done), facts=ItemFacts(content=np.eye(N_ITEMS)))
        return found.to_json(), told

    whole, told = in_batches(256)
    assert (told, in_batches(3)) == ([(4, 4)], (whole, [(3, 4), (4, 4)]))
    assert in_batches(1)[0] == in_batches(2)[0] == whole


def test_coverage_counts_the_items_that_anybody_gets_in_the_top_100() -> None:
    given = EvaluationSet([ints(0)], [ints(1)], ["a"], np.repeat([9, 0], [50, 150]), 0, Protocol())
    got = evaluate(lambda histories: -np.arange(200.0)[None], given)
    assert (got.mean("coverage@100"), got.mean("coverage@100", "warm")) == (0.5, 1.0)


def test_novelty_and_diversity_of_the_top_ten_on_the_slice_all() -> None:
    content = np.zeros((N_ITEMS, 2))
    content[:5, 0], content[5:10, 1] = 1, 2
    got = evaluate(by_row, a_set(), facts=ItemFacts(content=content))
    # Everybody gets items 0 to 9, each with 10 of the 120 training events, and one added to each of 30 items.
    np.testing.assert_allclose(got["all"].metrics["novelty@10"], [math.log2(150 / 11)] * 4)
    # 25 of the 45 pairs are of the two different kinds.
    np.testing.assert_allclose(got["all"].metrics["diversity@10"], [25 / 45] * 4)
    assert all("novelty@10" not in part.metrics for name, part in got.slices.items() if name != "all")
    assert "diversity@10" not in evaluate(by_row, a_set())["all"].metrics
    bare = ItemFacts(content=np.zeros((N_ITEMS, 0)))
    assert "diversity@10" not in evaluate(by_row, a_set(), facts=bare)["all"].metrics


def test_serendipity_and_exposure_of_the_top_ten() -> None:
    got = evaluate(lambda histories: -by_row(histories), a_set())
    # Everybody gets items 29 to 20. Of the targets only item 25, of c, is among them, and popularity shows 0 to 9.
    assert got["all"].metrics["serendipity@10"].tolist() == [0, 0, 0.5, 0]
    # None of these has an event; 20 of 30 items are never shown, the others equally often.
    assert got["all"].metrics["cold_exposure@10"].tolist() == got["all"].metrics["tail_exposure@10"].tolist() == [1] * 4
    assert got.mean("gini@10") == pytest.approx(2 / 3)
    popular = evaluate(by_row, a_set())
    assert popular.mean("serendipity@10") == popular.mean("cold_exposure@10") == 0
    assert "gini@10" in popular.to_json()["metrics"]["all"] and "gini@10" not in popular.to_json()["metrics"]["cold"]


def test_calibration_compares_the_categories_of_the_list_with_those_of_the_history() -> None:
    facts = ItemFacts(categories=np.arange(N_ITEMS) // 10)
    # All lists are of category 0; a and b took that alone, c two of three, d another.
    mixed = 2 / 3 * math.log((2 / 3) / (0.99 + 0.01 * 2 / 3)) + 1 / 3 * math.log(100)
    found = evaluate(by_row, a_set(), facts=facts)["all"].metrics["calibration@10"]
    np.testing.assert_allclose(found, [0, 0, mixed, math.log(100)], atol=1e-12)
    assert "calibration@10" not in evaluate(by_row, a_set())["all"].metrics


def test_further_slices_are_of_items_or_of_users() -> None:
    facts = ItemFacts(groups={"brand:x": np.arange(N_ITEMS) < 5})
    got = evaluate(by_row, a_set(), facts=facts, groups={"length:1-4": np.array([True, True, False, False])})
    assert (got["brand:x"].users, got["brand:x"].n_targets) == (("a", "b", "c"), 3)
    np.testing.assert_allclose(got["brand:x"].metrics["mrr"], [1 / 3, 1, 1 / 4])
    assert (got["length:1-4"].users, got["length:1-4"].coverage) == (("a", "b"), None)
    assert "coverage@100" not in got.to_json()["metrics"]["length:1-4"]
    with pytest.raises(IncompatibleError, match="brand:x of 29 items was given for a catalog of 30"):
        evaluate(by_row, a_set(), facts=ItemFacts(groups={"brand:x": np.ones(29, np.bool_)}))


def test_a_user_whose_targets_were_all_seen_is_left_out_with_the_list() -> None:
    given = a_set(exclude_seen=True)
    given.targets[0] = ints(0, 1)
    got = evaluate(by_row, given, facts=ItemFacts(content=np.eye(N_ITEMS)))
    assert (got.n_users, got.n_left_out, got["all"].users) == (3, 4, ("b", "c", "d"))
    # b gets 0 to 10 without 5, c 0 to 10 without 3, d 0 to 9: ten events each, two for item 10.
    frequent, rare = math.log2(150 / 11), math.log2(150 / 3)
    mixed = (9 * frequent + rare) / 10
    np.testing.assert_allclose(got["all"].metrics["novelty@10"], [mixed, mixed, frequent])
    np.testing.assert_allclose(got["all"].metrics["diversity@10"], [1, 1, 1])


def test_json_has_the_agreed_shape_and_names_empty_slices() -> None:
    given = a_set()
    given.targets[2] = ints(3)
    evaluation = evaluate(by_row, given)
    got = evaluation.to_json()
    assert json.loads(json.dumps(got)) == got
    assert {"ndcg@10", "hr@10", "recall@10", "mrr", "novelty@10", "coverage@100"} <= set(got["metrics"]["all"])
    low, high = got["intervals"]["all"]["ndcg@10"]
    assert low <= got["metrics"]["all"]["ndcg@10"] <= high
    assert (got["empty_slices"], "zero_shot" in got["metrics"]) == (["zero_shot"], False)
    assert (got["n_users"], got["n_left_out"], got["n_targets"]["all"]) == (4, 3, 5)
    assert got["protocol"]["description"].startswith("leave-one-out test, full ranking")
    with pytest.raises(UsageError, match="'zero_shot' holds no target here; choose one of all, cold"):
        evaluation.mean("mrr", "zero_shot")


def test_wrong_shapes_and_empty_sets_are_refused() -> None:
    with pytest.raises(IncompatibleError, match="Content of 29 items was given for a catalog of 30"):
        evaluate(by_row, a_set(), facts=ItemFacts(content=np.zeros((29, 2))))
    with pytest.raises(IncompatibleError, match=r"\(4, 29\) where \(4, 30\)"):
        evaluate(lambda histories: by_row(histories)[:, 1:], a_set())
    empty = EvaluationSet([], [], [], np.ones(N_ITEMS, dtype=np.int64), 2, Protocol())
    with pytest.raises(InvalidDataError, match="None of 2 users"):
        evaluate(by_row, empty)

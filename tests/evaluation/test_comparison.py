"""Comparisons are paired by user and refuse what cannot be compared."""

from typing import Any

import numpy as np
import pytest
from hubspoke.errors import UsageError
from hubspoke.evaluation.comparison import compare
from hubspoke.evaluation.evaluate import Evaluation, ItemFacts, evaluate
from hubspoke.evaluation.protocols import EvaluationSet, Protocol

N_ITEMS = 50


def measured(
    hits: list[bool], users: list[str] | None = None, content: np.ndarray | None = None, **settings: object
) -> Evaluation:
    """Users whose target stands first where `hits` says so and last elsewhere."""
    n = len(hits)
    given = EvaluationSet(
        histories=[np.array([1])] * n,
        targets=[np.array([0])] * n,
        users=users or [f"u{i}" for i in range(n)],
        train_counts=np.full(N_ITEMS, 8),
        n_left_out=0,
        protocol=Protocol(**settings),
    )
    scores = np.zeros((n, N_ITEMS))
    scores[:, 0] = np.where(hits, 1.0, -1.0)
    return evaluate(lambda histories: scores, given, facts=ItemFacts(content=content))


def test_rows_hold_estimates_and_paired_differences() -> None:
    base = measured([True] * 20 + [False] * 60)
    better = measured([True] * 40 + [False] * 40)
    rows = compare({"popularity": base, "spoke": better}, metrics=("hr@10",))
    assert [(row.model, row.slice, row.n_users) for row in rows] == [("popularity", "all", 80), ("spoke", "all", 80)]
    assert (rows[0].difference, rows[0].clear) == (None, False)
    assert (rows[1].value, rows[1].difference) == pytest.approx((0.5, 0.25))
    assert rows[1].difference_low > 0 and rows[1].clear


def test_what_lists_are_like_stands_on_the_slice_all_where_every_system_has_it() -> None:
    content = np.eye(N_ITEMS)
    both = {"a": measured([True, False], content=content), "b": measured([True, True], content=content)}
    rows = compare(both, metrics=("mrr", "novelty@10", "diversity@10", "coverage@100"), slices=("all", "warm"))
    told = ["all mrr", "all novelty@10", "all diversity@10", "all coverage@100", "warm mrr"]
    assert [f"{row.slice} {row.metric}" for row in rows[::2]] == told
    assert [row.difference is None for row in rows[:8:2]] == [True] * 4
    assert [row.difference is None for row in rows[1:8:2]] == [False, False, False, True]
    covered = rows[7]
    assert (covered.value, covered.low, covered.high, covered.clear) == (1.0, None, None, False)
    without = compare({**both, "b": measured([True, True])}, metrics=("diversity@10", "novelty@10"))
    assert {row.metric for row in without} == {"novelty@10"}
    # Equal systems are not told apart.
    rows = compare({"a": measured([True, False]), "b": measured([True, False])}, baseline="b", metrics=("mrr",))
    assert (rows[0].difference_low, rows[0].difference_high, rows[0].clear) == (0, 0, False)


@pytest.mark.parametrize(
    ("others", "options", "words"),
    [
        ({"b": measured([True, False], users=["u0", "u7"])}, {}, "same users"),
        ({"b": measured([True, False], exclude_seen=True)}, {}, "one protocol"),
        ({}, {"baseline": "c"}, "Baseline 'c'"),
        ({}, {"metrics": ("auc",)}, "Metric 'auc'"),
    ],
)
def test_what_cannot_be_compared_is_refused(others: dict[str, Evaluation], options: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        compare({"a": measured([True, False]), **others}, **options)
    with pytest.raises(UsageError, match="nothing to compare"):
        compare({})

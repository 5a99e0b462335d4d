"""What lists are like: novelty and diversity by hand, and the ten best out of the hundred best."""

import math

import numpy as np
from hubspoke.evaluation.lists import (
    best_of,
    diversity,
    expected_items,
    exposure,
    miscalibration,
    novelty,
    serendipity,
    surprise,
    unit_content,
)
from hubspoke.evaluation.metrics import top_items
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy


def test_surprise_and_novelty_by_hand() -> None:
    # 5 events over 3 items: (3 + 1) / 8, (0 + 1) / 8, (2 + 1) / 8.
    np.testing.assert_allclose(surprise(np.array([3, 0, 2])), [1, 3, math.log2(8 / 3)])
    np.testing.assert_allclose(surprise(np.zeros(4, np.int64)), [2, 2, 2, 2])
    top = np.array([[0, 1], [2, 2], [1, -1], [-1, -1]])
    np.testing.assert_allclose(novelty(top, np.array([1.0, 3.0, 1.5])), [2, 1.5, 3, 0])


def test_diversity_by_hand() -> None:
    content = unit_content(np.array([[2, 0], [0, 3], [1, 1], [-5, 0], [0, 0]], np.float32))
    lists = np.array([[0, 1, 2], [0, 3, -1], [0, 0, -1], [0, 4, 1], [2, -1, -1], [-1, -1, -1]])
    # Cosines of [0, 1, 2]: 0, 1/sqrt 2, 1/sqrt 2. Opposite items: -1. The same twice: 1. Without content: 0.
    expected = [1 - 2**0.5 / 3, 2, 0, 1, 0, 0]
    np.testing.assert_allclose(diversity(lists, content), expected, atol=1e-6)


SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 12))


@given(arrays(np.float64, SHAPES, elements=st.sampled_from([-np.inf, 0, 1, 2.5])), st.integers(1, 8), st.integers(1, 8))
def test_the_best_of_the_best_are_the_best(scores: np.ndarray, k: int, more: int) -> None:
    long = top_items(scores, k + more)
    for row, (found, wanted) in enumerate(zip(best_of(scores, long, k), top_items(scores, k), strict=True)):
        assert sorted(found[found >= 0]) == sorted(wanted[wanted >= 0]), row
        assert len(found) == min(k, scores.shape[1])
    ties = np.zeros((1, 30))  # their order is that of the rows
    assert best_of(ties, top_items(ties, 20), k).tolist() == [list(range(k))]


def test_what_anybody_would_show_is_no_serendipity() -> None:
    expected = expected_items(np.array([3, 0, 9, 3]), k=2)
    assert expected.tolist() == [True, False, True, False]  # of equal counts the lower row
    assert not expected_items(np.zeros(3, np.int64)).any()
    # The first user finds item 1 and, expected, item 2, and misses item 3; the second has no target left.
    ranks, users, items = np.array([1.0, 2.0, 11.0]), np.zeros(3, np.int64), np.array([1, 2, 3])
    np.testing.assert_allclose(serendipity(ranks, users, items, expected, 2), [1 / 3, 0])


def test_exposure_by_hand() -> None:
    tail = np.array([False, True, True])
    assert exposure(np.array([[0, 1], [1, 2], [0, -1], [-1, -1]]), tail).tolist() == [0.5, 1, 0, 0]


def test_miscalibration_by_hand() -> None:
    categories = np.array([0, 0, 1, 2])
    histories = [np.array([0, 1]), np.array([0, 2]), np.array([3]), np.array([], np.int64)]
    lists = np.array([[0, 1], [0, -1], [0, 2], [0, 1]])
    half = 0.5 * math.log(0.5 / (0.99 + 0.005)) + 0.5 * math.log(0.5 / 0.005)
    np.testing.assert_allclose(miscalibration(histories, lists, categories), [0, half, math.log(100), 0], atol=1e-12)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_miscalibration_is_the_divergence_that_scipy_has(taken: list[int], shown: list[int]) -> None:
    categories = np.array([0, 0, 1, 1, 2, 3])
    found = miscalibration([np.array(taken)], np.array([shown]), categories)[0]
    p, q = (np.bincount(categories[own], minlength=4) / len(own) for own in (taken, shown))
    np.testing.assert_allclose(found, entropy(p, 0.99 * q + 0.01 * p), atol=1e-9)
    assert 0 <= found <= math.log(100) + 1e-9
    # The order of neither matters.
    again = miscalibration([np.array(taken[::-1])], np.array([sorted(shown)]), categories)[0]
    np.testing.assert_allclose(again, found, atol=1e-12)

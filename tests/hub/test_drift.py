"""Drift between two versions, on vectors that a hand can follow."""

import numpy as np
import pytest
from hubspoke.hub.drift import ASKED, cosine_drift, embedding_drift, list_overlap
from hypothesis import given
from hypothesis import strategies as st


def test_distance_is_in_lengths_of_the_earlier_version() -> None:
    theirs = np.array([[2, 0], [0, 2], [2, 0], [0, -2]], np.float32)
    # Squares sum to 16 over 8 numbers: the root mean square column is sqrt(2).
    ours = theirs + np.array([[0, 0], [0, 0], [0, 0.4], [0.3, 0.4]], np.float32)
    # Distances 0, 0, 0.4 and 0.5, over the root of two dimensions, in units of the root of two.
    assert embedding_drift(ours, theirs)["distance"] == pytest.approx((0.4 + 0.5) / 4 / 2, abs=1e-5)
    assert embedding_drift(theirs, theirs) == {"distance": 0.0, "neighbours@10": 1.0}
    assert embedding_drift(ours[:0], theirs[:0]) == {}
    assert embedding_drift(ours[:1], theirs[:1]) == {"distance": 0.0}


def test_vectors_that_have_nothing_in_common_are_root_two_apart() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.standard_normal((2, 2000, 64)).astype(np.float32)
    found = embedding_drift(3 * ours, 3 * theirs)
    assert found["distance"] == pytest.approx(2**0.5, rel=0.01)
    assert found["neighbours@10"] == pytest.approx(10 / 1999, abs=5e-3)


def test_neighbours_are_the_nearest_others_by_cosine() -> None:
    angles = np.radians([0, 10, 20, 30, *range(90, 361, 30)])  # 14 directions
    theirs = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    ours = theirs.copy()
    ours[0] = -ours[0]  # one item turns round
    lists = [_nearest(vectors) for vectors in (ours, theirs)]
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*lists, strict=True)])
    assert 0 < shared < 1 and embedding_drift(ours, theirs)["neighbours@10"] == pytest.approx(shared, abs=1e-5)
    # Lengths are no matter to neighbours.
    lengths = np.linspace(1, 5, len(theirs), dtype=np.float32)[:, None]
    assert embedding_drift(theirs * lengths, theirs)["neighbours@10"] == 1.0


def _nearest(vectors: np.ndarray) -> list[list[int]]:
    scores = vectors @ vectors.T
    return [[j for j in np.argsort(-own, kind="stable") if j != i][:10] for i, own in enumerate(scores)]


def test_many_items_are_sampled() -> None:
    rng = np.random.default_rng(1)
    theirs = rng.standard_normal((3 * ASKED, 4)).astype(np.float32)
    assert embedding_drift(theirs, theirs)["neighbours@10"] == 1.0
    ours = theirs + 0.1 * rng.standard_normal(theirs.shape).astype(np.float32)
    assert 0 < embedding_drift(ours, theirs)["neighbours@10"] < 1
    assert embedding_drift(ours, theirs) == embedding_drift(ours, theirs)


@given(st.integers(1, 12), st.integers(1, 5), st.floats(0.01, 100), st.integers(0, 99))
def test_neither_scale_nor_further_copies_of_the_columns_change_the_distance(
    n: int, d: int, scale: float, seed: int
) -> None:
    ours, theirs = np.random.default_rng(seed).standard_normal((2, n, d))
    found = embedding_drift(ours, theirs)["distance"]
    assert embedding_drift(scale * ours, scale * theirs)["distance"] == pytest.approx(found, abs=2e-5)
    assert embedding_drift(np.tile(ours, 3), np.tile(theirs, 3))["distance"] == pytest.approx(found, abs=2e-5)


def test_cosines_of_each_item_and_the_share_of_a_list_that_both_show() -> None:
    ours = np.array([[1, 0], [0, 2], [1, 1], [3, 0]], np.float32)
    theirs = np.array([[2, 0], [0, -1], [1, 0], [0, 1]], np.float32)
    found = cosine_drift(ours, theirs)
    assert found["mean"] == pytest.approx((1.0 - 1.0 + 0.5**0.5 + 0.0) / 4, abs=1e-5)
    assert found["median"] == pytest.approx(0.5**0.5 / 2, abs=1e-5)
    assert list(found) == ["mean", "q05", "q25", "median", "q75", "q95"]
    assert cosine_drift(ours[:0], theirs[:0]) == {}
    ours = np.array([[9, 8, 7, 0], [1, 2, 3, 4]], np.float32)
    theirs = np.array([[8, 9, 0, 7], [1, 2, 3, 4]], np.float32)
    for length, expected in ((2, 1.0), (3, (2 / 3 + 1) / 2), (10, 1.0)):
        assert list_overlap(ours, theirs, length) == pytest.approx(expected, abs=1e-5)
    assert np.isnan(list_overlap(ours[:0], theirs[:0], 3))

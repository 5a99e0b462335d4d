"""Nearest others: as scikit-learn finds them, whatever the blocks, and never an item itself."""

import numpy as np
import pytest
from hubspoke.retrieval import neighbours
from hubspoke.retrieval.neighbours import nearest_others
from sklearn.neighbors import NearestNeighbors


@pytest.mark.parametrize("block", [7, 64])
def test_they_are_those_of_scikit_learn(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    x = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32) * np.arange(1, 51)[:, None]
    x = x.astype(np.float32)
    expected = NearestNeighbors(n_neighbors=4, metric="cosine").fit(x).kneighbors(return_distance=False)
    before = x.copy()
    np.testing.assert_array_equal(nearest_others(x, 4), expected)
    np.testing.assert_array_equal(x, before)  # vectors that were given stay as they are


def test_equal_items_are_neighbours_and_none_is_its_own() -> None:
    found = nearest_others(np.ones((30, 3), np.float32), 5)
    assert found.shape == (30, 5)
    assert not (found == np.arange(30)[:, None]).any()
    assert all(len(set(own)) == 5 for own in found.tolist())


def test_few_items_have_few_neighbours() -> None:
    assert nearest_others(np.eye(3, dtype=np.float32), 10).shape == (3, 2)
    assert nearest_others(np.eye(1, dtype=np.float32), 10).shape == (1, 0)

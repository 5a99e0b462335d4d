import sys

import numpy as np
import pytest
from hubspoke.errors import MissingExtraError
from hubspoke.spokes.baselines.als import AlternatingLeastSquares, fold_in

# Two tastes: 0, 1, 2 and 3, 4; nobody met 5.
ROWS = [[0, 1], [0, 1, 1], [0, 1, 2], [3, 4], [4, 3, 3]]


def test_folding_in_by_hand():
    factors = np.array([[1], [2], [0]], np.float32)
    # Y'Y = 5, regularization 1, alpha 3. One event on 0: (1 + 3) 1 / (6 + 3 * 1). Two on 1: (1 + 6) 2 / (6 + 6 * 4).
    folded = fold_in(factors, [np.array(own, np.int64) for own in ([0], [1, 1], [], [2], [0, 1])], 3.0, 1.0)
    # One each: (4 * 1 + 4 * 2) / (6 + 3 * 1 + 3 * 4).
    np.testing.assert_allclose(folded[:, 0], [4 / 9, 14 / 30, 0, 0, 12 / 21], rtol=1e-6)


def test_folding_in_is_what_the_library_solves(sequences):
    als = pytest.importorskip("implicit.cpu.als")
    sparse = pytest.importorskip("scipy.sparse")
    made = AlternatingLeastSquares(sequences(*ROWS), factors=3, alpha=2.0, regularization=0.3)
    model = als.AlternatingLeastSquares(factors=3, regularization=0.3, alpha=1.0, num_threads=1)
    model.item_factors = made.item_factors
    confidence = sparse.csr_matrix(np.array([[3, 5, 0, 0, 0, 0], [0, 0, 3, 0, 3, 0]], np.float32))
    solved = model.recalculate_user(np.arange(2), confidence)
    folded = fold_in(made.item_factors, [np.array([1, 0, 1]), np.array([2, 4])], 2.0, 0.3)
    np.testing.assert_allclose(folded, solved, atol=1e-5)


def test_the_factors_are_stationary(sequences):
    """Users folded in, each item's factors solve the same equation with the roles exchanged."""
    made = AlternatingLeastSquares(sequences(*ROWS), factors=2, alpha=2.0, regularization=0.5, iterations=200)
    users = fold_in(made.item_factors, [np.array(row) for row in ROWS], 2.0, 0.5)
    whose = [[u for u, row in enumerate(ROWS) for met in row if met == item] for item in range(6)]
    again = fold_in(users, [np.array(own, np.int64) for own in whose], 2.0, 0.5)
    np.testing.assert_allclose(again, made.item_factors, atol=1e-4)
    first, same, other = (AlternatingLeastSquares(sequences(*ROWS), seed=seed).item_factors for seed in (3, 3, 4))
    assert (first == same).all() and (first != other).any()


def test_without_the_library_the_remedy_is_told(sequences, monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hubspoke\[baselines\]'") as caught:
        AlternatingLeastSquares(sequences(*ROWS))
    assert caught.value.exit_code == 7

import numpy as np
import pytest
from hubspoke.spokes.baselines import product2vec as module
from hubspoke.spokes.baselines.product2vec import Product2Vec, SkipGram

# Two tastes: 0, 1, 2 and 3, 4; 5 alone, 6 never.
ROWS = [[0, 1, 2], [1, 0, 2], [2, 1, 0], [3, 4], [4, 3, 4], [5]]
SETTINGS = SkipGram(dimension=8, epochs=60, batch=4, drawn=8)


def test_gradients_by_hand_and_by_differences_of_the_loss():
    # u . v = ln 3, so s = 3/4 and the pull is -1/4; u . n = 0, so s = 1/2, and its weight 2 makes the push 1.
    u, v, noise = np.array([[1.0, 0.0]]), np.array([[np.log(3), 5.0]]), np.array([[0.0, 7.0]])
    found = module.skip_gram_gradients(u, v, noise, np.array([[2.0]]))
    np.testing.assert_allclose(found, [[[-np.log(3) / 4, -5 / 4 + 7]], [[-1 / 4, 0]], [[1, 0]]])
    rng = np.random.default_rng(0)
    given, weights = [rng.standard_normal(shape) for shape in ((3, 4), (3, 4), (2, 4))], rng.random((3, 2))

    def loss(u, v, noise):
        positive = np.logaddexp(0, -(u * v).sum(axis=1)).sum()
        return positive + (weights * np.logaddexp(0, u @ noise.T)).sum()

    found = module.skip_gram_gradients(*given, weights)
    for number, part in enumerate(given):
        for place in np.ndindex(part.shape):
            moved = [own.copy() for own in given]
            moved[number][place] += 1e-6
            assert found[number][place] == pytest.approx((loss(*moved) - loss(*given)) / 1e-6, abs=1e-4)


def test_a_step_sums_the_gradients_of_a_repeated_row():
    table = module.AdagradTable(np.zeros((3, 2), np.float32), 0.5)
    table.descend(np.array([2, 0, 2]), np.array([[1, 2], [4, 4], [2, 2]], np.float32))
    # Row 2: the sum (3, 4) has a mean square of 12.5; row 0: 16; row 1 is not touched.
    np.testing.assert_allclose(table.vectors, [[-0.5, -0.5], [0, 0], [-1.5 / 12.5**0.5, -2 / 12.5**0.5]], rtol=1e-5)
    table.descend(np.array([0]), np.array([[3, 3]], np.float32))
    np.testing.assert_allclose(table.vectors[0], -0.5 - 0.5 * 3 / 5, rtol=1e-5)  # 16 + 9 = 25


def test_vectors_have_length_one_or_are_missing_and_a_session_is_the_recency_weighted_mean(sequences):
    made = Product2Vec(sequences(*ROWS, n_items=7), settings=SETTINGS, decay=0.5, recent=2)
    vectors = made.item_vectors
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 1, 1, 0, 0], atol=1e-5)
    mean = vectors[3] + 0.5 * vectors[1]
    np.testing.assert_allclose(made.score([np.array([0, 1, 3])])[0], vectors @ mean / np.linalg.norm(mean), atol=1e-5)

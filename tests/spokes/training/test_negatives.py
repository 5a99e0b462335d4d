import numpy as np
import pytest
import torch
from hubspoke.spokes.training import negatives
from hubspoke.spokes.training.losses import bce_loss, sampled_softmax_loss
from hubspoke.spokes.training.negatives import HardNegatives, PopularityNegatives, UniformNegatives, nearest_items

COUNTS = np.array([0, 1, 4, 16])
VECTORS = torch.tensor([[1.0, 0.0], [10.0, 1.0], [0.0, 1.0], [-1.0, 0.1]])


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("sampler", "power", "expected"),
    [
        (UniformNegatives, 0.0, [0.25, 0.25, 0.25, 0.25]),
        (PopularityNegatives, 0.5, [0, 1 / 7, 2 / 7, 4 / 7]),
        (PopularityNegatives, 1.0, [0, 1 / 21, 4 / 21, 16 / 21]),
    ],
)
def test_items_are_drawn_as_often_as_the_sampler_says(monkeypatch, sampler, power, expected):
    monkeypatch.setattr(negatives, "POPULARITY_POWER", power)
    made = sampler(4, 40_000) if sampler is UniformNegatives else sampler(COUNTS, 40_000)
    if made.log_q is not None:
        np.testing.assert_allclose(np.exp(made.log_q), expected, atol=1e-6)
    first, again, other = (made.draw(rng(seed)) for seed in (1, 1, 2))
    counted = np.bincount(first, minlength=4)
    np.testing.assert_allclose(counted / 40_000, expected, atol=0.02)
    assert not counted[np.array(expected) == 0].any() and first.dtype == np.int64
    assert (first == again).all() and (first != other).any()


def test_the_nearest_items_by_hand_and_of_a_large_catalog_among_a_part(monkeypatch):
    # By angle from item 0: item 1 at 6 degrees, item 2 at 90, item 3 at 174; length says nothing.
    assert nearest_items(VECTORS, 2, rng()).tolist() == [[1, 2], [0, 2], [1, 3], [2, 1]]
    assert nearest_items(VECTORS, 99, rng()).shape == (4, 3)
    monkeypatch.setattr(negatives, "MINED_AMONG", 6)
    monkeypatch.setattr(negatives, "MINED_AT_ONCE", 7)
    vectors = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    found, again, other = (nearest_items(vectors, 5, rng(seed)) for seed in (0, 0, 1))
    assert len(np.unique(found)) <= 6 and not (found == np.arange(40)[:, None]).any()
    assert (found == again).all() and not np.array_equal(np.unique(found), np.unique(other))


def test_hard_negatives_are_drawn_from_the_nearest(monkeypatch):
    monkeypatch.setattr(negatives, "HARD_POOL", 2)
    hard = HardNegatives(3, seed=0)
    assert hard.draw(rng(), np.array([0, 1])).tolist() == [[0, 0, 0], [1, 1, 1]]  # nothing mined yet: masked out
    hard.refresh(VECTORS, 0)
    drawn = hard.draw(rng(), np.array([0, 2, 0, 2]))
    assert drawn.shape == (4, 3)
    assert set(drawn[[0, 2]].ravel()) == {1, 2} and set(drawn[[1, 3]].ravel()) == {1, 3}
    # A catalog of one item has none, and one without any event no popular ones.
    hard.refresh(VECTORS[:1], 0)
    assert hard.draw(rng(), np.array([0])).tolist() == [[0, 0, 0]]
    np.testing.assert_allclose(np.exp(PopularityNegatives(np.zeros(4, np.int64), 9).log_q), 0.25)


@pytest.mark.parametrize("loss", [sampled_softmax_loss, bce_loss])
def test_what_the_session_likes_too_much_is_no_hard_negative_and_gets_no_gradient(loss):
    own = torch.tensor([[1, 2, 3], [4, 5, 6]])
    # Limits: 0.9 * 2 = 1.8, and for a negative target score -1 - 0.1 = -1.1.
    scores = torch.tensor([[1.7, 1.8, 1.9], [-1.0, -1.2, 3.0]], requires_grad=True)
    positive, targets = torch.tensor([2.0, -1.0]), torch.tensor([7, 8])
    kept = negatives.without_false_negatives(own, scores, positive, targets, 0.9)
    assert kept.tolist() == [[1, 2, 7], [8, 5, 8]]
    loss(positive, scores, targets, kept).backward()
    assert scores.grad.bool().tolist() == [[True, True, False], [False, True, False]]

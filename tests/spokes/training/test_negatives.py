import numpy as np
import pytest
import torch
from hubspoke.spokes.training.losses import bce_loss, bpr_loss, sampled_softmax_loss
from hubspoke.spokes.training.negatives import (
    HardNegatives,
    InBatchNegatives,
    MixedNegatives,
    PopularityNegatives,
    UniformNegatives,
    apportion,
    nearest_items,
    without_false_negatives,
)
from hypothesis import given
from hypothesis import strategies as st

COUNTS = np.array([0, 1, 4, 16])
TARGETS = np.array([3, 3, 1, 2, 3])


def rng(seed=0):
    return np.random.default_rng(seed)


def shares_drawn(sampler, draws=400):
    generator = rng()
    drawn = np.concatenate([sampler.draw(generator, TARGETS) for _ in range(draws)])
    return np.bincount(drawn, minlength=len(COUNTS)) / len(drawn)


def mixed(count=8):
    return MixedNegatives([UniformNegatives(4, count // 2), PopularityNegatives(COUNTS, 0.5, count // 2)])


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (UniformNegatives(4, 100), [0.25, 0.25, 0.25, 0.25]),
        (PopularityNegatives(COUNTS, 0.5, 100), [0, 1 / 7, 2 / 7, 4 / 7]),
        (PopularityNegatives(COUNTS, 1.0, 100), [0, 1 / 21, 4 / 21, 16 / 21]),
        (PopularityNegatives(COUNTS, 0.0, 100), [0.25, 0.25, 0.25, 0.25]),
        (PopularityNegatives(np.zeros(4, np.int64), 1.0, 100), [0.25, 0.25, 0.25, 0.25]),
        (mixed(), [1 / 8, 1 / 8 + 1 / 14, 1 / 8 + 1 / 7, 1 / 8 + 2 / 7]),
    ],
)
def test_items_are_drawn_as_often_as_the_sampler_says(sampler, expected):
    np.testing.assert_allclose(np.exp(sampler.log_q), expected, atol=1e-6)
    drawn = shares_drawn(sampler)
    np.testing.assert_allclose(drawn, expected, atol=0.02)
    assert not drawn[np.array(expected) == 0].any()


def test_in_batch_negatives_are_the_targets_of_the_batch():
    sampler = InBatchNegatives(COUNTS, 3)
    drawn = sampler.draw(rng(), TARGETS)
    assert drawn.shape == (3,)
    # No position twice: three draws of five positions cannot hold item 3 more often than the batch does.
    assert all((drawn == item).sum() <= (item == TARGETS).sum() for item in drawn)
    np.testing.assert_array_equal(InBatchNegatives(COUNTS, 9).draw(rng(), TARGETS), TARGETS)
    np.testing.assert_allclose(np.exp(sampler.log_q), COUNTS / COUNTS.sum(), atol=1e-6)
    np.testing.assert_allclose(shares_drawn(sampler), [0, 0.2, 0.2, 0.6], atol=0.05)


def test_a_mixture_draws_its_shares():
    sampler = MixedNegatives([UniformNegatives(4, 3), PopularityNegatives(COUNTS, 1.0, 0), InBatchNegatives(COUNTS, 2)])
    assert sampler.count == 5 and sampler.draw(rng(), TARGETS).shape == (5,)
    assert set(sampler.draw(rng(), np.array([2, 2]))[3:]) == {2}


@pytest.mark.parametrize("sampler", [UniformNegatives(50, 9), PopularityNegatives(np.arange(50), 0.75, 9), mixed()])
def test_a_seed_draws_the_same_again(sampler):
    first, again, other = (sampler.draw(rng(seed), TARGETS) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.int64


@given(st.integers(0, 300), st.lists(st.floats(0.01, 1), min_size=1, max_size=5))
def test_shares_become_whole_numbers_that_sum_up(count, shares):
    exact = np.array(shares) / sum(shares)
    whole = apportion(count, list(exact))
    assert sum(whole) == count
    assert np.abs(np.array(whole) - exact * count).max() < 1


def test_equal_remainders_go_to_the_first():
    assert apportion(3, [0.5, 0.5]) == [2, 1]


VECTORS = torch.tensor([[1.0, 0.0], [10.0, 1.0], [0.0, 1.0], [-1.0, 0.1]])


def test_the_nearest_items_by_hand():
    # By angle from item 0: item 1 at 6 degrees, item 2 at 90, item 3 at 174; length says nothing.
    found = nearest_items(VECTORS, 2, rng())
    assert found.tolist() == [[1, 2], [0, 2], [1, 3], [2, 1]]
    assert nearest_items(VECTORS, 99, rng()).shape == (4, 3)


def test_of_a_large_catalog_a_part_is_looked_at(monkeypatch):
    monkeypatch.setattr("hubspoke.spokes.training.negatives.MINED_AMONG", 6)
    monkeypatch.setattr("hubspoke.spokes.training.negatives.MINED_AT_ONCE", 7)
    vectors = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    found, again, other = (nearest_items(vectors, 5, rng(seed)) for seed in (0, 0, 1))
    assert len(np.unique(found)) <= 6 and not (found == np.arange(40)[:, None]).any()
    np.testing.assert_array_equal(found, again)
    assert not np.array_equal(np.unique(found), np.unique(other))


def test_hard_negatives_are_drawn_from_the_nearest():
    hard = HardNegatives(3, 2, seed=0)
    assert hard.draw(rng(), np.array([0, 1])).tolist() == [[0, 0, 0], [1, 1, 1]]  # nothing mined yet: masked out
    hard.refresh(VECTORS, 0)
    drawn = hard.draw(rng(), np.array([0, 2, 0, 2]))
    assert drawn.shape == (4, 3)
    assert set(drawn[[0, 2]].ravel()) == {1, 2} and set(drawn[[1, 3]].ravel()) == {1, 3}


def test_a_catalog_of_one_item_has_no_hard_negatives():
    hard = HardNegatives(2, 5, seed=0)
    hard.refresh(VECTORS[:1], 0)
    assert hard.draw(rng(), np.array([0])).tolist() == [[0, 0]]


def test_what_the_session_likes_too_much_is_no_hard_negative():
    own = torch.tensor([[1, 2, 3], [4, 5, 6]])
    # Limits: 0.9 * 2 = 1.8, and for a negative target score -1 - 0.1 = -1.1.
    scores = torch.tensor([[1.7, 1.8, 1.9], [-1.0, -1.2, 3.0]])
    kept = without_false_negatives(own, scores, torch.tensor([2.0, -1.0]), torch.tensor([7, 8]), 0.9)
    assert kept.tolist() == [[1, 2, 7], [8, 5, 8]]


@pytest.mark.parametrize("loss", [sampled_softmax_loss, bce_loss, bpr_loss])
def test_an_excluded_item_gets_no_gradient(loss):
    positive, targets = torch.tensor([2.0]), torch.tensor([7])
    scores = torch.tensor([[1.0, 1.99]], requires_grad=True)
    kept = without_false_negatives(torch.tensor([[1, 2]]), scores, positive, targets, 0.9)
    loss(positive, scores, targets, kept).backward()
    assert scores.grad[0, 0] != 0 and scores.grad[0, 1] == 0

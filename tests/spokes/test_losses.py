import math

import pytest
import torch
from hubspoke.spokes.losses import full_softmax_loss, sampled_softmax_loss
from hypothesis import given
from hypothesis import strategies as st

E = math.e


def sampled(positive, negative, targets, negatives):
    return sampled_softmax_loss(
        torch.tensor(positive), torch.tensor(negative), torch.tensor(targets), torch.tensor(negatives)
    ).item()


def test_sampled_softmax_by_hand():
    # log(e^1 + e^0 + e^0) - 1 and log(e^0 + e^2 + e^1) - 0
    expected = (math.log(E + 2) - 1 + math.log(1 + E**2 + E)) / 2
    assert sampled([1.0, 0.0], [[0.0, 0.0], [2.0, 1.0]], [0, 1], [5, 6]) == pytest.approx(expected)


def test_a_negative_that_is_the_target_is_masked_for_that_position_only():
    # Item 5 is the target of the first position and a true negative of the second.
    expected = (math.log(E + 1) - 1 + math.log(1 + E**2 + E)) / 2
    assert sampled([1.0, 0.0], [[9.0, 0.0], [2.0, 1.0]], [5, 1], [5, 6]) == pytest.approx(expected)


def test_only_false_negatives_leave_nothing_to_learn():
    scores = torch.tensor([1.0, -2.0], requires_grad=True)
    loss = sampled_softmax_loss(scores, torch.zeros(2, 3), torch.tensor([4, 4]), torch.tensor([4, 4, 4]))
    loss.backward()
    assert loss.item() == 0.0 and scores.grad.tolist() == [0.0, 0.0]


def test_half_precision_scores_are_summed_in_single():
    loss = sampled_softmax_loss(
        torch.zeros(1, dtype=torch.bfloat16),
        torch.zeros(1, 999, dtype=torch.bfloat16),
        torch.tensor([0]),
        torch.arange(1, 1000),
    )
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(math.log(1000), rel=1e-5)


@given(st.integers(1, 5), st.integers(2, 7), st.integers(0, 99))
def test_with_every_other_item_as_negative_it_is_the_full_softmax(p, n, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(p, n, generator=generator)
    targets = torch.randint(n, (p,), generator=generator)
    positive = scores.gather(1, targets[:, None])[:, 0]
    # The target itself is among the "negatives", where the mask takes it out.
    full = full_softmax_loss(scores, targets).item()
    assert sampled_softmax_loss(positive, scores, targets, torch.arange(n)).item() == pytest.approx(full, abs=1e-5)


def test_full_softmax_by_hand():
    scores = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    expected = (math.log(E + 2) - 1 + math.log(3)) / 2
    assert full_softmax_loss(scores, torch.tensor([0, 2])).item() == pytest.approx(expected)

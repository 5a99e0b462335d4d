import math

import numpy as np
import pytest
import torch
from hubspoke.hub.training.losses import bounded_loss, bounded_pair_loss, info_nce_loss
from hypothesis import given, settings
from hypothesis import strategies as st

NONE = torch.zeros(2, 2, dtype=torch.bool)


def test_info_nce_by_hand():
    similarity = torch.tensor([[1.0, 0.0], [2.0, 3.0]])
    rows = math.log(math.e + 1) - 1 + math.log(math.exp(2) + math.exp(3)) - 3
    columns = math.log(math.e + math.exp(2)) - 1 + math.log(1 + math.exp(3)) - 3
    assert info_nce_loss(similarity, NONE).item() == pytest.approx((rows + columns) / 4)
    # A masked entry is no negative and the diagonal stays.
    same = torch.tensor([[True, False], [True, True]])  # (1, 0) is out: row 1 and column 0 have no negative left
    expected = (math.log(math.e + 1) - 1 + math.log(1 + math.exp(3)) - 3) / 4
    assert info_nce_loss(similarity, same).item() == pytest.approx(expected)
    assert info_nce_loss(similarity, ~NONE).item() == 0.0


def test_the_bounded_loss_of_pairs_by_hand():
    similarity = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    assert bounded_pair_loss(similarity, NONE).item() == pytest.approx(-0.5)
    assert bounded_pair_loss(similarity, ~NONE).item() == pytest.approx(-1.0)
    # A pair that nothing explains costs one, however wrong it is; by its logarithm it would cost a thousand.
    wrong = torch.tensor([[0.0, 1000.0], [0.0, 1000.0]])
    assert bounded_pair_loss(wrong, NONE).item() == pytest.approx(-(0 + 1 + 0.5 + 0.5) / 4)


@pytest.mark.parametrize("loss", [info_nce_loss, bounded_pair_loss])
def test_further_candidates_are_negatives_of_the_rows_alone(loss):
    similarity = torch.zeros(2, 3)
    row, column = (math.log(3), math.log(2)) if loss is info_nce_loss else (-1 / 3, -1 / 2)
    assert loss(similarity, torch.zeros(2, 3, dtype=torch.bool)).item() == pytest.approx((row + column) / 2)
    masked = torch.tensor([[False, False, True]] * 2)
    assert loss(similarity, masked).item() == pytest.approx(column)


@settings(max_examples=20)
@given(st.permutations(range(6)), st.sampled_from([info_nce_loss, bounded_pair_loss]))
def test_the_losses_do_not_depend_on_the_order_of_pairs(order, loss):
    rng = np.random.default_rng(0)
    similarity, same = torch.from_numpy(rng.standard_normal((6, 6))), torch.from_numpy(rng.random((6, 6)) < 0.2)
    shuffled = loss(similarity[order][:, order], same[order][:, order])
    assert shuffled.item() == pytest.approx(loss(similarity, same).item())


def test_the_bounded_loss_counts_the_first_candidate():
    logits = torch.tensor([[0.0, 0.0], [50.0, 0.0], [-50.0, 0.0]])
    assert float(bounded_loss(logits)) == pytest.approx(-(0.5 + 1 + 0) / 3)

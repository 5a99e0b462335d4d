from dataclasses import replace

import numpy as np
import pytest
import torch
from hubspoke.spokes.item_fusion import AttendedFusion, GatedFusion, Parts
from torch import nn

KINDS = ["gate", "cross-attention"]
ID_ROWS = np.array([1, 2, 3, 0, 0, 4, 5, 6, 7, 8, 9, 0], np.int64)


@pytest.fixture(params=KINDS)
def fusion(request):
    """Three parts of four columns, with weights as a training might leave them."""
    torch.manual_seed(0)
    made = GatedFusion(3, 4) if request.param == "gate" else AttendedFusion(3, 4, 2)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight) * 0.5)
    return made.eval()


@pytest.fixture
def parts():
    """Five items; the second lacks its second part, the third all but its last, the fourth everything."""
    present = torch.ones(5, 3, dtype=torch.bool)
    present[1, 1] = present[2, 0] = present[2, 1] = False
    present[3] = False
    vectors = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(3))
    return Parts(vectors * present[..., None], present)


def test_the_gate_of_an_item_of_two_parts():
    gate = GatedFusion(2, 2)
    with torch.no_grad():
        for weight in gate.parameters():
            weight.zero_()
        # The first hidden unit reads the first column of the first part, the second the last column of the second.
        gate.hidden.weight[0, 0] = gate.hidden.weight[1, 3] = gate.output.weight[0, 0] = 1.0
        gate.output.weight[1, 1], gate.output.bias[0] = -2.0, 0.5
    parts = Parts(torch.tensor([[[1.0, 2.0], [3.0, -1.0]]]), torch.ones(1, 2, dtype=torch.bool))
    # gelu(1) = 0.841345, gelu(-1) = -0.158655.
    first, second = (2 * torch.tensor([0.841345 + 0.5, -2 * -0.158655]).sigmoid()).tolist()
    torch.testing.assert_close(gate.weights(parts), torch.tensor([[first, second]]), atol=1e-5, rtol=0)
    torch.testing.assert_close(gate(parts), torch.tensor([[first + second * 3, first * 2 - second]]), atol=1e-5, rtol=0)


def test_attention_over_an_item_of_two_parts():
    made, eye = AttendedFusion(2, 2, 1), torch.eye(2)
    with torch.no_grad():
        made.types.copy_(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        for own, weight in ((made.query, eye), (made.key_value, torch.cat([eye, 2 * eye])), (made.output, eye)):
            own.weight.copy_(weight)
        made.output.bias.copy_(torch.tensor([10.0, 0.0]))
    parts = Parts(torch.tensor([[[1.0, 0.0], [0.0, 3.0]]]), torch.ones(1, 2, dtype=torch.bool))
    # The query is (1, 3), the tokens are (1, 1) and (0, 3), the values twice as much.
    similar = np.array([1 + 3, 9]) / 2**0.5
    weights = np.exp(similar) / np.exp(similar).sum()
    attended = weights[0] * np.array([2.0, 2.0]) + weights[1] * np.array([0.0, 6.0])
    expected = torch.tensor(np.array([[1.0, 3.0]]) + attended + np.array([10.0, 0.0]), dtype=torch.float32)
    torch.testing.assert_close(made(parts), expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(made.weights(parts).detach().numpy()[0, 0], weights, atol=1e-6)


def test_a_missing_part_has_weight_zero_exactly_and_contributions_sum_to_the_vector(fusion, parts):
    with torch.no_grad():
        weights, (own, rest), whole = fusion.weights(parts), fusion.contributions(parts), fusion(parts)
    weights = weights if weights.dim() == 3 else weights[:, None]
    assert torch.equal(weights > 0, parts.present[:, None].expand_as(weights)) and torch.isfinite(whole).all()
    if isinstance(fusion, AttendedFusion):
        sums = weights.sum(dim=-1)[parts.present.any(dim=1)]
        torch.testing.assert_close(sums, torch.ones_like(sums))
    torch.testing.assert_close(own.sum(dim=1) + rest, whole, atol=1e-5, rtol=0)
    assert not own[~parts.present].any()
    # Items do not depend on those beside them, and stay in full precision under autocast.
    order = torch.tensor([4, 2, 0, 3, 1])
    with torch.no_grad():
        moved = fusion(Parts(parts.vectors[order], parts.present[order]))
        alone = torch.cat([fusion(Parts(parts.vectors[[n]], parts.present[[n]])) for n in range(5)])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = fusion(parts)
    assert half.dtype == torch.float32
    for own, expected in ((moved, whole[order]), (alone, whole)):
        torch.testing.assert_close(own, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(half, whole, atol=0.1, rtol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_item_lacks_and_a_dropped_residual_are_missing_parts(build, encoded, kind):
    made, read = build(fusion=kind, id_dropout=0.5).behaviour.model, []
    assert made.part_names == ["text", "image", "item id"]
    made.item_fusion.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    inputs = made.inputs(encoded, ID_ROWS)
    made.item_vectors(inputs)
    made.train()
    torch.manual_seed(0)
    assert torch.isfinite(made.embed_items(inputs)).all()
    torch.manual_seed(0)
    kept = torch.rand(12) >= 0.5
    assert 0 < int(kept.sum()) < 12
    for parts, ids in zip(read, (torch.ones_like(kept), kept), strict=True):
        # The fixture's second item has no text, the third no picture, the fourth neither.
        assert [(~parts.present[:, n]).nonzero().flatten().tolist() for n in (0, 1)] == [[1, 3], [2, 3]]
        assert torch.equal(parts.present[:, 2], ids) and torch.equal(parts.vectors[:, 2].any(dim=1), ids)
        assert not parts.vectors[~parts.present].any()


@pytest.mark.parametrize("kind", ["concat", *KINDS])
@pytest.mark.parametrize("bare", ["config", "catalog"])
def test_an_item_of_a_single_part(build, space, encoded, kind, bare):
    """IDs alone: a gate may only scale them, attention may only look at them."""
    given = {"content": ()} if bare == "config" else {"space": replace(space, text=None, image=None)}
    made = build(moved=0.0, fusion=kind, **given).behaviour.model
    vectors = made.item_vectors(made.inputs(encoded, ID_ROWS))
    np.testing.assert_allclose(vectors, made.ids.weight.detach().numpy()[ID_ROWS], atol=1e-6)


def test_a_gate_learns_which_part_to_read():
    """The vectors that are wanted are the first part of items whose first part says so, else the second."""
    torch.manual_seed(0)
    gate, vectors = GatedFusion(2, 4), torch.randn(200, 2, 4)
    first = vectors[:, 0, 0] > 0
    wanted = torch.where(first[:, None], vectors[:, 0], vectors[:, 1])
    parts = Parts(vectors, torch.ones(200, 2, dtype=torch.bool))
    optimiser = torch.optim.Adam(gate.parameters(), lr=0.02)
    losses = []
    for _ in range(300):
        losses.append(nn.functional.mse_loss(gate(parts), wanted))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.3 * losses[0]
    weights = gate.weights(parts).detach()
    assert weights[first, 0].mean() > 3 * weights[first, 1].mean()
    assert weights[~first, 1].mean() > 3 * weights[~first, 0].mean()

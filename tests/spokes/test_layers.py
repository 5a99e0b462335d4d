import pytest
import torch
from hubspoke.spokes.layers import Dropout


def dropped(share, *shape, seed=0):
    torch.manual_seed(seed)
    return Dropout(share).train()(torch.ones(*shape))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_a_share_is_dropped_and_the_mean_stays(share):
    values = dropped(share, 400, 1000)
    # Four standard deviations of 400,000 draws.
    bound = 4 * (share * (1 - share) / values.numel()) ** 0.5
    assert float((values == 0).float().mean()) == pytest.approx(share, abs=bound + 1e-5)
    kept = values[values != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - share)), rtol=1e-4, atol=0)
    # The four numbers of one draw fall independently: their correlation is that of chance.
    correlation = torch.corrcoef((dropped(share, 100_000, 4) == 0).float().T) - torch.eye(4)
    assert float(correlation.abs().max()) < 0.02


def test_a_seed_decides_shapes_of_any_size_are_filled_and_gradients_pass_where_numbers_do():
    assert torch.equal(dropped(0.3, 5, 3), dropped(0.3, 5, 3))
    assert not torch.equal(dropped(0.3, 50, 3), dropped(0.3, 50, 3, seed=1))
    assert dropped(0.3, 0, 4).shape == (0, 4)
    x = torch.ones(1000, requires_grad=True)
    y = Dropout(0.4).train()(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())
    # Nothing falls when serving or without a share.
    assert Dropout(0.5).eval()(x) is x and Dropout(0.0).train()(x) is x

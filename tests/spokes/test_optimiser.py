import pytest
import torch
from hubspoke.spokes.optimiser import AdamW

SHAPES = [(300, 64), (64, 7), (5,), (1, 1)]


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("scale", [1.0, 1e-19, 1e-30])
def test_it_has_the_bits_of_torchs_own(decay, scale):
    """Rows without gradient, gradients whose squares are below normal numbers or zero, a rate that changes."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs = ([torch.nn.Parameter(torch.full(shape, 0.1)) for shape in SHAPES] for _ in range(2))
    options = {"lr": 1e-2, "betas": (0.9, 0.98), "weight_decay": decay}
    optimisers = AdamW(ours, **options), torch.optim.AdamW(theirs, **options, foreach=False)
    for step in range(30):
        for mine, other in zip(ours, theirs, strict=True):
            rows = torch.rand(len(mine), generator=generator) < 0.05
            gradient = torch.randn(mine.shape, generator=generator) * scale
            gradient[~rows] = 0
            mine.grad, other.grad = gradient, gradient.clone()
        if step % 3 == 0:
            ours[2].grad = theirs[2].grad = None
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = 1e-2 / (1 + step)
            optimiser.step()
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)
        for name, moment in optimisers[1].state[other].items():
            assert torch.equal(optimisers[0].state[mine][name], moment)


def test_elsewhere_than_on_a_cpu_torchs_own_is_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: asked.append(self))
    weight = torch.nn.Parameter(torch.zeros(2, device="meta"))
    weight.grad = torch.zeros(2, device="meta")
    optimiser = AdamW([weight], lr=0.1)
    optimiser.step()
    assert asked == [optimiser]


def test_nothing_with_a_gradient_is_no_step():
    weight = torch.nn.Parameter(torch.ones(2))
    AdamW([weight], lr=0.1).step()
    assert weight.tolist() == [1.0, 1.0]

import pytest
import torch
from hubspoke.spokes.training.optimiser import BETAS, adamw, rate_factor


def test_steps_are_those_of_the_paper():
    """Two steps by hand: moments and their corrections."""
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimiser = adamw({"weight": weight}, 0.1, {})
    expected, first, second = torch.tensor([1.0, 2.0]), torch.zeros(2), torch.zeros(2)
    for step, gradient in enumerate((torch.tensor([0.5, 0.0]), torch.tensor([-0.25, 0.0])), 1):
        weight.grad = gradient.clone()
        optimiser.step()
        first = BETAS[0] * first + (1 - BETAS[0]) * gradient
        second = BETAS[1] * second + (1 - BETAS[1]) * gradient**2
        corrected = first / (1 - BETAS[0] ** step), (second / (1 - BETAS[1] ** step)).sqrt()
        expected = expected - 0.1 * corrected[0] / (corrected[1] + 1e-8)
        torch.testing.assert_close(weight.detach(), expected)


def test_a_part_with_a_share_has_shorter_steps():
    slow, fast = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimiser = adamw({"encoder.weight": slow, "ids.weight": fast}, 0.1, {"encoder.": 0.2})
    for weight in (slow, fast):
        weight.grad = torch.ones(1)
    optimiser.step()
    torch.testing.assert_close(slow.detach(), 0.2 * fast.detach())
    lone = torch.nn.Parameter(torch.ones(2))
    adamw({"weight": lone}, 0.1, {}).step()  # nothing has a gradient
    assert lone.tolist() == [1.0, 1.0]


def test_the_rate_rises_and_falls_along_half_a_cosine():
    # In the warm-up of one epoch, at its end, half and three quarters of the way down, at the end, beyond it.
    factors = [rate_factor(done, horizon=9.0) for done in (0.25, 1, 5, 7, 9, 12)]
    assert factors == pytest.approx([0.25, 1, 0.5, (1 - 0.5**0.5) / 2, 0, 0])
    # A training as short as the warm-up ends at the top.
    assert [rate_factor(done, horizon=1.0) for done in (0.5, 1.0)] == [0.5, 1.0]

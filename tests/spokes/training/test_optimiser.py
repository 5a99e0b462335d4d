import torch
from hubspoke.spokes.training.optimiser import BETAS, adamw


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


def test_nothing_with_a_gradient_is_no_step():
    weight = torch.nn.Parameter(torch.ones(2))
    adamw({"weight": weight}, 0.1, {}).step()
    assert weight.tolist() == [1.0, 1.0]

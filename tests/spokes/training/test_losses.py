import math

import pytest
import torch
from hubspoke.spokes.training.losses import bce_loss, full_softmax_loss, sampled_softmax_loss
from hypothesis import given
from hypothesis import strategies as st

E = math.e
shapes = st.integers(1, 6), st.integers(1, 9), st.integers(0, 99)


def sampled(*given, **options):
    return sampled_softmax_loss(*(torch.tensor(own) for own in given), **options).item()


def test_softmaxes_by_hand():
    # log(e^1 + e^0 + e^0) - 1; item 5 as target of the first position is still a true negative of the second.
    for targets, first, expected in (([0, 1], 0.0, math.log(E + 2) - 1), ([5, 1], 9.0, math.log(E + 1) - 1)):
        loss = sampled([1.0, 0.0], [[first, 0.0], [2.0, 1.0]], targets, [5, 6])
        assert loss == pytest.approx((expected + math.log(1 + E**2 + E)) / 2)
    scores = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    full = (math.log(E + 2) - 1 + math.log(3)) / 2
    assert full_softmax_loss(scores, torch.tensor([0, 2])).item() == pytest.approx(full)


@pytest.mark.parametrize(("temperature", "corrected"), [(0.5, False), (1.0, True), (0.5, True)])
def test_a_temperature_divides_the_scores_and_log_q_corrects_them_then(temperature, corrected):
    # The target scores 1, the negative 0; corrected by 1/2 and 1/4 the target's share is 2e / (2e + 4).
    log_q = (torch.tensor([0.5]).log(), torch.tensor([0.25]).log()) if corrected else None
    loss = sampled([1.0], [[0.0]], [0], [1], temperature=temperature, log_q=log_q)
    own, other = math.exp(1 / temperature) * (2 if corrected else 1), 4 if corrected else 1
    assert loss == pytest.approx(-math.log(own / (own + other)))


def test_only_false_negatives_leave_nothing_to_learn_and_half_precision_is_summed_in_single():
    scores = torch.tensor([1.0, -2.0], requires_grad=True)
    loss = sampled_softmax_loss(scores, torch.zeros(2, 3), torch.tensor([4, 4]), torch.tensor([4, 4, 4]))
    loss.backward()
    assert loss.item() == 0.0 and scores.grad.tolist() == [0.0, 0.0]
    scores = torch.zeros(1, 1000, dtype=torch.bfloat16)
    loss = sampled_softmax_loss(scores[:, 0], scores[:, 1:], torch.tensor([0]), torch.arange(1, 1000))
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(math.log(1000), rel=1e-5)


def test_the_gradients_of_the_sampled_softmax_are_those_of_its_value():
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(*shape, generator=generator, dtype=torch.double).requires_grad_() for shape in ((4,), (4, 3))]
    items = torch.tensor([0, 1, 2, 3]), torch.tensor([9, 1, 8])
    # In single precision, as trained: the step is large and so is what may differ.
    assert torch.autograd.gradcheck(lambda *own: sampled_softmax_loss(*own, *items), inputs, eps=1e-2, atol=1e-3)


@given(st.integers(1, 5), st.integers(2, 7), st.integers(0, 99))
def test_with_every_other_item_as_negative_it_is_the_full_softmax(p, n, seed):
    generator = torch.Generator().manual_seed(seed)
    scores, targets = torch.randn(p, n, generator=generator), torch.randint(n, (p,), generator=generator)
    positive = scores.gather(1, targets[:, None])[:, 0]
    # The target itself is among the "negatives", where the mask takes it out.
    full = full_softmax_loss(scores, targets).item()
    assert sampled_softmax_loss(positive, scores, targets, torch.arange(n)).item() == pytest.approx(full, abs=1e-5)


def scores_of(p, k, seed, n=50):
    """Scores of P targets and K shared negatives, and their items; some are drawn that are a target."""
    generator = torch.Generator().manual_seed(seed)
    scores = (torch.randn(*shape, generator=generator) for shape in ((p,), (p, k)))
    return *scores, *(torch.randint(n, (size,), generator=generator) for size in (p, k))


@given(*shapes, st.floats(0.01, 1.0))
def test_log_q_of_a_uniform_draw_changes_nothing_and_shared_negatives_are_everybodys_own(p, k, seed, q):
    *scores, negatives = scores_of(p, k, seed)
    uniform = torch.full((p,), math.log(q)), torch.full((k,), math.log(q))
    plain = sampled_softmax_loss(*scores, negatives)
    assert sampled_softmax_loss(*scores, negatives, log_q=uniform).item() == pytest.approx(plain.item(), abs=1e-5)
    for loss in (sampled_softmax_loss, bce_loss):
        assert torch.equal(loss(*scores, negatives), loss(*scores, negatives.expand(p, k)))


def test_bce_by_hand():
    # Item 6 is the second position's target, so that position counts two terms, the first three.
    scores = torch.tensor([1.0, 0.5]), torch.tensor([[0.0, 2.0], [-1.0, 9.0]])
    loss = bce_loss(*scores, torch.tensor([0, 6]), torch.tensor([5, 6]))
    terms = [math.log(1 + math.exp(x)) for x in (-1.0, 0.0, 2.0, -0.5, -1.0)]
    assert loss.item() == pytest.approx((sum(terms[:3]) / 3 + sum(terms[3:]) / 2) / 2)
    # A position without true negatives is no division by zero.
    alone = bce_loss(torch.zeros(1), torch.zeros(1, 2), torch.tensor([4]), torch.tensor([4, 4]))
    assert alone.item() == pytest.approx(math.log(2))

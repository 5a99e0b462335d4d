import pytest
import torch
from hubspoke.spokes.transformer import SequenceTransformer, TransformerConfig
from pydantic import ValidationError

CONFIG = TransformerConfig(dimension=8, blocks=2, heads=2, max_length=6)


def transformer(config=CONFIG, seed=0, loud=True):
    torch.manual_seed(seed)
    made = SequenceTransformer(config)
    if loud:  # weights large enough that attention is far from uniform
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.5)
    return made.eval()


def vectors(b=3, t=6, d=8, seed=1):
    return torch.randn(b, t, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("changed", range(6))
def test_a_later_item_does_not_change_earlier_outputs(changed):
    made, x = transformer(), vectors()
    y = x.clone()
    y[:, changed, 0] += 3  # one column: a constant would vanish in the layer norm
    a, b = made(x), made(y)
    torch.testing.assert_close(a[:, :changed], b[:, :changed])
    assert ((a[:, changed:] - b[:, changed:]).abs().amax(dim=2) > 1e-4).all()


@pytest.mark.parametrize("t", [1, 3, 5])
def test_padding_on_the_right_does_not_matter(t):
    made, x = transformer(), vectors()
    padded = x.clone()
    padded[:, t:] = 0
    torch.testing.assert_close(made(x[:, :t]), made(padded)[:, :t])


def test_sequences_do_not_see_each_other():
    made, x = transformer(), vectors()
    torch.testing.assert_close(made(x)[1:2], made(x[1:2]))


def test_the_order_of_events_matters():
    made, x = transformer(), vectors()
    assert not torch.allclose(made(x)[:, -1], made(x[:, [1, 0, 2, 3, 4, 5]])[:, -1], atol=1e-3)


def test_one_block_by_the_formula():
    config = TransformerConfig(dimension=4, blocks=1, heads=1, max_length=3)
    made, x = transformer(config), vectors(1, 3, 4)
    with torch.no_grad():
        block = made.blocks[0]
        h = x + made.positions
        q, k, v = block.attention.query_key_value(block.attention_norm(h)).split(4, dim=2)
        scores = (q @ k.transpose(1, 2) / 2).masked_fill(~torch.ones(3, 3).tril().bool(), float("-inf"))
        h = h + block.attention.output(scores.softmax(dim=2) @ v)
        h = h + block.feed_forward(block.feed_forward_norm(h))
        torch.testing.assert_close(made(x), made.norm(h), atol=1e-5, rtol=1e-5)


def test_dropout_is_for_training_only():
    made, x = transformer(), vectors()
    torch.testing.assert_close(made(x), made(x))
    made.train()
    assert not torch.allclose(made(x), made(x))


def test_initialisation():
    made = transformer(TransformerConfig(dimension=64, blocks=2, max_length=50), loud=False)
    deviations = {name: p.std().item() for name, p in made.named_parameters() if p.dim() == 2}
    last = {name for name in deviations if name.endswith(("attention.output.weight", "feed_forward.3.weight"))}
    assert len(last) == 4
    for name, found in deviations.items():
        assert found == pytest.approx(0.01 if name in last else 0.02, rel=0.05), name
    for name, p in made.named_parameters():
        if p.dim() == 1:
            assert (p == (1 if name.endswith("norm.weight") else 0)).all(), name


def test_the_message_names_dimension_and_heads():
    with pytest.raises(ValidationError, match=r"dimension \(10\) must be divisible by heads \(4\)"):
        TransformerConfig(dimension=10, heads=4)


@pytest.mark.parametrize("wrong", [{"dropout": 1.0}, {"max_length": 1}, {"blocks": 0}, {"width": 3}])
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValidationError):
        TransformerConfig(**wrong)

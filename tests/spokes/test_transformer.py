import pytest
import torch
from hubspoke.spokes.config import TransformerConfig
from hubspoke.spokes.transformer import EventContext, Frame, SequenceTransformer, dwell_buckets, interval_buckets

EVERYTHING = {"time_bias": True, "event_types": True, "dwell": True}
VARIANTS = {"scaled": {"scale_inputs": True}, "plain": {}, "context": EVERYTHING}
VALID = torch.tensor([[True] * 6, [True] * 4 + [False] * 2, [True] + [False] * 5])
every_way = pytest.mark.parametrize(("variant", "causal"), [(own, way) for own in VARIANTS for way in (True, False)])


def transformer(variant="plain", loud=True, causal=True, **more):
    torch.manual_seed(0)
    config = {"dimension": 8, "blocks": 2, "heads": 2, "max_length": 6, **VARIANTS[variant], **more}
    made = SequenceTransformer(TransformerConfig(**config), causal)
    if loud:  # weights large enough that attention is far from uniform
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.5)
    return made.eval()


def vectors(b=3, t=6, d=8):
    return torch.randn(b, t, d, generator=torch.Generator().manual_seed(1))


def context(b=3, t=6):
    """Times that grow by up to some hours, and types, for every event."""
    rng = torch.Generator().manual_seed(2)
    gaps = torch.randint(0, 20_000, (b, t), generator=rng)
    return EventContext(gaps.cumsum(dim=1) * 1_000_000, torch.randint(0, 8, (b, t), generator=rng))


@pytest.mark.parametrize(("variant", "what"), [*((own, "item") for own in VARIANTS), ("context", "time or type")])
@pytest.mark.parametrize("changed", range(6))
def test_what_comes_later_does_not_change_earlier_outputs(variant, what, changed):
    made, x, before = transformer(variant), vectors(), context()
    y, after = x.clone(), EventContext(before.timestamps.clone(), before.event_types.clone())
    if what == "item":
        y[:, changed, 0] += 3  # one column: a constant would vanish in the layer norm
    else:
        after.timestamps[:, changed:] += 10**12
        after.event_types[:, changed] = (after.event_types[:, changed] + 1) % 8
    a, b = made(x, context=before), made(y, context=after)
    torch.testing.assert_close(a[:, :changed], b[:, :changed])
    assert ((a[:, changed:] - b[:, changed:]).abs().amax(dim=2) > 1e-4).all()


@every_way
@pytest.mark.parametrize("t", [1, 3, 5])
def test_padding_on_the_right_does_not_matter(variant, causal, t):
    made, x, own = transformer(variant, causal=causal), vectors(), context()
    expected = made(x[:, :t], context=EventContext(own.timestamps[:, :t], own.event_types[:, :t]))
    for padding in (0.0, 5.0):
        padded = x.clone()
        padded[:, t:] = padding
        found = made(padded, torch.arange(6).expand(3, 6) < t, own)[:, :t]
        torch.testing.assert_close(found, expected)
    # Rows without any event stay finite.
    assert made(torch.zeros(2, 4, 8), torch.zeros(2, 4, dtype=torch.bool), context(2, 4)).isfinite().all()


def test_inputs_are_scaled_by_the_root_of_the_dimension_and_times_and_types_start_without_effect():
    plain, scaled, x = transformer(), transformer("scaled"), vectors()
    scaled.load_state_dict(plain.state_dict())
    torch.testing.assert_close(scaled(x), plain(x * 8**0.5))
    quiet, without = transformer("context", loud=False), transformer(loud=False)
    without.load_state_dict({name: w for name, w in quiet.state_dict().items() if name in without.state_dict()})
    torch.testing.assert_close(quiet(x, context=context()), without(x))
    torch.testing.assert_close(quiet(x), without(x))


def test_a_bidirectional_model_sees_both_sides_and_counts_positions_from_the_right():
    x = vectors()
    y = x.clone()
    y[:, 3, 0] += 3
    causal, both = transformer(), transformer(causal=False)
    assert ((both(x) - both(y)).abs().amax(dim=2) > 1e-4).all()
    for made in (causal, both):
        torch.testing.assert_close(made(x)[1:2], made(x[1:2]))
    # They share every layer; one event sees itself alone, either way.
    assert causal.state_dict().keys() == both.state_dict().keys()
    torch.testing.assert_close(causal(x[:, :1]), both(x[:, :1]))
    x, read = vectors(), []
    for own in (both, causal):
        own.dropout.register_forward_pre_hook(lambda _, given: read.append(given[0] - x))
        own(x, VALID)
    right, left = read
    torch.testing.assert_close(right[0], both.positions.flip(0))
    torch.testing.assert_close(right[1, :4], both.positions[:4].flip(0))
    torch.testing.assert_close(right[2, 0], both.positions[0])
    torch.testing.assert_close(left, causal.positions.expand(3, 6, 8))


def test_buckets_double_and_the_time_bias_is_added_to_the_logits():
    seconds = torch.tensor([0, 1, 2, 3, 4, 7, 8, 3600, 86_400, 2**31 - 1, 2**40])
    assert interval_buckets(seconds * 1_000_000).tolist() == [0, 1, 2, 2, 3, 3, 4, 12, 17, 31, 31]
    assert interval_buckets(torch.tensor([999_999, -4_000_000])).tolist() == [0, 3]
    assert dwell_buckets(torch.tensor([[0, 1, 1, 9]]) * 1_000_000).tolist() == [[0, 1, 0, 4]]
    made, x = transformer(time_bias=True, blocks=1), vectors(1)
    when = EventContext(torch.tensor([[0, 4, 4, 8, 20, 90]]) * 1_000_000)
    _, before = made.attention_weights(x, context=when)
    with torch.no_grad():
        made.blocks[0].attention.interval_bias.weight[5, 1] += 1.0  # 16 to 31 seconds, the second head
    _, after = made.attention_weights(x, context=when)
    torch.testing.assert_close(after[0, 0, 0], before[0, 0, 0])
    ratio = after[0, 0, 1, 4, :5] / before[0, 0, 1, 4, :5]
    # The fifth event is 20, 16, 16, 12 and 0 seconds after those before it.
    torch.testing.assert_close(ratio / ratio[3], torch.tensor([2.71828, 2.71828, 2.71828, 1.0, 1.0]), atol=1e-3, rtol=0)


@every_way
def test_attention_weights_are_those_of_the_fused_kernel(variant, causal):
    made, x, read = transformer(variant, causal=causal, blocks=1, heads=1, scale_inputs=True), vectors(), []
    attention = made.blocks[0].attention
    attention.register_forward_hook(lambda _, given, out: read.append((given[0], out)))
    out, weights = made.attention_weights(x, VALID, context())
    torch.testing.assert_close(out, made(x, VALID, context()))
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(1, 3, 1, 6))
    normed, attended = read[0]
    v = attention.query_key_value(normed).split(8, dim=2)[2]
    torch.testing.assert_close(attention.output(weights[0, :, 0] @ v), attended)
    assert not (weights[0, :, 0].triu(1) if causal else weights[0, 1, 0, :4, 4:]).any()


def test_one_block_by_the_formula():
    made, x = transformer(dimension=4, blocks=1, heads=1, max_length=3), vectors(1, 3, 4)
    with torch.no_grad():
        block = made.blocks[0]
        h = x + made.positions
        q, k, v = block.attention.query_key_value(block.attention_norm(h)).split(4, dim=2)
        scores = (q @ k.transpose(1, 2) / 2).masked_fill(~torch.ones(3, 3).tril().bool(), float("-inf"))
        h = h + block.attention.output(scores.softmax(dim=2) @ v)
        h = h + block.feed_forward(block.feed_forward_norm(h))
        torch.testing.assert_close(made(x), made.norm(h), atol=1e-5, rtol=1e-5)


@every_way
def test_half_precision_and_training_compute_the_same(variant, causal):
    made, x = transformer(variant, loud=False, causal=causal), vectors()
    expected = made(x, VALID, context())
    with torch.autocast("cpu", torch.bfloat16):
        out = made.train()(x, VALID, context())
        torch.testing.assert_close(made.eval()(x, VALID, context()).float(), expected, atol=0.05, rtol=0)
    out[VALID].float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
    # A share too small for any weight to fall: training then computes what the fused kernel does, by another way.
    made = transformer(variant, causal=causal, dropout=1e-9)
    served = made(x, VALID, context())
    torch.testing.assert_close(made.train()(x, VALID, context())[VALID], served[VALID])


def test_attention_drops_weights():
    torch.manual_seed(0)
    attention = transformer(blocks=1, dropout=0.5).blocks[0].attention
    with torch.no_grad():
        for name, parameter in attention.named_parameters():
            parameter.copy_(torch.eye(8).repeat(len(parameter) // 8, 1) if name.endswith("weight") else parameter * 0)
    x = torch.zeros(1, 1, 8).fill_(3.0)
    # A lone event sees itself alone: what it hears, head by head, is all of it twice over, or nothing.
    heard = {tuple(attention.train()(x, Frame())[0, 0, ::4].tolist()) for _ in range(50)}
    assert heard == {(0.0, 0.0), (6.0, 0.0), (0.0, 6.0), (6.0, 6.0)}


def test_initialisation():
    made = transformer(dimension=64, max_length=50, loud=False)
    deviations = {name: p.std().item() for name, p in made.named_parameters() if p.dim() == 2}
    last = {name for name in deviations if name.endswith(("attention.output.weight", "feed_forward.3.weight"))}
    assert len(last) == 4
    for name, found in deviations.items():
        assert found == pytest.approx(0.01 if name in last else 0.02, rel=0.05), name
    for name, p in made.named_parameters():
        if p.dim() == 1:
            assert (p == (1 if name.endswith("norm.weight") else 0)).all(), name

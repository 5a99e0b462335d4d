import numpy as np
import pytest
import torch
from hubspoke.hub.config import FusionConfig
from hubspoke.hub.fusion import BaseFusion, EncodedItems, interpolate
from hypothesis import given
from hypothesis import strategies as st

TEXT, IMAGE = 5, 3


def fusion(trained=True, seed=0, text=TEXT, image=IMAGE):
    torch.manual_seed(seed)
    made = BaseFusion(text, image, FusionConfig(hidden=4))
    if trained:
        torch.nn.init.normal_(made.up.weight)
        torch.nn.init.normal_(made.up.bias)
    return made.eval()


def encoded(n=8, text=TEXT, image=IMAGE):
    """Of every four items the second has a picture only, the third text only, the fourth nothing."""
    rng = np.random.default_rng(0)
    made = EncodedItems(*(rng.standard_normal((n, width)).astype(np.float32) for width in (text, image)))
    made.text[1::4] = made.text[3::4] = 0
    made.image[2::4] = made.image[3::4] = 0
    return made


def test_untrained_it_is_the_identity_and_trained_the_residual_formula():
    np.testing.assert_array_equal(fusion(trained=False).fuse(encoded()).joined(), encoded().joined())
    made, x = fusion(), torch.from_numpy(encoded().joined())[:1]
    hidden = torch.nn.functional.layer_norm(x, (TEXT + IMAGE,)) @ made.down.weight.T + made.down.bias
    gelu = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    torch.testing.assert_close(made(x), x + gelu @ made.up.weight.T + made.up.bias)
    torch.manual_seed(0)
    made = BaseFusion(300, 100, FusionConfig(hidden=200))
    assert made.down.weight.std().item() == pytest.approx(400**-0.5, rel=0.02)
    assert not made.down.bias.any() and not made.up.weight.any() and not made.up.bias.any()


def test_a_missing_modality_stays_zero_and_items_depend_neither_on_others_nor_on_batch_or_mode():
    fused = fusion().fuse(encoded())
    np.testing.assert_array_equal(fused.has_text, [True, False, True, False] * 2)
    np.testing.assert_array_equal(fused.has_image, [True, True, False, False] * 2)
    made, x = fusion().train(), encoded(9)
    whole, parts, alone = made.fuse(x), made.fuse(x, batch_size=2), made.fuse(x.rows(np.array([2])))
    np.testing.assert_allclose(whole.joined(), parts.joined(), atol=1e-6)
    np.testing.assert_allclose(alone.text[0], whole.text[2], atol=1e-6)
    assert made.training
    assert made.fuse(encoded(0)).joined().shape == (0, TEXT + IMAGE)


@pytest.mark.parametrize("modality", ["text", "image"])
def test_a_modality_taken_away_has_no_influence_and_a_hub_may_have_one_encoder(modality):
    a, b = encoded(), encoded()
    getattr(b, modality)[:] *= 7
    np.testing.assert_array_equal(*(fusion().fuse(own.without(modality)).joined() for own in (a, b)))
    widths = {"text": TEXT, "image": IMAGE} | {modality: 0}
    fused = fusion(**widths).fuse(encoded(4, **widths))
    assert [fused.text.shape, fused.image.shape] == [(4, width) for width in widths.values()]
    np.testing.assert_array_equal(fused.joined()[3], np.zeros(sum(widths.values())))


@given(st.floats(0, 1) | st.sampled_from([0.0, 1.0]))
def test_interpolation_goes_from_start_to_trained(share):
    start, trained = fusion(trained=False, seed=1), fusion(seed=2)
    for name, weight in interpolate(start, trained, share).items():
        a, b = start.state_dict()[name], trained.state_dict()[name]
        torch.testing.assert_close(weight, (1 - share) * a + share * b, atol=1e-5, rtol=1e-5)
        assert share not in (0.0, 1.0) or torch.equal(weight, b if share else a)

import numpy as np
import pytest
import torch
from hubspoke.hub.config import FusionConfig
from hubspoke.hub.fusion import BaseFusion, EncodedItems, interpolate
from hypothesis import given
from hypothesis import strategies as st

TEXT, IMAGE = 5, 3


def fusion(trained=False, seed=0, text=TEXT, image=IMAGE):
    torch.manual_seed(seed)
    made = BaseFusion(text, image, FusionConfig(hidden=4))
    if trained:
        torch.nn.init.normal_(made.up.weight)
        torch.nn.init.normal_(made.up.bias)
    return made.eval()


def encoded(n=4, seed=0, text=TEXT, image=IMAGE):
    rng = np.random.default_rng(seed)
    made = EncodedItems(
        rng.standard_normal((n, text), np.float32).astype(np.float32),
        rng.standard_normal((n, image), np.float32).astype(np.float32),
    )
    made.text[1::4] = 0  # item 1 has a picture only
    made.image[2::4] = 0  # item 2 has text only
    made.text[3::4] = 0  # item 3 has nothing
    made.image[3::4] = 0
    return made


def test_untrained_it_is_the_identity():
    x = encoded(8)
    fused = fusion().fuse(x)
    np.testing.assert_array_equal(fused.text, x.text)
    np.testing.assert_array_equal(fused.image, x.image)


def test_trained_it_is_the_residual_formula():
    made = fusion(trained=True)
    x = torch.from_numpy(encoded().joined())[:1]
    centred = (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()
    hidden = centred @ made.down.weight.T + made.down.bias
    gelu = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    torch.testing.assert_close(made(x), x + gelu @ made.up.weight.T + made.up.bias)


def test_a_missing_modality_stays_zero():
    fused = fusion(trained=True).fuse(encoded(8))
    np.testing.assert_array_equal(fused.has_text, [True, False, True, False] * 2)
    np.testing.assert_array_equal(fused.has_image, [True, True, False, False] * 2)


def test_an_item_does_not_depend_on_the_others_or_on_the_batch():
    made, x = fusion(trained=True), encoded(9)
    whole, parts = made.fuse(x), made.fuse(x, batch_size=2)
    np.testing.assert_allclose(whole.joined(), parts.joined(), atol=1e-6)
    alone = made.fuse(x.rows(np.array([2])))
    np.testing.assert_allclose(alone.text[0], whole.text[2], atol=1e-6)


@pytest.mark.parametrize("modality", ["text", "image"])
def test_a_modality_taken_away_has_no_influence(modality):
    made = fusion(trained=True)
    a, b = encoded(4, seed=1), encoded(4, seed=1)
    getattr(b, modality)[:] *= 7
    np.testing.assert_array_equal(made.fuse(a.without(modality)).joined(), made.fuse(b.without(modality)).joined())


@pytest.mark.parametrize(("text", "image"), [(TEXT, 0), (0, IMAGE)])
def test_a_hub_of_one_encoder(text, image):
    x = encoded(4, text=text, image=image)
    fused = fusion(trained=True, text=text, image=image).fuse(x)
    assert fused.text.shape == (4, text) and fused.image.shape == (4, image)
    np.testing.assert_array_equal(fused.joined()[3], np.zeros(text + image))


def test_no_items():
    assert fusion().fuse(encoded(0)).joined().shape == (0, TEXT + IMAGE)


def test_fusing_leaves_the_mode_alone():
    made = fusion().train()
    made.fuse(encoded())
    assert made.training


@given(st.floats(0, 1))
def test_interpolation_goes_from_start_to_trained(share):
    start, trained = fusion(seed=1), fusion(trained=True, seed=2)
    between = interpolate(start, trained, share)
    for name, weight in between.items():
        a, b = start.state_dict()[name], trained.state_dict()[name]
        torch.testing.assert_close(weight, (1 - share) * a + share * b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_ends_of_the_interpolation_are_exact(share):
    start, trained = fusion(seed=1), fusion(trained=True, seed=2)
    expected = (trained if share else start).state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in interpolate(start, trained, share).items())


def test_initialisation():
    torch.manual_seed(0)
    made = BaseFusion(300, 100, FusionConfig(hidden=200))
    assert made.down.weight.std().item() == pytest.approx(400**-0.5, rel=0.02)
    assert not made.down.bias.any() and not made.up.weight.any() and not made.up.bias.any()

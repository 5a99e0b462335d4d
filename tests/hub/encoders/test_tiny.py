import numpy as np
import pytest
from hubspoke.hub.encoders.loading import ImageEncoderConfig, TextEncoderConfig, load_image_encoder, load_text_encoder
from PIL import Image


def text_encoder(name="tiny", **settings):
    return load_text_encoder(TextEncoderConfig(name=name, **settings), "cpu")


def image_encoder(name="tiny", **settings):
    return load_image_encoder(ImageEncoderConfig(name=name, **settings), "cpu")


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    made = {}
    for name, colour in {"red": (200, 30, 30), "dark_red": (170, 20, 25), "blue": (20, 40, 210)}.items():
        made[name] = tmp_path / f"{name}.png"
        Image.new("RGB", (40, 60), colour).save(made[name])
    made["noise"] = tmp_path / "noise.png"
    Image.fromarray(rng.integers(0, 256, (50, 50, 3), dtype=np.uint8)).save(made["noise"])
    return made


def test_texts_that_share_words_are_near():
    vectors = text_encoder().encode(["red cotton shirt", "Blue COTTON shirt", "garden hose"])
    assert vectors.shape == (3, 32) and vectors.dtype == np.float32
    similarity = vectors @ vectors.T
    np.testing.assert_allclose(np.diag(similarity), 1.0, atol=1e-6)
    assert similarity[0, 1] > 0.3 > abs(similarity[0, 2])


def test_word_order_matters_a_little_and_padding_not_at_all():
    encoder = text_encoder()
    a, b, c = encoder.encode(["dog food", "food dog", "dog food"])
    np.testing.assert_array_equal(a, c)
    assert 0.4 < a @ b < 0.999
    alone = encoder.encode(["dog food"])[0]
    together = encoder.encode(["dog food", "a very long text about something else entirely"])[0]
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_an_empty_text_has_a_vector():
    np.testing.assert_allclose(np.linalg.norm(text_encoder().encode(["", "  "]), axis=1), 1.0, atol=1e-6)


def test_the_seed_decides():
    assert text_encoder("tiny").fingerprint == text_encoder("tiny:0").fingerprint != text_encoder("tiny:1").fingerprint
    a, b, c = (text_encoder(name).encode(["garden hose"]) for name in ("tiny", "tiny:0", "tiny:1"))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)
    assert image_encoder("tiny").fingerprint != image_encoder("tiny:1").fingerprint


def test_the_token_cap_cuts_and_counts():
    short = text_encoder(max_tokens=4)
    a, b = short.encode(["one two three four five", "one two three four six"])
    np.testing.assert_array_equal(a, b)
    assert short.fingerprint != text_encoder().fingerprint


def test_pictures_of_one_colour_are_near(pictures):
    order = ["red", "dark_red", "blue", "noise"]
    vectors = image_encoder().encode([pictures[name] for name in order])
    assert vectors.shape == (4, 32)
    red, dark_red, blue, noise = vectors
    assert red @ dark_red > 0.95
    assert red @ dark_red > red @ blue
    assert red @ dark_red > red @ noise


def test_picture_size_is_in_the_fingerprint():
    assert image_encoder(image_size=16).fingerprint != image_encoder(image_size=32).fingerprint
    assert image_encoder().fingerprint == image_encoder(image_size=32).fingerprint


def test_each_encoder_has_a_linear_layer_to_adapt():
    for encoder in (text_encoder(), image_encoder()):
        assert "project" in dict(encoder.module.named_modules())
        assert not any(parameter.requires_grad for parameter in encoder.module.parameters())

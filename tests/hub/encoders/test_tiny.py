import numpy as np
import pytest
from PIL import Image


def test_texts_that_share_words_and_pictures_of_one_colour_are_near(text_encoder, image_encoder, noise, tmp_path):
    red, blue, hose = text_encoder().encode(["red cotton shirt", "Blue COTTON shirt", "garden hose"])
    assert red @ blue > 0.3 > abs(red @ hose)
    a, b = text_encoder().encode(["dog food", "food dog"])
    assert 0.4 < a @ b < 0.999  # the order of words matters a little
    colours = {"red": (200, 30, 30), "dark red": (170, 20, 25), "blue": (20, 40, 210)}
    for name, colour in colours.items():
        Image.new("RGB", (40, 60), colour).save(tmp_path / f"{name}.png")
    paths = [tmp_path / f"{name}.png" for name in colours]
    red, dark_red, blue, other = image_encoder().encode([*paths, noise[0]])
    assert red @ dark_red > 0.95 and red @ dark_red > max(red @ blue, red @ other)


@pytest.mark.parametrize("kind", ["text", "image"])
def test_the_seed_decides(text_encoder, image_encoder, noise, kind):
    load, inputs = (text_encoder, ["garden hose"]) if kind == "text" else (image_encoder, noise)
    assert load("tiny").fingerprint == load("tiny:0").fingerprint != load("tiny:1").fingerprint
    a, b, c = (load(name).encode(inputs) for name in ("tiny", "tiny:0", "tiny:1"))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)


def test_the_token_cap_cuts_and_counts_and_so_does_the_size_of_pictures(text_encoder, image_encoder):
    short = text_encoder(max_tokens=4)
    a, b = short.encode(["one two three four five", "one two three four six"])
    np.testing.assert_array_equal(a, b)
    assert short.fingerprint != text_encoder().fingerprint
    assert image_encoder(image_size=16).fingerprint != image_encoder(image_size=32).fingerprint
    assert image_encoder().fingerprint == image_encoder(image_size=32).fingerprint

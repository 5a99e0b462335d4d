import json

import numpy as np
import open_clip
import pytest
import torch
from hubspoke.errors import InvalidDataError
from hubspoke.hub.encoders.image import fit_square, open_picture
from hubspoke.hub.encoders.loading import ImageEncoderConfig, TextEncoderConfig, load_image_encoder, load_text_encoder
from PIL import Image
from safetensors.torch import save_file

CLIP_CONFIG = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def image_encoder(name="package:efficientnet-lite0", **settings):
    return load_image_encoder(ImageEncoderConfig(name=name, **settings), "cpu")


def draw(path, size=(60, 40), colour=(200, 30, 30), **options):
    """A coloured disc on white."""
    picture = Image.new("RGB", size, "white")
    width, height = size
    disc = Image.new("RGB", (width // 2, height // 2), colour)
    picture.paste(disc, (width // 4, height // 4))
    picture.save(path, **options)
    return path


class TestOpenPicture:
    def test_exif_orientation_is_applied(self, tmp_path):
        picture = Image.new("RGB", (30, 10), "white")
        picture.paste((255, 0, 0), (0, 0, 10, 10))  # red on the left
        exif = Image.Exif()
        exif[0x0112] = 6  # "rotate a quarter turn clockwise to view"
        picture.save(tmp_path / "turned.png", exif=exif)
        upright = open_picture(tmp_path / "turned.png")
        assert upright.size == (10, 30)
        assert upright.getpixel((5, 2)) == (255, 0, 0) and upright.getpixel((5, 27)) == (255, 255, 255)

    def test_transparency_becomes_white(self, tmp_path):
        Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
        assert open_picture(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
        Image.new("RGBA", (4, 4), (255, 0, 0, 128)).save(tmp_path / "half.png")
        assert open_picture(tmp_path / "half.png").getpixel((0, 0)) == (255, 127, 127)
        Image.new("LA", (4, 4), (0, 0)).save(tmp_path / "grey.png")
        assert open_picture(tmp_path / "grey.png").getpixel((0, 0)) == (255, 255, 255)

    def test_palettes_with_a_transparent_colour(self, tmp_path):
        picture = Image.new("P", (2, 1))
        picture.putpalette([0, 0, 255, 0, 255, 0])
        picture.putpixel((1, 0), 1)
        picture.save(tmp_path / "palette.png", transparency=0)
        opened = open_picture(tmp_path / "palette.png")
        assert [opened.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 255, 0)]

    @pytest.mark.parametrize("mode", ["1", "L", "CMYK", "P", "I;16"])
    def test_every_mode_becomes_rgb(self, tmp_path, mode):
        path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
        if mode == "I;16":
            Image.fromarray(np.full((4, 4), 32896, dtype=np.uint16)).save(path)  # 128 * 257
            assert open_picture(path).getpixel((0, 0)) == (128, 128, 128)
        else:
            Image.new("RGB", (4, 4), "white").convert(mode).save(path)
            assert open_picture(path).getpixel((0, 0)) == (255, 255, 255)

    def test_a_large_jpeg_is_decoded_at_a_reduced_scale(self, tmp_path):
        draw(tmp_path / "large.jpg", (1600, 1200))
        assert open_picture(tmp_path / "large.jpg", 100).size == (400, 300)
        assert open_picture(tmp_path / "large.jpg").size == (1600, 1200)

    def test_unreadable_files_are_named(self, tmp_path):
        whole = draw(tmp_path / "whole.png").read_bytes()
        (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "text.jpg").write_text("no picture")
        (tmp_path / "empty.jpg").write_bytes(b"")
        for name in ("cut.png", "text.jpg", "empty.jpg", "missing.jpg"):
            with pytest.raises(InvalidDataError, match=rf"{name} cannot be read \(.*\); replace the file"):
                open_picture(tmp_path / name)

    def test_an_oversized_picture_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(InvalidDataError, match="cannot be read"):
            open_picture(draw(tmp_path / "big.png"))


def test_fit_square_pads_with_white_and_keeps_the_shape():
    square = fit_square(Image.new("RGB", (20, 10), "black"), 8)
    assert square.shape == (3, 8, 8) and square.dtype == torch.float32
    assert square[:, 0].eq(1).all() and square[:, 7].eq(1).all()  # white bars above and below
    assert square[:, 3:5].eq(-1).all()


class TestEncode:
    def test_order_and_batch_size_do_not_change_a_vector(self, tmp_path):
        paths = [draw(tmp_path / f"{red}.png", colour=(red, 0, 100)) for red in range(0, 250, 50)]
        whole = image_encoder("tiny").encode(paths)
        np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-6)
        calls = []
        small = image_encoder("tiny", batch_size=2).encode(paths, lambda done, total: calls.append((done, total)))
        np.testing.assert_allclose(small, whole, atol=1e-6)
        assert calls == [(2, 5), (4, 5), (5, 5)]
        np.testing.assert_allclose(image_encoder("tiny").encode(paths[::-1]), whole[::-1], atol=1e-6)
        assert image_encoder("tiny").encode([]).shape == (0, 32)

    def test_one_bad_file_stops_with_its_name(self, tmp_path):
        good = draw(tmp_path / "good.png")
        (tmp_path / "bad.png").write_text("x")
        with pytest.raises(InvalidDataError, match=r"bad\.png"):
            image_encoder("tiny", batch_size=2).encode([good, good, good, tmp_path / "bad.png", good])


class TestEfficientNet:
    def test_like_pictures_are_near(self, tmp_path):
        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "noise.png")
        paths = [draw(tmp_path / "a.png"), draw(tmp_path / "b.png", (90, 60)), tmp_path / "noise.png"]
        a, b, noise = image_encoder(image_size=64).encode(paths)
        assert a.shape == (1280,)
        assert a @ b > 0.8 > a @ noise

    def test_fingerprint_builds_no_model_and_covers_the_size(self, monkeypatch):
        encoder = image_encoder()
        monkeypatch.setattr(type(encoder), "_load", lambda self: pytest.fail("the model was built"))
        assert encoder.fingerprint == image_encoder(image_size=160).fingerprint
        assert encoder.fingerprint != image_encoder(image_size=128).fingerprint
        assert encoder.fingerprint == image_encoder(batch_size=1).fingerprint


@pytest.fixture(scope="module")
def clip_name(tmp_path_factory):
    """A one-layer dual encoder with random weights, known to open_clip by name and saved as safetensors."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "hubspoke-test-encoder.json").write_text(json.dumps(CLIP_CONFIG))
    open_clip.add_model_config(folder / "hubspoke-test-encoder.json")
    torch.manual_seed(0)
    model = open_clip.create_model("hubspoke-test-encoder", pretrained=None)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear", "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP_CONFIG, "preprocess_cfg": preprocess}))
    return f"open_clip:hubspoke-test-encoder/{folder / 'open_clip_model.safetensors'}", folder


class TestOpenClip:
    def test_the_text_half_is_open_clips_own_output(self, clip_name):
        name, folder = clip_name
        encoder = load_text_encoder(TextEncoderConfig(name=name), "cpu")
        model = open_clip.create_model("hubspoke-test-encoder", pretrained=str(folder / "open_clip_model.safetensors"))
        ids = open_clip.get_tokenizer("hubspoke-test-encoder")(["a red shirt", ""])
        expected = model.eval().encode_text(ids, normalize=True).detach().numpy()
        np.testing.assert_allclose(encoder.encode(["a red shirt", ""]), expected, atol=1e-6)
        assert encoder.dimension == 12

    def test_the_image_half_is_open_clips_own_output(self, clip_name, tmp_path):
        name, folder = clip_name
        path = draw(tmp_path / "a.png")
        encoder = load_image_encoder(ImageEncoderConfig(name=name), "cpu")
        model, preprocess = open_clip.create_model_from_pretrained(
            "hubspoke-test-encoder", pretrained=str(folder / "open_clip_model.safetensors")
        )
        expected = model.eval().encode_image(preprocess(Image.open(path))[None], normalize=True).detach().numpy()
        np.testing.assert_allclose(encoder.encode([path]), expected, atol=1e-6)
        assert encoder.dimension == 12 and encoder.image_size == 32

    def test_a_folder_brings_its_own_picture_settings(self, clip_name, tmp_path):
        name, folder = clip_name
        local = image_encoder(f"open_clip:local-dir:{folder}")
        assert local.fingerprint != image_encoder(name).fingerprint
        vectors = local.encode([draw(tmp_path / "a.png")])
        assert vectors.shape == (1, 12)
        assert not np.allclose(vectors, image_encoder(name).encode([tmp_path / "a.png"]))

    def test_halves_and_sizes_have_their_own_fingerprints(self, clip_name, tmp_path):
        name, _ = clip_name
        image, text = image_encoder(name), load_text_encoder(TextEncoderConfig(name=name), "cpu")
        assert len({image.fingerprint, text.fingerprint, image_encoder(name, image_size=48).fingerprint}) == 3
        larger = image_encoder(name, image_size=48)
        assert larger.encode([draw(tmp_path / "a.png")]).shape == (1, 12)

    def test_weights_of_another_architecture_are_refused(self, clip_name, tmp_path):
        save_file({"visual.conv1.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
        encoder = image_encoder(f"open_clip:hubspoke-test-encoder/{tmp_path / 'w.safetensors'}")
        with pytest.raises(InvalidDataError, match="cannot be read as open_clip hubspoke-test-encoder"):
            encoder.encode([draw(tmp_path / "a.png")])

import numpy as np
import pytest
import torch
from hubspoke.errors import InvalidDataError
from hubspoke.hub.encoders.image import fit_square, open_picture
from PIL import Image


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
        path = tmp_path / "picture.png"
        for mode, colour, seen in (
            ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
            ("RGBA", (255, 0, 0, 128), (255, 127, 127)),
            ("LA", (0, 0), (255, 255, 255)),
        ):
            Image.new(mode, (4, 4), colour).save(path)
            assert open_picture(path).getpixel((0, 0)) == seen
        picture = Image.new("P", (2, 1))
        picture.putpalette([0, 0, 255, 0, 255, 0])
        picture.putpixel((1, 0), 1)
        picture.save(path, transparency=0)
        opened = open_picture(path)
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

    def test_a_large_jpeg_is_decoded_at_a_reduced_scale(self, draw, tmp_path):
        draw(tmp_path / "large.jpg", (1600, 1200))
        assert open_picture(tmp_path / "large.jpg", 100).size == (400, 300)
        assert open_picture(tmp_path / "large.jpg").size == (1600, 1200)

    def test_unreadable_and_oversized_files_are_named(self, image_encoder, draw, tmp_path, monkeypatch):
        whole = draw(tmp_path / "whole.png").read_bytes()
        (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "text.jpg").write_text("no picture")
        (tmp_path / "empty.jpg").write_bytes(b"")
        for name in ("cut.png", "text.jpg", "empty.jpg", "missing.jpg"):
            with pytest.raises(InvalidDataError, match=rf"{name} cannot be read \(.*\); replace the file"):
                open_picture(tmp_path / name)
        paths = [tmp_path / name for name in ("whole.png", "whole.png", "whole.png", "text.jpg", "whole.png")]
        with pytest.raises(InvalidDataError, match=r"text\.jpg"):
            image_encoder("tiny", batch_size=2).encode(paths)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(InvalidDataError, match="cannot be read"):
            open_picture(draw(tmp_path / "big.png"))


def test_fit_square_pads_with_white_and_keeps_the_shape():
    square = fit_square(Image.new("RGB", (20, 10), "black"), 8)
    assert square.shape == (3, 8, 8) and square.dtype == torch.float32
    assert square[:, 0].eq(1).all() and square[:, 7].eq(1).all()  # white bars above and below
    assert square[:, 3:5].eq(-1).all()

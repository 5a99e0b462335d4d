import hashlib
import io
import struct
import zlib
from pathlib import Path

import pytest
from hubspoke.catalog.images import ImageLimits, check_images
from PIL import Image


def picture(path: Path, size: tuple[int, int] = (16, 16), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(buffer, kind)
    path.write_bytes(buffer.getvalue())
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def code(path: str, root: Path, limits: ImageLimits | None = None) -> str | None:
    return check_images([path], root, limits)[path].code


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_good_picture_gives_the_hash_of_its_bytes(tmp_path: Path, kind: str) -> None:
    content = picture(tmp_path / "a.img", kind=kind)
    check = check_images(["a.img", "a.img"], tmp_path)["a.img"]
    assert check.ok
    assert check.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("path", ["/etc/passwd", "../a.png", "x/../../a.png", "C:\\a.png", "..\\a.png", "link.png"])
def test_nothing_outside_the_root_is_opened(tmp_path: Path, path: str) -> None:
    picture(tmp_path / "a.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link.png").symlink_to(tmp_path / "a.png")
    assert code(path, root) == "image_outside_root"


@pytest.mark.parametrize(
    ("path", "limits", "problem"),
    [
        ("none.png", {}, "image_missing"),
        ("folder.png", {}, "image_missing"),
        ("https://example.org/a.png", {}, "image_missing"),
        ("cut.PNG", {}, "image_unreadable"),
        ("cut.JPEG", {}, "image_unreadable"),
        ("text.png", {}, "image_unreadable"),
        ("script.eps", {}, "image_unreadable"),  # what Pillow would run an interpreter for
        ("a.png", {"max_megapixels": 0.009}, "image_oversized"),
        ("a.png", {"max_megabytes": 0.00001}, "image_oversized"),
        ("small.png", {}, "image_too_small"),
        ("a.png", {}, None),
    ],
)
def test_a_problem_has_its_code(tmp_path: Path, path: str, limits: dict[str, float], problem: str | None) -> None:
    (tmp_path / "folder.png").mkdir()
    for kind in ("PNG", "JPEG"):
        content = picture(tmp_path / "whole", (64, 64), kind)
        (tmp_path / f"cut.{kind}").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "script.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    picture(tmp_path / "a.png", (100, 100))
    picture(tmp_path / "small.png", (7, 100))
    assert code(path, tmp_path, ImageLimits.model_validate(limits)) == problem
    assert code(path, tmp_path / "no-such-root") == "image_missing"


@pytest.mark.parametrize("size", [(8_000, 8_000), (12_000, 12_000), (60_000, 60_000)])
def test_decompression_bombs_are_refused_before_decoding(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "bomb.png").write_bytes(png_that_claims(*size))
    assert code("bomb.png", tmp_path) == "image_oversized"


def test_many_pictures_keep_their_own_results(tmp_path: Path) -> None:
    for i in range(30):
        picture(tmp_path / f"{i}.png", (16 + i, 16))
    names = [f"{i}.png" for i in range(31)]
    checks = check_images(names, tmp_path, threads=3)
    assert list(checks) == names
    assert len({c.sha256 for c in checks.values()}) == 31
    assert [name for name, check in checks.items() if not check.ok] == ["30.png"]

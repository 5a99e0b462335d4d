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


def test_missing_folder_and_address(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    assert code("none.png", tmp_path) == "image_missing"
    assert code("folder.png", tmp_path) == "image_missing"
    assert code("https://example.org/a.png", tmp_path) == "image_missing"
    assert code("a.png", tmp_path / "no-such-root") == "image_missing"


def test_truncated_and_foreign_files_are_unreadable(tmp_path: Path) -> None:
    for kind in ("PNG", "JPEG"):
        content = picture(tmp_path / "whole", (64, 64), kind)
        (tmp_path / "cut").write_bytes(content[: len(content) // 2])
        assert code("cut", tmp_path) == "image_unreadable"
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "script.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    assert code("text.png", tmp_path) == "image_unreadable"
    assert code("script.eps", tmp_path) == "image_unreadable"


def test_limits(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (100, 100))
    picture(tmp_path / "small.png", (7, 100))
    assert code("a.png", tmp_path, ImageLimits(max_megapixels=0.009)) == "image_oversized"
    assert code("a.png", tmp_path, ImageLimits(max_megabytes=0.00001)) == "image_oversized"
    assert code("small.png", tmp_path) == "image_too_small"


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

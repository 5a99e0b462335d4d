"""Pictures checked before anything trusts them: they exist, decode, keep to the limits and stay inside their folder."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

# Pillow also knows formats that run interpreters (EPS); these do not.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_THREADS = 4  # each may hold one decoded picture of `max_megapixels`


class ImageLimits(BaseModel):
    """What a picture may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_megabytes: float = Field(default=20.0, gt=0)
    max_megapixels: float = Field(default=50.0, gt=0)
    min_pixels: int = Field(default=8, ge=1, description="shortest side allowed")


@dataclass(frozen=True)
class ImageCheck:
    """What was found at one path: the SHA-256 of its bytes, or a problem code with a sentence."""

    sha256: str | None = None
    code: str | None = None
    message: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the picture can be used."""
        return self.code is None


class _Refused(Exception):  # noqa: N818
    """Ends the check of one picture with a problem code and what its sentence says after the name of the picture."""


def check_images(
    paths: Iterable[str], root: Path | str, limits: ImageLimits | None = None, threads: int | None = None
) -> dict[str, ImageCheck]:
    """Check each different path, relative to `root`, once, several at a time (one per core, at most four)."""
    limits, base = limits or ImageLimits(), Path(root).resolve()
    distinct = list(dict.fromkeys(paths))

    def check(path: str) -> ImageCheck:
        try:
            content = _read(path, base, limits)
            _decode(content, limits)
        except _Refused as refused:
            code, rest = refused.args
            return ImageCheck(code=code, message=f"image {path!r} {rest}")
        return ImageCheck(hashlib.sha256(content).hexdigest())

    workers = threads or min(MAX_THREADS, os.cpu_count() or 1)
    with decoding(), ThreadPoolExecutor(max_workers=workers) as pool:
        return dict(zip(distinct, pool.map(check, distinct), strict=True))


@contextmanager
def decoding() -> Iterator[None]:
    """Warnings of Pillow while threads decode: a decompression bomb is refused, not warned about."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module="PIL")
        yield


def check_picture(content: bytes, limits: ImageLimits) -> str | None:
    """What is wrong with the bytes of a picture, asked inside of `decoding`; None where they can be used."""
    try:
        _decode(content, limits)
    except _Refused as refused:
        return f"it {refused.args[1]}".rstrip(".")
    return None


def find_picture(path: str, root: Path) -> bool:
    """Whether that file lies inside the folder."""
    try:
        return _target(path, root.resolve()).is_file()
    except (_Refused, OSError):
        return False


def _target(path: str, base: Path) -> Path:
    """The file of that name, refused where the path or a link on it leaves the root."""
    outside = _Refused("image_outside_root", "leaves the image folder; use a path inside it.")
    # Windows rules also recognise drive letters and backslashes.
    pure = PureWindowsPath(path)
    if pure.drive or pure.root or ".." in pure.parts or "\x00" in path:
        raise outside
    try:
        target = (base / path).resolve()
    except (OSError, RuntimeError) as error:
        raise outside from error
    if not target.is_relative_to(base):
        raise outside
    return target


def _read(path: str, base: Path, limits: ImageLimits) -> bytes:
    """The bytes of a picture inside its folder."""
    if "://" in path:
        raise _Refused("image_missing", "is an address; download it and name the file.")
    target = _target(path, base)
    try:
        if not target.is_file():
            raise _Refused("image_missing", "does not exist; add the file or clear the value.")
        size = target.stat().st_size
        if size > limits.max_megabytes * 1e6:
            raise _oversized(f"{size / 1e6:.1f} MB", f"{limits.max_megabytes:g} MB")
        return target.read_bytes()
    except OSError as error:
        raise _unreadable(str(error.strerror or error)) from error


def _decode(content: bytes, limits: ImageLimits) -> None:
    """Verifies size and structure, then decodes every pixel: only that shows a truncated file."""
    most = f"{limits.max_megapixels:g} megapixels"
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height / 1e6 > limits.max_megapixels:
                raise _oversized(f"{width * height / 1e6:.1f} megapixels", most)
            if min(image.size) < limits.min_pixels:
                rest = f"is {width} x {height} pixels; use one of at least {limits.min_pixels} a side."
                raise _Refused("image_too_small", rest)
            image.verify()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _oversized("more pixels than can be decoded safely", most) from error
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, MemoryError) as error:
        raise _unreadable(type(error).__name__) from error


def _oversized(found: str, limit: str) -> _Refused:
    return _Refused("image_oversized", f"has {found} (limit {limit}); scale it down.")


def _unreadable(reason: str) -> _Refused:
    return _Refused("image_unreadable", f"cannot be decoded ({reason}); export it again as JPEG or PNG.")

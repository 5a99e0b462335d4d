"""Small copies of registered pictures, kept in memory up to so many bytes; nothing else of the disk is ever read."""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from PIL import Image, ImageOps

from ..catalog.images import FORMATS, decoding
from ..errors import NotFoundError

SIZES = (96, 240, 640)  # pixels of the longer side
MEDIA_TYPE = "image/webp"
_QUALITY = 82


class Thumbnails:
    """The small pictures that were asked for last; any number of threads may ask at once."""

    def __init__(self, capacity: int) -> None:
        self._capacity, self._lock = capacity, Lock()
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self.bytes = 0

    def get(self, root: Path, name: Path, sha256: str, size: int) -> bytes:
        """A picture of a snapshot in one of `SIZES`; a NotFoundError where it is gone or has changed since."""
        key = sha256, size
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make_thumbnail(read_registered(root, name, sha256), size)
        with self._lock:
            self.bytes += len(made) - len(self._kept.pop(key, b""))
            self._kept[key] = made
            while self.bytes > self._capacity and len(self._kept) > 1:
                self.bytes -= len(self._kept.popitem(last=False)[1])
        return made


def read_registered(root: Path, name: Path, sha256: str) -> bytes:
    """The bytes of a picture inside its folder, which must be those that were registered."""
    gone = NotFoundError(f"The picture {name} is gone or has changed; ingest the catalog again with --images.")
    try:
        path = (root / name).resolve()
        content = path.read_bytes() if path.is_relative_to(root.resolve()) else b""
    except OSError as error:
        raise gone from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise gone
    return content


def make_thumbnail(content: bytes, size: int) -> bytes:
    """A picture made small, as WebP."""
    try:
        with decoding(), Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            picture.draft("RGB", (2 * size, 2 * size))
            small = ImageOps.exif_transpose(picture)
            small.thumbnail((size, size))
            kept = small.convert("RGBA" if "A" in small.getbands() or "transparency" in small.info else "RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise NotFoundError("The picture cannot be decoded; export it again and ingest the catalog.") from error
    written = io.BytesIO()
    kept.save(written, "WEBP", quality=_QUALITY)
    return written.getvalue()

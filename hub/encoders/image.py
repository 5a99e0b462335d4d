"""Image encoders behind one `encode` over picture files."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from ...arrays import FloatArray
from ...errors import InvalidDataError
from ...progress import StepProgress
from ..cores import usable_cores
from . import weights
from .base import Encoder

# What Pillow's plugins raise for broken files; SyntaxError is its sign of a malformed PNG or TIFF.
_UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, struct.error,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


class ImageEncoder(Encoder):
    """A subclass says what module maps (B, 3, S, S) to vectors, and may prepare a picture in a way of its own."""

    kind = "image"

    image_size: int  # side S of the square that it sees

    def encode(self, inputs: Sequence[str | Path], progress: StepProgress | None = None) -> FloatArray:
        """Unit vectors (N, D) float32 of N picture files, in their order."""

        def vectors_of(pictures: Tensor) -> Tensor:
            features = self.module(pictures)
            # CoCa-style encoders return (pooled, tokens).
            pooled = features[0] if isinstance(features, tuple) else features
            return F.normalize(pooled.float(), dim=-1)  # (B, D)

        if not len(inputs):
            return np.zeros((0, self.dimension), dtype=np.float32)
        self.module.eval()
        return self.through(vectors_of, inputs, self.dimension, progress)

    def through(
        self,
        module: Callable[[Tensor], Tensor],
        inputs: Sequence[str | Path],
        width: int,
        progress: StepProgress | None = None,
    ) -> FloatArray:
        """What a module makes of N picture files, flattened to (N, width) float32."""
        pictures = (batch.to(self.device) for batch in self._decoded(inputs))  # (B, 3, S, S) each
        return self.run(module, pictures, len(inputs), width, progress)

    def _decoded(self, paths: Sequence[str | Path]) -> Iterator[Tensor]:
        """Batches (B, 3, S, S), the next one being decoded meanwhile so that two cores are never idle in turn."""
        with ThreadPoolExecutor(max_workers=min(8, usable_cores()), thread_name_prefix="decode") as pool:
            ahead: list[Future[Tensor]] = []
            try:
                # The turn after the last submits nothing and hands out what is ahead.
                for start in range(0, len(paths) + self.batch_size, self.batch_size):
                    submitted = [pool.submit(self._prepare, path) for path in paths[start : start + self.batch_size]]
                    if ahead:
                        yield torch.stack([future.result() for future in ahead])
                    ahead = submitted
            finally:  # after a broken file, or when the caller stops early
                pool.shutdown(wait=False, cancel_futures=True)

    def _prepare(self, path: str | Path) -> Tensor:
        """A picture file as the encoder's input (3, S, S)."""
        return fit_square(open_picture(path, self.image_size), self.image_size)


def open_picture(path: str | Path, size: int | None = None) -> Image.Image:
    """A picture file as upright RGB: EXIF orientation applied, transparency over white."""
    try:
        with Image.open(path) as opened:
            if size is not None:  # a larger JPEG is decoded at a reduced scale not below twice that
                opened.draft("RGB", (2 * size, 2 * size))
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):  # 16-bit greys are scaled; Pillow's own conversion would clip them
                grey = np.clip(np.asarray(picture, dtype=np.float32) / 257.0, 0, 255).astype(np.uint8)
                picture = Image.fromarray(grey)
            if "transparency" in picture.info or picture.mode in {"RGBA", "LA", "PA", "La", "RGBa"}:
                layer = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            return picture.convert("RGB")
    except _UNREADABLE as error:
        line = weights.first_line(error)
        raise InvalidDataError(
            f"Picture {path} cannot be read ({line}); replace the file or leave the item without one."
        ) from error


def fit_square(picture: Image.Image, size: int) -> Tensor:
    """Shrink or grow to fit a white square, as (3, size, size) float32 in [-1, 1]."""
    # Not cropped: a product photo is white around the product, and a crop would cut off tall and wide ones.
    square = ImageOps.pad(picture, (size, size), Image.Resampling.BICUBIC, color="white")
    pixels = torch.from_numpy(np.array(square, dtype=np.uint8))  # (S, S, 3)
    return pixels.permute(2, 0, 1).float().div_(127.5).sub_(1.0)

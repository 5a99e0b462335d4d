"""The hub's configuration: which encoders, how they are fused, calibrated and trained; JSON beside the weights."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .calibration import CalibrationConfig
from .encoders.config import TEXT_FIELDS, ImageEncoderConfig, TextEncoderConfig


class FusionConfig(BaseModel):
    """Shape of the base fusion's residual network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int = Field(default=128, ge=1)


class ContrastiveConfig(BaseModel):
    """Contrastive training of the base fusion on co-engaged items."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=300, ge=0)  # of the optimiser; 0 leaves the fusion at its start, the identity
    batch_size: int = Field(default=256, ge=2)  # pairs in a step, each the negatives of the others
    learning_rate: float = Field(default=3e-4, gt=0.0)
    temperature: float = Field(default=0.07, gt=0.0)  # of the InfoNCE loss
    window: int = Field(default=2, ge=1)  # two items are a pair when at most this many events apart in a session
    # Shares of the trained weights that are tried against the start on the held-out domain.
    interpolations: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = (0.25, 0.5, 1.0)


class HubConfig(BaseModel):
    """Everything that decides what a hub makes of a product."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: TextEncoderConfig | None = TextEncoderConfig()  # None leaves text out
    image: ImageEncoderConfig | None = ImageEncoderConfig()  # None leaves pictures out
    text_fields: tuple[str, ...] = TEXT_FIELDS  # columns that make an item's text, in order; `attributes` may be added
    image_share: float = Field(default=0.4, ge=0.0, le=1.0)  # of the content score, before any behaviour is known
    calibration: CalibrationConfig = CalibrationConfig()  # of the text block
    image_calibration: CalibrationConfig = CalibrationConfig(max_rank=256)  # fewer: image encoders are wide
    fusion: FusionConfig = FusionConfig()
    contrastive: ContrastiveConfig = ContrastiveConfig()
    # Of the zero-shot session embedding: an event's weight relative to the one after it, and how many count.
    recency_decay: float = Field(default=0.7, gt=0.0, le=1.0)
    recent_events: int = Field(default=5, ge=1)
    seed: int = 0  # of initialisation and batch order

    @model_validator(mode="after")
    def _has_an_encoder(self) -> HubConfig:
        if self.text is None and self.image is None:
            raise ValueError("text and image are both None, but a hub needs one of them; name an encoder")
        return self

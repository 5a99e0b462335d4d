"""Everything that decides what a spoke is, apart from its data and its hub: 45 keys, saved as JSON beside the weights.

What is not here is a constant beside the code that it belongs to: no measurement has shown another value to be better.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..errors import IncompatibleError

Modality = Literal["text", "image"]
# Multiply-adds of one square layer over a text of 16 tokens, 384 columns wide: an encoder's, where it is adapted.
ADAPTED_WORK = 16 * 384**2
MODALITIES: tuple[Modality, ...] = ("text", "image")
# Of the time between events; the last one begins at 2^30 seconds, 34 years.
INTERVAL_BUCKETS = 32


def _in_one_order(named: tuple[Modality, ...]) -> tuple[Modality, ...]:
    # Equal settings make equal fingerprints.
    return tuple(name for name in MODALITIES if name in named)


class Config(BaseModel):
    """Settings that cannot be changed and refuse keys that they do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TransformerConfig(Config):
    """Shape of the sequence transformer. One block is the measured default for categories of up to a million events."""

    dimension: int = Field(default=64, ge=4)  # D, columns of an item vector; the width that IDs have to learn in
    blocks: int = Field(default=1, ge=1)  # attention and feed-forward pairs; long histories gain from a second
    heads: int = Field(default=2, ge=1)  # of attention; they divide the dimension
    expansion: int = Field(default=2, ge=1)  # width of the feed-forward layer, in dimensions
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)  # of activations and attention; small data over-fits without
    max_length: int = Field(default=50, ge=2)  # most recent events looked at; attention costs its square
    scale_inputs: bool = False  # item vectors times sqrt(D), as in Vaswani et al., 2017: IDs alone drown in positions
    time_bias: bool = False  # attention knows the time between two events
    event_types: bool = False  # an event's type is added to its item's vector
    dwell: bool = False  # the time spent on the event before is added to an item's vector

    @property
    def needs_context(self) -> bool:
        """Whether events bring more than their items."""
        return self.time_bias or self.event_types or self.dwell

    @model_validator(mode="after")
    def _heads_divide_dimension(self) -> TransformerConfig:
        if self.dimension % self.heads:
            raise ValueError(f"dimension ({self.dimension}) must be divisible by heads ({self.heads})")
        return self


class AdapterConfig(Config):
    """LoRA on the base fusion (Hu et al., 2022), through PEFT."""

    rank: int = Field(default=8, ge=1)  # r of the two factors: how far a category may bend what the hub says


class EncoderAdapterConfig(AdapterConfig):
    """LoRA on the last layers of the hub's encoders, trained with the behavioural part; `rank` as above."""

    layers: int = Field(default=1, ge=1)  # last layers that are adapted, of each encoder; every one is dear
    encoders: tuple[Modality, ...] = Field(default=("text",), min_length=1)  # which of them
    learning_rate_factor: float = Field(default=0.2, gt=0.0)  # share of the spoke's rate: pre-trained layers move less

    _ordered = field_validator("encoders")(_in_one_order)


class AttributeConfig(Config):
    """The encoder of brand, category, price and attributes."""

    min_count: int = Field(default=2, ge=1)  # values of fewer items share the unknown embedding: nothing to learn from
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)  # share of an item's fields taken away, so that gaps train


class StatisticsConfig(Config):
    """The encoder of behaviour statistics, counted over training events."""

    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)  # share of items that look new in a step: others carry those
    folds: int = Field(default=5, ge=1, le=100)  # of users; a step reads counts without its own fold, and so no targets


class TrainingConfig(Config):
    """How the behavioural part is trained."""

    max_epochs: int = Field(default=40, ge=0)  # upper bound, where the learning rate ends; validation stops earlier
    validate_every: int = Field(default=3, ge=1)  # epochs between two validations, which cost about as much as one
    patience: int = Field(default=3, ge=1)  # validations without improvement before training stops
    validation_users: int = Field(default=2000, ge=1)  # whom checkpoints are compared on, at most; drawn once
    mixture_users: int = Field(default=10_000, ge=1)  # whom the mixture is chosen on, at most; likewise
    tokens_per_batch: int = Field(default=1024, ge=2)  # positions in a batch, padding included
    loss: Literal["sampled-softmax", "softmax", "bce"] = "sampled-softmax"  # `bce` is there to compare with
    temperature: float = Field(default=1.0, gt=0.0)  # of a softmax; below one it sharpens
    negatives: int = Field(default=256, ge=1)  # drawn items that a batch shares; the full softmax needs none
    sampler: Literal["uniform", "popularity"] = "uniform"  # how they are drawn; a softmax is corrected for popularity
    hard_negatives: int = Field(default=0, ge=0)  # beside them, mined near its target, for each position
    learning_rate: float = Field(default=1e-3, gt=0.0)  # of AdamW, at its highest
    stream_above: int = Field(default=5_000_000, ge=0)  # an event table of more rows is read shard by shard
    shard_events: int = Field(default=1_000_000, ge=1)  # events in a shard, at most; two are in memory at a time

    @model_validator(mode="after")
    def _options_fit_the_loss(self) -> TrainingConfig:
        if self.temperature != 1.0 and "softmax" not in self.loss:
            raise ValueError(f"temperature ({self.temperature:g}) belongs to a softmax; loss {self.loss} has none")
        if self.hard_negatives and self.loss == "softmax":
            raise ValueError("hard negatives say nothing new to loss softmax, which sees every item; drop one of them")
        return self


class StabilityConfig(Config):
    """What holds a training that goes on from a parent of its domain near to it; without one there is nothing to do."""

    anchor: float = Field(default=30.0, ge=0.0)  # weight of the pull on the vectors of the parent's items
    consolidation: float = Field(default=10.0, ge=0.0)  # weight of elastic weight consolidation
    keep_calibration: bool = True  # content is calibrated as the parent's, until the catalog has twice the items


class SpokeConfig(Config):
    """What a spoke is made of and how it is trained."""

    model: Literal["sasrec", "bert4rec"] = "sasrec"  # next item from the left, or hidden items from both sides
    transformer: TransformerConfig = TransformerConfig()
    content: tuple[Modality, ...] = MODALITIES  # what of the hub is read, in behaviour and floor alike; may be nothing
    hub_fusion: bool = True  # whether content is fused as the hub learned it; else encoder outputs stay as they are
    hub_scorer: bool = True  # whether sessions may be read as the hub learned it; else by fixed recencies alone
    adapter: AdapterConfig | None = AdapterConfig()  # None takes the hub's fusion as it is
    encoder_adapter: EncoderAdapterConfig | None = None  # None takes their outputs as they are, as the floor does
    fusion: Literal["concat", "gate", "cross-attention"] = "concat"  # how an item's parts become one vector
    ids: bool = True  # whether items with enough events have an ID residual
    id_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)  # share of residuals dropped in a step: content carries cold
    min_item_count: int = Field(default=5, ge=1)  # items with fewer training events share `[UNK]` and count as cold
    attributes: AttributeConfig | None = None  # None reads no brand, category, price and attributes
    statistics: StatisticsConfig | None = None  # None reads no behaviour statistics
    training: TrainingConfig = TrainingConfig()
    stability: StabilityConfig = StabilityConfig()
    seed: int = 0  # of initialisation, batch order, dropout and negatives

    _ordered = field_validator("content")(_in_one_order)

    @model_validator(mode="after")
    def _something_is_left(self) -> SpokeConfig:
        if not self.ids and not self.tells_new_items_apart:
            raise ValueError(
                "an item without content, ids, attributes and statistics is nothing at all; turn one of them on"
            )
        return self

    @model_validator(mode="after")
    def _encoders_can_be_adapted(self) -> SpokeConfig:
        unread = [name for name in self.heads if name not in self.content]
        if unread:
            raise ValueError(
                f"encoder_adapter adapts the {unread[0]} encoder, which content does not read; name it there"
            )
        if self.heads and self.training.loss == "softmax":
            raise ValueError(
                "loss softmax embeds the whole catalog in every step, each item through the adapted layers of its "
                "encoder; choose sampled-softmax or drop encoder_adapter"
            )
        return self

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> SpokeConfig:
        """The config of a spoke that this version or an earlier one trained; refused with layers that are gone."""
        return cls.model_validate(without_retired(stored))

    @property
    def step_work(self) -> int:
        """Multiply-adds of one square layer per block in a training step: what threads are chosen by."""
        own = self.transformer.blocks * self.transformer.dimension**2
        return self.training.tokens_per_batch * (own + ADAPTED_WORK * len(self.heads))

    @property
    def heads(self) -> dict[str, int]:
        """Last layers that are adapted, by encoder."""
        return dict.fromkeys(self.encoder_adapter.encoders, self.encoder_adapter.layers) if self.encoder_adapter else {}

    @property
    def lora(self) -> AdapterConfig | None:
        """The adapter that is made: none where there is no content to adapt."""
        return self.adapter if self.content else None

    @property
    def tells_new_items_apart(self) -> bool:
        """Whether items without an ID residual of their own are anything but one and the same `[UNK]`."""
        return bool(self.content) or self.attributes is not None or self.statistics is not None


# Keys that are gone. These shape what a spoke computes: one that was trained with another value than the only one that
# is left could not be served as it was.
SHAPING: Mapping[str, Any] = {
    "transformer.positions": "learned",
    "transformer.residual": "plain",
    "adapter.alpha": 16,
    "encoder_adapter.alpha": 16,
    "attributes.width": 16,
    "attributes.hidden": 64,
    "statistics.hidden": 32,
}
# These said how weights are trained, and are without effect on a spoke that has been.
SPENT = (
    *("cloze", "id_init", "id_dropout_events", "cold_items", "transformer.context_dropout"),
    *(f"attributes.{key}" for key in ("category_levels", "max_attributes", "max_values", "numeric_share", "bins")),
    "statistics.prior_strength",
    *(f"training.{key}" for key in ("softmax_positions", "gbce_t", "popularity_power", "shares", "log_q", "hard")),
    *(f"training.{key}" for key in ("schedule", "warmup_epochs", "clip_norm", "weight_decay", "compiled")),
)
SPENT_VALUES: Mapping[str, tuple[str, ...]] = {
    "training.loss": ("gbce", "bpr"),
    "training.sampler": ("in-batch", "mixed"),
}
RENAMED: Mapping[str, str] = {"trunk_adapter": "encoder_adapter", "encoder_adapter.trunks": "encoders"}


def without_retired(stored: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The keys of a stored config that this version knows, nested and under the names that they have now."""
    kept: dict[str, Any] = {}
    for old, value in stored.items():
        key = RENAMED.get(f"{prefix}{old}", old)
        name = f"{prefix}{key}"
        if name in SHAPING and value != SHAPING[name]:
            raise IncompatibleError(
                f"the spoke was trained with {name} {value}, and this version builds {SHAPING[name]} alone; train it "
                "again, or serve it with the hubspoke that trained it."
            )
        if name in SHAPING or name in SPENT or value in SPENT_VALUES.get(name, ()):
            continue
        kept[key] = without_retired(value, f"{name}.") if isinstance(value, Mapping) else value
    return kept

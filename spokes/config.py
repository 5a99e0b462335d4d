"""The spoke's configuration: item side, sequence side, training. Saved as JSON beside the weights."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from .features.attributes import AttributeConfig
from .features.statistics import StatisticsConfig
from .transformer import TransformerConfig

Modality = Literal["text", "image"]
MODALITIES: tuple[Modality, ...] = ("text", "image")


class AdapterConfig(BaseModel):
    """LoRA on the base fusion (Hu et al., 2022), through PEFT."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=8, ge=1)
    alpha: int = Field(default=16, ge=1)


class EncoderAdapterConfig(AdapterConfig):
    """LoRA on the last layers of the hub's encoders, trained with the behavioural part; `rank`, `alpha` as above.

    Attributes:
        layers: last layers that are adapted, of each encoder.
        encoders: which encoders.
        learning_rate_factor: the adapters learn at this share of the spoke's rate.
    """

    layers: int = Field(default=1, ge=1)
    encoders: tuple[Modality, ...] = Field(
        default=("text",), min_length=1, validation_alias=AliasChoices("encoders", "trunks")
    )
    learning_rate_factor: float = Field(default=0.2, gt=0.0)

    @field_validator("encoders")
    @classmethod
    def _in_one_order(cls, encoders: tuple[Modality, ...]) -> tuple[Modality, ...]:
        return tuple(name for name in MODALITIES if name in encoders)


class NegativeShares(BaseModel):
    """What mixed negatives consist of; the shares sum to one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uniform: float = Field(default=0.5, ge=0.0, le=1.0)
    popularity: float = Field(default=0.0, ge=0.0, le=1.0)
    in_batch: float = Field(default=0.5, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _sum_to_one(self) -> NegativeShares:
        total = self.uniform + self.popularity + self.in_batch
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of mixed negatives must sum to 1, not {total:g}")
        return self


class HardNegativeConfig(BaseModel):
    """Negatives of a position's own, mined from the items nearest to its target.

    Attributes:
        count: per position.
        pool: nearest items that they are drawn from.
        refresh_every: epochs until the current item vectors are mined again.
        margin: an item that scores above this share of the target's score may be a true positive and is not used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(default=16, ge=1)
    pool: int = Field(default=50, ge=1)
    refresh_every: int = Field(default=5, ge=1)
    margin: float = Field(default=0.95, le=1.0)


class TrainingConfig(BaseModel):
    """How the behavioural part is trained.

    Attributes:
        max_epochs: upper bound of epochs; validation usually stops earlier.
        validate_every: epochs between two validations.
        patience: validations without improvement before training stops.
        validation_users: users that checkpoints are compared on, at most; drawn once, with the seed.
        mixture_users: users that the mixture is chosen on, at most; likewise.
        tokens_per_batch: positions in a batch.
        loss: `sampled-softmax` over negatives, or `softmax` over the whole catalog, for small ones; `bce`, `gbce` and
            `bpr` are there to compare with.
        softmax_positions: positions whose scores of the whole catalog the full softmax holds at once; None holds all.
        temperature: of a softmax.
        gbce_t: calibration of gBCE; 0 is plain BCE.
        negatives: items drawn as shared negatives of a batch; the full softmax needs none.
        sampler: how they are drawn; `in-batch` takes targets of the batch, `mixed` some of each kind.
        popularity_power: popular items are drawn in proportion to their events to this power.
        shares: what `mixed` consists of.
        log_q: whether the sampled softmax corrects for a sampler that is not uniform.
        hard: negatives mined beside the drawn ones; None mines none.
        schedule: of the learning rate, batch by batch: `constant`; `warmup` and then constant; after a warm-up down to
            zero at the last epoch along a `cosine` or a `linear` slope.
        warmup_epochs: epochs, or a part of one, in which the rate rises from zero; not for `constant`.
        clip_norm: gradients longer than this are shortened to it; None leaves them.
        compiled: compile the transformer, on a GPU; elsewhere it changes nothing.
        stream_above: an event table with more rows than this is not held in memory but read shard by shard.
        shard_events: events in a shard, at most; batches of such a table hold windows of one shard.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_epochs: int = Field(default=40, ge=0)
    validate_every: int = Field(default=3, ge=1)
    patience: int = Field(default=3, ge=1)
    validation_users: int = Field(default=2000, ge=1)
    mixture_users: int = Field(default=10_000, ge=1)
    tokens_per_batch: int = Field(default=1024, ge=2)
    loss: Literal["sampled-softmax", "softmax", "bce", "gbce", "bpr"] = "sampled-softmax"
    softmax_positions: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, gt=0.0)
    gbce_t: float = Field(default=0.75, ge=0.0, le=1.0)
    negatives: int = Field(default=256, ge=1)
    sampler: Literal["uniform", "popularity", "in-batch", "mixed"] = "uniform"
    popularity_power: float = Field(default=0.75, ge=0.0)
    shares: NegativeShares = NegativeShares()
    log_q: bool = True
    hard: HardNegativeConfig | None = None
    learning_rate: float = Field(default=1e-3, gt=0.0)
    schedule: Literal["constant", "warmup", "cosine", "linear"] = "cosine"
    warmup_epochs: float = Field(default=1.0, ge=0.0)
    clip_norm: float | None = Field(default=None, gt=0.0)
    weight_decay: float = Field(default=0.0, ge=0.0)
    compiled: bool = False
    stream_above: int = Field(default=5_000_000, ge=0)
    shard_events: int = Field(default=1_000_000, ge=1)

    @model_validator(mode="after")
    def _options_fit_the_loss(self) -> TrainingConfig:
        if self.temperature != 1.0 and "softmax" not in self.loss:
            raise ValueError(f"temperature ({self.temperature:g}) belongs to a softmax; loss {self.loss} has none")
        if self.hard is not None and self.loss == "softmax":
            raise ValueError("hard negatives say nothing new to loss softmax, which sees every item; drop one of them")
        return self


class ClozeConfig(BaseModel):
    """Which events of a training window BERT4Rec is not shown.

    Attributes:
        mask_share: chance of an event to be hidden; at least one of a window is.
        last_share: share of windows that hide their last event and no other, as serving does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mask_share: float = Field(default=0.2, gt=0.0, lt=1.0)
    last_share: float = Field(default=0.2, ge=0.0, le=1.0)


class SpokeConfig(BaseModel):
    """Everything that decides what a spoke is, apart from its data and its hub.

    Attributes:
        model: the behavioural objective; SASRec predicts the next item from the left, BERT4Rec hidden ones from both
            sides.
        cloze: what BERT4Rec is not shown.
        transformer: shape of the sequence transformer.
        content: what of the hub's content is read, in behaviour and mixture alike; a catalog without pictures has none
            whatever stands here. Nothing makes a spoke that knows IDs, attributes and statistics alone.
        adapter: LoRA on the hub's base fusion; None uses the hub's content as it is. Without content none is made.
        encoder_adapter: LoRA on the last layers of the hub's encoders; None takes their outputs as they are. The floor
            always does.
        fusion: how content, ID residual, attributes and statistics become one vector: `concat` maps each and adds them
            up, `gate` weighs each by a gate that reads all, `cross-attention` adds what attention makes of them.
        ids: whether items with enough events have an ID residual; without it `min_item_count` still says who is cold.
        id_init: standard deviation of the ID residuals before training.
        id_dropout: share of items whose ID residual is dropped in a training step, so that content carries cold items.
        id_dropout_events: with k here, an item of n training events drops its residual with probability k / (k + n) at
            least, so that what few events have taught is leant on less; 0 drops all alike.
        cold_items: share of the items with a residual that a training batch takes for new ones, wherever they stand in
            it: `[UNK]` residual, statistics of an item without events.
        attributes: encoder of brand, category, price and attributes; None reads none.
        statistics: encoder of behaviour statistics, counted over training events; None reads none.
        min_item_count: items with fewer training events share the `[UNK]` ID residual.
        training: optimiser, batches and stopping.
        seed: of initialisation, batch order and negatives.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Literal["sasrec", "bert4rec"] = "sasrec"
    cloze: ClozeConfig = ClozeConfig()
    transformer: TransformerConfig = TransformerConfig()
    content: tuple[Modality, ...] = MODALITIES
    adapter: AdapterConfig | None = AdapterConfig()
    encoder_adapter: EncoderAdapterConfig | None = Field(
        default=None, validation_alias=AliasChoices("encoder_adapter", "trunk_adapter")
    )
    fusion: Literal["concat", "gate", "cross-attention"] = "concat"
    ids: bool = True
    id_init: float = Field(default=0.02, ge=0.0)
    id_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    id_dropout_events: float = Field(default=0.0, ge=0.0)
    cold_items: float = Field(default=0.0, ge=0.0, lt=1.0)
    attributes: AttributeConfig | None = None
    statistics: StatisticsConfig | None = None
    min_item_count: int = Field(default=5, ge=1)
    training: TrainingConfig = TrainingConfig()
    seed: int = 0

    @field_validator("content")
    @classmethod
    def _in_one_order(cls, content: tuple[Modality, ...]) -> tuple[Modality, ...]:
        # Equal settings make equal fingerprints.
        return tuple(name for name in MODALITIES if name in content)

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

"""The spoke's configuration: item side, sequence side, training. Saved as JSON beside the weights."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .attributes import AttributeConfig
from .statistics import StatisticsConfig
from .transformer import TransformerConfig


class AdapterConfig(BaseModel):
    """LoRA on the base fusion (Hu et al., 2022), through PEFT."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=8, ge=1)
    alpha: int = Field(default=16, ge=1)


class TrainingConfig(BaseModel):
    """How the behavioural part is trained.

    Attributes:
        max_epochs: upper bound of epochs; validation usually stops earlier.
        validate_every: epochs between two validations.
        patience: validations without improvement before training stops.
        validation_users: users in a validation, at most; drawn once, with the seed.
        tokens_per_batch: positions in a batch.
        loss: `sampled-softmax` over shared negatives, or `softmax` over the whole catalog, for small ones.
        negatives: items drawn uniformly as shared negatives of a batch; the full softmax needs none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_epochs: int = Field(default=60, ge=0)
    validate_every: int = Field(default=3, ge=1)
    patience: int = Field(default=3, ge=1)
    validation_users: int = Field(default=2000, ge=1)
    tokens_per_batch: int = Field(default=1024, ge=2)
    loss: Literal["sampled-softmax", "softmax"] = "sampled-softmax"
    negatives: int = Field(default=256, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0.0)
    weight_decay: float = Field(default=0.0, ge=0.0)


class SpokeConfig(BaseModel):
    """Everything that decides what a spoke is, apart from its data and its hub.

    Attributes:
        model: the behavioural objective; SASRec predicts the next item from the left.
        transformer: shape of the sequence transformer.
        adapter: LoRA on the hub's base fusion; None uses the hub's content as it is.
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

    model: Literal["sasrec"] = "sasrec"
    transformer: TransformerConfig = TransformerConfig()
    adapter: AdapterConfig | None = AdapterConfig()
    id_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    id_dropout_events: float = Field(default=0.0, ge=0.0)
    cold_items: float = Field(default=0.0, ge=0.0, lt=1.0)
    attributes: AttributeConfig | None = None
    statistics: StatisticsConfig | None = None
    min_item_count: int = Field(default=5, ge=1)
    training: TrainingConfig = TrainingConfig()
    seed: int = 0

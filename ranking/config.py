"""The settings of a re-ranker."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RerankConfig(BaseModel):
    """How candidates are found, what trees learn from them, and how much."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    # Candidates: the best of the spoke, and of each other generator.
    spoke_candidates: int = Field(default=150, ge=10)
    more_candidates: int = Field(default=50, ge=0)
    neighbours: int = Field(default=100, ge=1)  # items kept of those that an item was met with
    history: int = Field(default=50, ge=1)  # last events of a shopper that are looked at
    # Moments that are learned from, each with a spoke trained on what lay before it; of each at most so many requests.
    origins: int = Field(default=2, ge=1, le=8)
    requests: int = Field(default=4000, ge=1)
    negatives: int = Field(default=100, ge=1)  # candidates of a request that were not taken, drawn, to learn from
    # Trees. The first score is a margin times the spoke's own, so that no tree at all is the spoke's order. Of margins,
    # and of whether trees may never take back what the spoke says, validation chooses among those given.
    margins: tuple[float, ...] = Field(default=(1.0, 3.0, 10.0), min_length=1)
    bound: tuple[bool, ...] = Field(default=(True,), min_length=1)
    monotone: bool = True  # whether more of what should help may never harm
    trees: int = Field(default=400, ge=0)  # at most
    patience: int = Field(default=50, ge=1)  # trees without a better validation after which no more are grown
    depth: int = Field(default=3, ge=1, le=12)
    learning_rate: float = Field(default=0.05, gt=0.0, le=1.0)
    min_child_weight: float = Field(default=1.0, ge=0.0)
    l2: float = Field(default=5.0, ge=0.0)
    column_share: float = Field(default=0.8, gt=0.0, le=1.0)  # of the features that a tree may use

"""A stage of a hub's training: judged on each category by what it learned on the others, kept as far as it helps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from ...arrays import DoubleArray, FloatArray
from ...catalog.sequences import Sequences
from ...errors import InvalidDataError
from ...evaluation.bootstrap import paired_difference
from ...hub.fusion import EncodedItems
from ...hub.reading import SessionReader
from ...hub.training.contrastive import ContrastiveDomain
from ...spokes.training.validation import Validation
from ..datasets import Dataset

Part = TypeVar("Part")


@dataclass(frozen=True)
class Category:
    """One category on its way through the training; without enough events it has no users to judge by."""

    dataset: Dataset
    encoded: EncodedItems
    seen: Sequences  # what is before validation, so that a category may judge and train in turn
    contrastive: ContrastiveDomain
    validation: Validation | None

    @property
    def name(self) -> str:
        """Of its domain."""
        return self.dataset.domain.name


class Stage(ABC, Generic[Part]):
    """A part of the hub that is trained on categories, and kept as far as it helps others."""

    name: str
    shares: Sequence[float]  # of the training that are tried against the start

    @abstractmethod
    def start(self) -> Part:
        """The part as it is without this training."""

    @abstractmethod
    def learns_from(self, category: Category) -> bool:
        """Whether a category has anything to train on."""

    @abstractmethod
    def train(self, categories: Sequence[Category], shown: str) -> tuple[Part, list[float]]:
        """The part trained on some categories, and its losses; `shown` is what its progress is called."""

    @abstractmethod
    def between(self, trained: Part, share: float) -> Part:
        """The part that has gone `share` of the way from the start."""

    @abstractmethod
    def quality(self, part: Part, category: Category, judges: Validation) -> DoubleArray:
        """(U,) zero-shot NDCG@10 of each judge of a category."""

    def judged(self, categories: Sequence[Category], held_out: str | None) -> list[dict[str, Any]]:
        """Zero-shot quality on each category, or `held_out` alone, of every share of a training on the others."""
        rows: list[dict[str, Any]] = []
        for category in categories:
            others = [other for other in categories if other is not category]
            trainable = any(self.learns_from(other) for other in others)
            if not (trainable and category.validation and held_out in (None, category.name)):
                continue
            trained, _ = self.train(others, f"training the {self.name} without {category.name}")
            start = self.quality(self.start(), category, category.validation)
            about = {"stage": self.name, "held_out": category.name}
            rows.append({**about, "share": 0.0, "ndcg@10": float(start.mean()), "difference": 0.0})
            for share in self.shares:
                own = self.quality(self.between(trained, share), category, category.validation)
                change = paired_difference(own, start)
                found = {"difference": change.value, "low": change.low, "high": change.high}
                rows.append({**about, "share": share, "ndcg@10": float(own.mean()), **found})
        if held_out is not None and not rows:
            raise InvalidDataError(
                f"{held_out} cannot judge the training; hold out a domain with events, beside others with events."
            )
        return rows

    def kept(self, categories: Sequence[Category], held_out: str | None) -> Kept[Part]:
        """What is kept of the training on all categories but the held-out one, as far as those not seen were helped."""
        if not any(map(self.learns_from, categories)):
            return Kept(self.start(), 0.0, [], [])
        table = self.judged(categories, held_out)
        share = kept_share(table)
        if not share:
            return Kept(self.start(), 0.0, [], table)
        final = [category for category in categories if category.name != held_out]
        trained, losses = self.train(final, f"training the {self.name}")
        return Kept(self.between(trained, share), share, losses, table)


@dataclass(frozen=True)
class Kept(Generic[Part]):
    """What is kept of a stage."""

    part: Part
    share: float
    losses: Sequence[float]
    table: list[dict[str, Any]]


def zero_shot(
    reader: SessionReader, content: FloatArray, image_share: float, judges: Validation, filter_seen: bool
) -> DoubleArray:
    """(U,) NDCG@10 of the launch floor on a category with (N, R) content embeddings."""
    weights = reader.space.modality_weights(image_share)
    found = []
    for block in judges.blocks():
        queries: FloatArray = reader.read(content, block.histories) * weights  # (U, R)
        found.append(block.ndcg(queries @ content.T, filter_seen))
    return np.concatenate(found).astype(np.float64)


def kept_share(rows: Sequence[Mapping[str, Any]]) -> float:
    """The share of the training that is kept: the largest mean relative gain wins, the smallest share a tie.

    A share that hurts a category is none: its paired 95 % interval of the difference to the start lies below zero.
    """
    gains: dict[float, list[float]] = {}
    harmful = {row["share"] for row in rows if row.get("high", 0.0) < 0.0}
    for row in rows:
        start = next(r["ndcg@10"] for r in rows if r["held_out"] == row["held_out"] and r["share"] == 0.0)
        gains.setdefault(row["share"], []).append(row["difference"] / start if start else 0.0)
    means = {share: sum(own) / len(own) for share, own in gains.items() if share not in harmful}
    return max(means, key=lambda share: (means[share], -share), default=0.0)

"""How a hub is trained: contrastively on all categories, kept as far as it helps categories that it has not seen."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from ..arrays import DoubleArray, FloatArray
from ..catalog.sequences import Sequences, co_engaged_pairs
from ..errors import InvalidDataError
from ..evaluation.bootstrap import paired_difference
from ..evaluation.protocols import Protocol, leave_one_out, training_mask
from ..hub.config import HubConfig
from ..hub.content import ContentSpace, fit_content_space
from ..hub.contrastive import ContrastiveDomain, train_fusion
from ..hub.devices import seed_everything
from ..hub.fusion import BaseFusion, EncodedItems, interpolate
from ..hub.model import Hub
from ..hub.parts import hub_parts
from ..hub.reading import Reading, SessionReader, fading, starting_reading
from ..hub.reading_training import ReadingExamples, reading_examples, train_reading
from ..hub.threads import arithmetic_threads, threads_worth
from ..registry.kinds import Relation
from ..registry.records import Parent
from ..spokes.training.validation import Validation, validation
from .datasets import Dataset
from .loading import encode_items
from .models import Trained, model_part, prepare

if TYPE_CHECKING:
    from .context import Context

# Shoppers of a category that a share is judged by: their mean NDCG@10 is certain to about 0.01, and all
# shares of all categories are ranked in minutes.
JUDGED_USERS = 2000

Part = TypeVar("Part")


@dataclass(frozen=True)
class _Category:
    """One category on its way through the training; without enough events it has no users to judge by."""

    dataset: Dataset
    encoded: EncodedItems
    seen: Sequences  # what is before validation, so that a category may judge and train in turn
    contrastive: ContrastiveDomain
    validation: Validation | None

    @property
    def name(self) -> str:
        return self.dataset.domain.name


class _Stage(ABC, Generic[Part]):
    """A part of the hub that is trained on categories, and kept as far as it helps others."""

    name: str
    shares: Sequence[float]  # of the training that are tried against the start

    @abstractmethod
    def start(self) -> Part:
        """The part as it is without this training."""

    @abstractmethod
    def learns_from(self, category: _Category) -> bool:
        """Whether a category has anything to train on."""

    @abstractmethod
    def train(self, categories: Sequence[_Category], shown: str) -> tuple[Part, list[float]]:
        """The part trained on some categories, and its losses; `shown` is what its progress is called."""

    @abstractmethod
    def between(self, trained: Part, share: float) -> Part:
        """The part that has gone `share` of the way from the start."""

    @abstractmethod
    def quality(self, part: Part, category: _Category, judges: Validation) -> DoubleArray:
        """(U,) zero-shot NDCG@10 of each judge of a category."""

    def judged(self, categories: Sequence[_Category], held_out: str | None) -> list[dict[str, Any]]:
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

    def kept(self, categories: Sequence[_Category], held_out: str | None) -> Kept[Part]:
        """What is kept of the training on all categories but the held-out one, as far as those not seen were helped."""
        table = self.judged(categories, held_out) if any(map(self.learns_from, categories)) else []
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


class _FusionStage(_Stage[BaseFusion]):
    """The base fusion, contrastively on items that shoppers met together."""

    name = "fusion"

    def __init__(self, context: Context, hub: Hub) -> None:
        self._context, self._hub, self._config = context, hub, hub.config
        self.shares = hub.config.contrastive.interpolations

    def start(self) -> BaseFusion:
        return self._hub.fusion

    def learns_from(self, category: _Category) -> bool:
        return self._config.contrastive.steps > 0 and len(category.contrastive.pairs) > 0

    def train(self, categories: Sequence[_Category], shown: str) -> tuple[BaseFusion, list[float]]:
        # Of both items of every pair in a step, one layer of the fusion.
        work = 2 * self._config.contrastive.batch_size * self._hub.fusion.down.weight.numel()
        with arithmetic_threads(threads_worth(work, self._context.settings.threads)):
            return train_fusion(
                self._hub.fusion,
                [category.contrastive for category in categories],
                self._config.contrastive,
                image_share=self._config.image_share,
                seed=self._config.seed,
                progress=self._context.progress.stage(shown),
            )

    def between(self, trained: BaseFusion, share: float) -> BaseFusion:
        fusion = copy.deepcopy(self._hub.fusion)
        fusion.load_state_dict(interpolate(self._hub.fusion, trained, share))
        return fusion

    def quality(self, part: BaseFusion, category: _Category, judges: Validation) -> DoubleArray:
        fused = part.fuse(category.contrastive.encoded)
        space = fit_content_space(fused, _of_fusion(self._config))
        reader = fading(space, self._config.recency_decay, self._config.recent_events)
        return _zero_shot(reader, space.embed(fused), self._config.image_share, judges, judges.filter_seen)


class _ReadingStage(_Stage[Reading]):
    """How content reads a session, on the sessions of the categories; each is embedded once."""

    name = "reading"

    def __init__(self, context: Context, hub: Hub, categories: Sequence[_Category]) -> None:
        self._context, self._hub, self._config = context, hub, hub.config
        self.shares, self._start = hub.config.reading.interpolations, starting_reading(hub.config)
        self._spaces: dict[str, tuple[ContentSpace, FloatArray]] = {}
        self._examples: dict[str, ReadingExamples] = {}
        if not hub.config.reading.sessions:
            return
        told = context.progress.stage("looking into sessions")
        for nth, category in enumerate(categories, 1):
            fused = hub.fusion.fuse(category.encoded)
            space = fit_content_space(fused, hub.config)
            embedded = space.embed(fused)  # (N, R)
            self._spaces[category.name] = space, embedded
            if space.dimension:
                found = reading_examples(embedded, space, category.seen, self._start, hub.config)
                self._examples[category.name] = found
            told(nth, len(categories))

    def start(self) -> Reading:
        return self._start

    def learns_from(self, category: _Category) -> bool:
        return category.name in self._examples and len(self._examples[category.name]) > 0

    def train(self, categories: Sequence[_Category], shown: str) -> tuple[Reading, list[float]]:
        examples = [self._examples[category.name] for category in categories if self.learns_from(category)]
        progress = self._context.progress.stage(shown)
        with arithmetic_threads(threads_worth(0, self._context.settings.threads)):  # a step is too small for two
            return train_reading(self._start, examples, self._config.reading, seed=self._config.seed, progress=progress)

    def between(self, trained: Reading, share: float) -> Reading:
        return self._start.towards(trained, share)

    def quality(self, part: Reading, category: _Category, judges: Validation) -> DoubleArray:
        space, embedded = self._spaces[category.name]
        fixed = part is self._start and self._hub.reading is None  # then that is not how the hub reads
        recency = self._config.recency_decay, self._config.recent_events
        reader = fading(space, *recency) if fixed else part.on(space)
        return _zero_shot(reader, embedded, self._config.image_share, judges, filter_seen=True)  # as it is learned


def train_hub(context: Context, config: HubConfig, datasets: Sequence[Dataset], held_out: str | None) -> Trained:
    """Train stage by stage, choose how much of each to keep, and hand over what is to be stored."""
    prepare(context)
    seed_everything(config.seed)
    hub = Hub(config, device=context.settings.device)
    categories = [_category(context, hub, dataset) for dataset in datasets]
    fusion = _FusionStage(context, hub).kept(categories, held_out)
    hub.fusion = fusion.part
    reading = _ReadingStage(context, hub, categories).kept(categories, held_out)
    hub.reading = reading.part if reading.share else hub.reading
    losses = fusion.losses
    summary = {
        "domains": [category.name for category in categories],
        "items": sum(len(category.encoded) for category in categories),
        "kept_share": fusion.share,
        "kept_reading": reading.share,
        "final_loss": round(sum(losses[-20:]) / len(losses[-20:]), 4) if losses else None,
        "parameters": sum(p.numel() for p in hub.fusion.parameters()),
        "encoders": hub.encoder_fingerprints,
        "reading": _told(hub, reading.share),
        "table": fusion.table + reading.table,
    }
    snapshots = [own for dataset in datasets for own in (dataset.item_snapshot, dataset.event_snapshot) if own]
    parents = [Parent(snapshot.ref, Relation.TRAINED_ON, snapshot.kind) for snapshot in snapshots]
    return Trained(hub.save, hub.fingerprint, summary, parents, [model_part(part) for part in hub_parts(hub)])


def _told(hub: Hub, learned: float) -> dict[str, Any]:
    """How a hub reads a session, for the record."""
    if hub.reading is None:
        return {"is": f"each event weighs {hub.config.recency_decay:g} of the next, {hub.config.recent_events} count"}
    lags = {name: [round(own, 3) for own in weights] for name, weights in hub.reading.lags.items()}
    came_from = "learned on its domains" if learned else "the package's"
    return {"is": came_from, **lags, "crowding": round(hub.reading.crowding, 3)}


def _category(context: Context, hub: Hub, dataset: Dataset) -> _Category:
    encoded = encode_items(context, hub, dataset)
    fusible = replace(encoded, blocks={})
    space = fit_content_space(hub.fusion.fuse(fusible), _of_fusion(hub.config))
    seen = dataset.sequences.keep_events(training_mask(dataset.sequences, Protocol()))
    pairs = co_engaged_pairs(seen, hub.config.contrastive.window)
    users, judges = leave_one_out(dataset.sequences, "validation"), None
    if len(users):
        drawn = validation(users, seen, JUDGED_USERS, hub.config.seed)
        judges = drawn.sample(JUDGED_USERS, hub.config.seed)
    return _Category(dataset, encoded, seen, ContrastiveDomain(fusible, space, pairs), judges)


def _of_fusion(config: HubConfig) -> HubConfig:
    """The config without what stands beside the fusion in the content space: neither training nor judges read that."""
    return config.model_copy(update={"text_blocks": (), "crowding": False})


def _zero_shot(
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

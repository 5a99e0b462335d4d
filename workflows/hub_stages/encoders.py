"""The stage of the encoders: their last layers, on items that shoppers met together and on two views of one item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from ...arrays import DoubleArray
from ...catalog.sequences import co_engaged_pairs
from ...hub.adapters.states import ItemStates, item_states
from ...hub.cache import EmbeddingCache, text_hashes
from ...hub.content import fit_content_space
from ...hub.distributed import World
from ...hub.fusion import EncodedItems
from ...hub.model import Hub
from ...hub.reading import fading
from ...hub.threads import arithmetic_threads, threads_worth
from ...hub.training.encoders import EncoderWeights, between, encoded_by, train_encoders, trained_layers
from ...hub.training.examples import EncoderExamples, among, drawn_items, explainable, leaf_numbers
from ...hub.training.views import two_views
from ...spokes.training.validation import Validation
from ..context import Context
from ..loading import encode_items
from .base import Category, Kept, Stage, zero_shot

# Pairs of a category that are looked at: more than its items for the training have.
MAX_PAIRS = 100_000
CHECKPOINT_STEPS = 25
# Multiply-adds of one layer of a small transformer over one item, about: 20 tokens, 12 squares of a width of 384.
ITEM_WORK = 35_000_000


class EncoderStage(Stage[EncoderWeights]):
    """The last layers of the encoders; the states before them are read once for each category."""

    name = "encoders"

    def __init__(
        self,
        context: Context,
        hub: Hub,
        checkpoints: Path | None = None,  # folder of the trainings that a killed one goes on from
        world: World | None = None,  # processes that train along, each with a stage of its own on the same categories
    ) -> None:
        self._context, self._hub, self._config = context, hub, hub.config.encoders
        self._checkpoints = context.checkpoints(checkpoints, CHECKPOINT_STEPS) if checkpoints else None
        self._world = world or World()
        self.shares = self._config.interpolations
        self._layers = trained_layers(hub, self._config) if self._config.steps else {}
        self._examples: dict[str, EncoderExamples] = {}  # of those that were asked for
        self._judged: tuple[str, EncodedItems] | None = None

    def kept(self, categories: Sequence[Category], held_out: str | None) -> Kept[EncoderWeights]:
        """What is kept; of encoders that were trained from scratch all, for before there was nothing."""
        found = super().kept(categories, held_out)
        if found.share == 1.0 or not (self._hub.config.own_encoders and any(map(self.learns_from, categories))):
            return found
        final = [category for category in categories if category.name != held_out]
        trained, losses = self.train(final, f"training the {self.name}")
        return Kept(trained, 1.0, losses, found.table)

    def start(self) -> EncoderWeights:
        """No weights but the encoders' own."""
        return {}

    def learns_from(self, category: Category) -> bool:
        """Whether the category has pairs or views to learn from."""
        viewed = "views" in self._config.objectives and len(category.encoded) > 0
        return bool(self._layers) and (viewed or len(category.contrastive.pairs) > 0)

    def train(self, categories: Sequence[Category], shown: str) -> tuple[EncoderWeights, list[float]]:
        """The weights trained on some categories, and their losses; other processes are told to train along."""
        if self._world.leads:
            self._world.broadcast([category.name for category in categories])
        examples = [self._learned_from(category) for category in categories if self.learns_from(category)]
        if not examples:
            return {}, []
        work = self._config.batch_size * (2 + self._config.hard_negatives) * sum(self._layers.values()) * ITEM_WORK
        with arithmetic_threads(threads_worth(work, self._context.settings.threads)):
            return train_encoders(
                self._hub,
                examples,
                self._context.progress.stage(shown),
                checkpoints=self._checkpoints,
                world=self._world,
            )

    def follow(self, categories: Sequence[Category]) -> None:
        """Train along with the first process, on the categories that it names, until it names none."""
        while (names := self._world.broadcast(None)) is not None:
            self.train([category for category in categories if category.name in names], "")

    def between(self, trained: EncoderWeights, share: float) -> EncoderWeights:
        """The weights that have gone `share` of the way."""
        return between(self._hub, trained, share)

    def quality(self, part: EncoderWeights, category: Category, judges: Validation) -> DoubleArray:
        """(U,) zero-shot NDCG@10 of each judge, in the space that these encoders give, as the hub reads it."""
        config = self._hub.config
        encoded = encoded_by(self._hub, part, self._states(category)) if part else category.encoded
        fused = self._hub.fusion.fuse(encoded)
        space = fit_content_space(fused, config)
        recency = config.recency_decay, config.recent_events
        reader = self._hub.reading.on(space) if self._hub.reading else fading(space, *recency)
        return zero_shot(reader, space.embed(fused), space.image_share(config), judges, judges.filter_seen)

    def _states(self, category: Category) -> EncodedItems:
        """All items of a category before the trained layers, kept while its shares are tried."""
        if self._judged is None or self._judged[0] != category.name:
            self._judged = None  # before the next ones are read: they are large
            dataset = category.dataset
            self._judged = category.name, encode_items(self._context, self._hub, dataset, heads=self._layers)
        return self._judged[1]

    def _learned_from(self, category: Category) -> EncoderExamples:
        """What a category teaches, read once."""
        if category.name not in self._examples:
            self._examples[category.name] = self._read(category)
        return self._examples[category.name]

    def _read(self, category: Category) -> EncoderExamples:
        """Items that shoppers met often, with the states before the trained layers."""
        config, rng = self._config, np.random.default_rng(self._hub.config.seed)
        space, known = category.contrastive.space, co_engaged_pairs(category.seen, config.window)
        if self._hub.config.own_encoders:  # random vectors have no shape that would be worth anything
            space = space.uncalibrated()
        content = space.embed(self._hub.fusion.fuse(category.contrastive.encoded))
        content *= np.sqrt(space.modality_weights(space.image_share(self._hub.config)))
        looked_at = known[rng.permutation(len(known))[:MAX_PAIRS]]
        pairs = explainable(looked_at, content, config.nearest_share)
        chosen = drawn_items(pairs, config.items, rng)
        if "views" in config.objectives:  # for which no shopper is needed
            others = rng.permutation(np.setdiff1d(np.arange(len(content)), chosen))
            chosen = np.sort(np.concatenate([chosen, others[: config.items - len(chosen)]]))
        dataset = replace(category.dataset, items=category.dataset.items[chosen.tolist()])
        encoded = encode_items(self._context, self._hub, dataset, heads=self._layers)
        views = self._views(dataset.items) if "views" in config.objectives and "text" in self._layers else None
        leaves = leaf_numbers(dataset.items)
        return EncoderExamples(encoded, space, among(pairs, chosen), among(known, chosen), leaves, views)

    def _views(self, items: pl.DataFrame) -> tuple[ItemStates, ItemStates]:
        encoder, cache = self._hub.encoder("text"), EmbeddingCache(self._context.cache_dir, self._context.progress.note)
        first, second = two_views(items, self._hub.config.text_fields, self._hub.config.seed)
        counts = np.array([bool(text) for text in first], np.int64)
        shown = self._context.progress.stage("reading views of items")

        def states(texts: list[str]) -> ItemStates:
            read = [text for text in texts if text]
            return item_states(encoder, self._layers["text"], read, text_hashes(read), counts, cache, shown)

        return states(first), states(second)

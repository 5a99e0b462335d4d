"""The stage of the reading: what the last events of a session weigh, learned on the sessions of the categories."""

from __future__ import annotations

from collections.abc import Sequence

from ...arrays import DoubleArray, FloatArray
from ...hub.content import ContentSpace, fit_content_space
from ...hub.model import Hub
from ...hub.reading import Reading, fading, starting_reading
from ...hub.threads import arithmetic_threads, threads_worth
from ...hub.training.reading import ReadingExamples, reading_examples, train_reading
from ...spokes.training.validation import Validation
from ..context import Context
from .base import Category, Stage, zero_shot


class ReadingStage(Stage[Reading]):
    """How content reads a session, on the sessions of the categories; each is embedded once."""

    name = "reading"

    def __init__(self, context: Context, hub: Hub, categories: Sequence[Category]) -> None:
        self._context, self._hub, self._config = context, hub, hub.config
        self.shares = hub.config.reading.interpolations
        self._start = hub.reading or starting_reading(hub.config)
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
        """The reading as it is without this training."""
        return self._start

    def learns_from(self, category: Category) -> bool:
        """Whether the category has sessions to learn from."""
        return category.name in self._examples and len(self._examples[category.name]) > 0

    def train(self, categories: Sequence[Category], shown: str) -> tuple[Reading, list[float]]:
        """The reading trained on some categories, and its losses."""
        examples = [self._examples[category.name] for category in categories if self.learns_from(category)]
        progress = self._context.progress.stage(shown)
        with arithmetic_threads(threads_worth(0, self._context.settings.threads)):  # a step is too small for two
            return train_reading(self._start, examples, self._config.reading, seed=self._config.seed, progress=progress)

    def between(self, trained: Reading, share: float) -> Reading:
        """The reading that has gone `share` of the way."""
        return self._start.towards(trained, share)

    def quality(self, part: Reading, category: Category, judges: Validation) -> DoubleArray:
        """(U,) zero-shot NDCG@10 of each judge."""
        space, embedded = self._spaces[category.name]
        fixed = part is self._start and self._hub.reading is None  # then that is not how the hub reads
        recency = self._config.recency_decay, self._config.recent_events
        reader = fading(space, *recency) if fixed else part.on(space)
        return zero_shot(
            reader, embedded, space.image_share(self._config), judges, filter_seen=True
        )  # as it is learned

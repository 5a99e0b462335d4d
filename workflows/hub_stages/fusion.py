"""The stage of the base fusion: contrastive training on items that shoppers met together."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from ...arrays import DoubleArray
from ...hub.config import HubConfig
from ...hub.content import fit_content_space
from ...hub.fusion import BaseFusion, interpolate
from ...hub.model import Hub
from ...hub.reading import fading
from ...hub.threads import arithmetic_threads, threads_worth
from ...hub.training.contrastive import train_fusion
from ...spokes.training.validation import Validation
from ..context import Context
from .base import Category, Stage, zero_shot


class FusionStage(Stage[BaseFusion]):
    """The base fusion, contrastively on items that shoppers met together."""

    name = "fusion"

    def __init__(self, context: Context, hub: Hub) -> None:
        self._context, self._hub, self._config = context, hub, hub.config
        self.shares = hub.config.contrastive.interpolations

    def start(self) -> BaseFusion:
        """The fusion as it is without this training."""
        return self._hub.fusion

    def learns_from(self, category: Category) -> bool:
        """Whether shoppers of the category met items together."""
        return self._config.contrastive.steps > 0 and len(category.contrastive.pairs) > 0

    def train(self, categories: Sequence[Category], shown: str) -> tuple[BaseFusion, list[float]]:
        """The fusion trained on some categories, and its losses."""
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
        """The fusion that has gone `share` of the way."""
        fusion = copy.deepcopy(self._hub.fusion)
        fusion.load_state_dict(interpolate(self._hub.fusion, trained, share))
        return fusion

    def quality(self, part: BaseFusion, category: Category, judges: Validation) -> DoubleArray:
        """(U,) zero-shot NDCG@10 of each judge."""
        fused = part.fuse(category.contrastive.encoded)
        space = fit_content_space(fused, of_fusion(self._config))
        reader = fading(space, self._config.recency_decay, self._config.recent_events)
        return zero_shot(reader, space.embed(fused), space.image_share(self._config), judges, judges.filter_seen)


def of_fusion(config: HubConfig) -> HubConfig:
    """The config without what stands beside the fusion in the content space: neither training nor judges read that."""
    return config.model_copy(update={"text_blocks": (), "crowding": False})

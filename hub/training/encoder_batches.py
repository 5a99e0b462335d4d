"""Batches that encoders learn from, and their loss: items of one category that belong together, or two views of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...arrays import IntArray
from ..adapters.adapted import AdaptedEncoders, HeadInputs
from ..adapters.lora import frozen_copy
from ..adapters.states import ItemStates
from ..config import EncoderTrainingConfig
from ..devices import autocast_for
from ..distributed import World
from ..model import Hub
from .contrastive import CalibratedSpace, ContrastiveDomain
from .examples import EncoderExamples
from .losses import PairLoss, bounded_pair_loss, info_nce_loss

LOSSES: Mapping[str, PairLoss] = {
    "bounded": bounded_pair_loss,
    "info_nce": info_nce_loss,
    "views": info_nce_loss,
}


class CategoryBatches:
    """Batches drawn from one category, and their loss in its content space before the training.

    Of several processes each draws the same and runs its share of the items; all of them are each other's negatives.
    """

    def __init__(self, examples: EncoderExamples, model: AdaptedEncoders, hub: Hub, world: World) -> None:
        self._examples, self._model, self._hub, self._world = examples, model, hub, world
        self._fusion = frozen_copy(hub.fusion).to(hub.device)
        self._inputs = model.inputs(examples.encoded, hub.device)
        domain = ContrastiveDomain(examples.encoded, examples.space, examples.pairs)
        self._space = CalibratedSpace(domain, domain.space.image_share(hub.config), hub.device)

    def size(self, objective: str) -> int:
        """How much there is to learn from."""
        if not self._examples.space.dimension:
            return 0
        return len(self._examples.viewed if objective == "views" else self._examples.pairs)

    def loss(self, objective: str, config: EncoderTrainingConfig, rng: np.random.Generator) -> Tensor:
        """The loss of one batch that is drawn."""
        similarity, false = self._views(config, rng) if objective == "views" else self._together(config, rng)
        return LOSSES[objective](similarity / config.temperature, false)

    def _together(self, config: EncoderTrainingConfig, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Of B pairs drawn: similarities (B, C) to partners and hard negatives, and which are no negatives."""
        examples = self._examples
        anchors, partners = examples.pairs[rng.integers(len(examples.pairs), size=config.batch_size)].T
        candidates = np.concatenate([partners, examples.hard_negatives(partners, config.hard_negatives, rng)])
        false = examples.false_negatives(anchors, candidates) | (partners[:, None] == candidates[None, :])
        # An anchor that is drawn twice is no negative of its own partner either.
        false[:, : len(anchors)] |= anchors[:, None] == anchors[None, :]
        rows, inverse = np.unique(np.concatenate([anchors, candidates]), return_inverse=True)
        z = self._embed(rows, lambda own: self._inputs.rows(torch.from_numpy(own)))  # (rows, R)
        left, right = z[inverse[: len(anchors)]], z[inverse[len(anchors) :]]
        return left @ right.T, torch.from_numpy(false).to(z.device)

    def _views(self, config: EncoderTrainingConfig, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Of B items drawn: similarities (B, B) of their first views to their second ones; all others are negatives."""
        assert self._examples.views is not None
        viewed = self._examples.viewed
        rows = rng.choice(viewed, size=min(config.batch_size, len(viewed)), replace=False)
        left, right = (self._embed(rows, partial(self._view, own)) for own in self._examples.views)
        return left @ right.T, torch.zeros(len(rows), len(rows), dtype=torch.bool, device=left.device)

    def _view(self, states: ItemStates, rows: IntArray) -> HeadInputs:
        """Texts alone."""
        width = self._hub.text_dimension + self._hub.image_dimension
        nothing = torch.zeros(len(rows), width, device=self._hub.device)
        return HeadInputs(nothing, {"text": states}, rows)

    def _embed(self, rows: IntArray, inputs: Callable[[IntArray], HeadInputs]) -> Tensor:
        """(B, R) of some items, which all processes run a share of."""
        own = inputs(rows[self._world.own(len(rows))])
        with autocast_for(self._hub.device):
            vectors = self._model(own)  # (b, Dt + Dv), in float32 again
        return self._world.joint(self._space.embed(self._fusion(vectors)), len(rows))

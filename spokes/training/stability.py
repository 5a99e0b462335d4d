"""What holds a training that goes on from a parent near to it: anchored item vectors and consolidated weights.

Hubs and spokes are trained again every week, and whoever keeps their vectors must not find them elsewhere. Items are
held where the parent had them; the network that reads sessions is held where the parent's sessions need it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from ...arrays import BoolArray, FloatArray, IntArray
from ...catalog.sequences import Sequences
from ...hub.distributed import World
from ...hub.training.losses import anchor_loss
from ..config import SpokeConfig
from ..model import BehaviourModel, ItemInputs
from .batches import training_batches
from .objective import Objective
from .warm_start import LoadedParent, Taken

# Items whose vectors are compared in a step, and windows of events that the Fisher information is estimated on.
ANCHORED = 256
FISHER_WINDOWS = 256
# Tells the generator of the anchored items apart from those of batches and negatives, which start from (seed, epoch).
ANCHORS = 3


@dataclass(frozen=True)
class Anchors:
    """Items that the parent was trained on, and where it had them."""

    rows: IntArray  # (A,) of the training's catalog
    vectors: FloatArray  # (A, D)


def consolidation_loss(
    weights: Mapping[str, Tensor], start: Mapping[str, Tensor], fisher: Mapping[str, Tensor]
) -> Tensor:
    """Elastic weight consolidation: `1/2 sum_j F_j (w_j - w*_j)^2`, F the diagonal Fisher information at the start w*.

    Kirkpatrick et al., 2017. F is that of one position of a session, so the penalty is what a position of the parent's
    sessions is expected to lose, to the second order.
    """
    moved = [(own * (weights[name] - start[name]).square()).sum() for name, own in fisher.items()]
    return torch.stack(moved).sum() / 2


def fisher_diagonal(
    model: BehaviourModel,
    items: ItemInputs,
    sequences: Sequences,
    config: SpokeConfig,
    names: Collection[str],
) -> dict[str, Tensor]:
    """By name of a weight, its empirical Fisher information in a sample of windows, per scored position.

    `F_j = sum_w (dL_w / dw_j)^2 / sum_w T_w`, L_w the summed loss of the T_w positions of window w, whose gradients are
    taken to be independent; of what was really clicked, and without dropout.
    """
    weights = {name: own for name, own in model.named_parameters() if name in names and own.requires_grad}
    found = {name: torch.zeros_like(own) for name, own in weights.items()}
    # A batch of two positions is one window: gradients are squared one by one.
    training = config.training.model_copy(update={"tokens_per_batch": 2, "hard_negatives": 0})
    alone = config.model_copy(update={"training": training})
    objective = Objective(model, items, sequences.item_counts(), alone, World())
    objective.start(0)
    model.eval()
    positions = 0
    for batch in islice(training_batches(sequences, alone).epoch(0), FISHER_WINDOWS):
        scored = int(batch.scored.sum())
        gradients = torch.autograd.grad(objective.loss(batch) * scored, [*weights.values()], allow_unused=True)
        for name, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                found[name] += gradient.square()
        positions += scored
    return {name: own / max(positions, 1) for name, own in found.items()}


class Hold:
    """The terms that a training adds to its loss; the weights start where they are held, at what the parent gave.

    Held are items of the parent's catalog, and weights by their Fisher information; of either there may be none.
    """

    def __init__(
        self,
        model: BehaviourModel,
        items: ItemInputs,
        config: SpokeConfig,
        anchors: Anchors | None,
        fisher: Mapping[str, Tensor],
    ) -> None:
        self._model, self._items, self._seed = model, items, config.seed
        self._settings, self._fisher = config.stability, fisher
        device = model.ids.weight.device
        self._rows = self._targets = None
        if anchors is not None and len(anchors.rows):
            self._rows, self._targets = (torch.from_numpy(own).to(device) for own in (anchors.rows, anchors.vectors))
            self._unit = self._targets.square().mean().sqrt().clamp(min=1e-6)
        self._weights = {name: own for name, own in model.named_parameters() if name in fisher}
        self._start = {name: own.detach().clone() for name, own in self._weights.items()}
        self._rng = np.random.default_rng(config.seed)

    def start(self, epoch: int) -> None:
        """Begin an epoch: its number decides which items are compared, so that a killed training goes on the same."""
        self._rng = np.random.default_rng((self._seed, epoch, ANCHORS))

    def loss(self) -> Tensor:
        """The pull of one step; every process of a training computes the whole."""
        terms = []
        if self._rows is not None and self._targets is not None:
            drawn = torch.from_numpy(self._rng.integers(len(self._rows), size=ANCHORED)).to(self._rows.device)
            # As they are served: dropped residuals would have content stand in for them.
            self._model.eval()
            vectors = self._model.embed_items(self._items.rows(self._rows[drawn]))  # (K, D)
            self._model.train()
            terms.append(self._settings.anchor * anchor_loss(vectors, self._targets[drawn], self._unit))
        if self._fisher:
            terms.append(self._settings.consolidation * consolidation_loss(self._weights, self._start, self._fisher))
        return torch.stack(terms).sum() if terms else torch.zeros((), device=self._model.ids.weight.device)


def held(
    model: BehaviourModel,
    items: ItemInputs,
    parent: LoadedParent,
    taken: Taken,
    known: BoolArray,  # (N,) items that the parent was trained on
    seen: Sequences,  # events that the parent was trained on
    config: SpokeConfig,
) -> Hold | None:
    """The hold of a training that is about to start; None where the parent is another domain's or nothing is asked."""
    settings = config.stability
    common, asked = parent.common, settings.anchor or settings.consolidation
    if not (asked and common.same_domain and common.behaviour):
        return None
    width = config.transformer.dimension
    rows = np.flatnonzero(known)
    anchors = Anchors(rows, np.ascontiguousarray(parent.vectors[rows, :width])) if settings.anchor else None
    fisher = fisher_diagonal(model, items, seen, config, taken.weights) if settings.consolidation else {}
    return Hold(model, items, config, anchors, fisher)

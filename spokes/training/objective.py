"""From a batch to its loss: which negatives are drawn, which items are embedded, which scores are compared."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ...arrays import IntArray
from ...hub.distributed import World
from ..config import SpokeConfig
from ..model import BehaviourModel, ItemInputs
from .batches import Batch, share
from .losses import bce_loss, full_softmax_loss, sampled_softmax_loss
from .negatives import HardNegatives, PopularityNegatives, UniformNegatives, without_false_negatives

# Tells the generator of negatives apart from that of the batches, which starts from (seed, epoch).
NEGATIVES = 1
# Epochs until the current item vectors are mined for hard negatives again.
REFRESH_EVERY = 5
# A hard negative that scores above this share of its target's score may be a true positive and is not used.
MARGIN = 0.95


class Objective:
    """The loss of a config over one model and its N items, which lie on one device and have `counts` (N,) events."""

    def __init__(self, model: BehaviourModel, items: ItemInputs, counts: IntArray, config: SpokeConfig, world: World):
        settings = config.training
        self._model = model
        self._items = items
        self._settings = settings
        self._seed = config.seed
        self._world = world
        self._device = model.ids.weight.device
        self._sampler = UniformNegatives(len(counts), settings.negatives)
        if settings.sampler == "popularity":
            self._sampler = PopularityNegatives(counts, settings.negatives)
        self._log_q = None if self._sampler.log_q is None else self._tensor(self._sampler.log_q)
        self.hard = HardNegatives(settings.hard_negatives, config.seed) if settings.hard_negatives else None
        self.rng = np.random.default_rng(config.seed)

    def start(self, epoch: int) -> None:
        """Begin an epoch: its generator, and hard negatives where they are due."""
        # Uniform negatives run on through all epochs, as they always have; any others begin anew in each.
        if self._settings.sampler != "uniform" or self.hard is not None:
            self.rng = np.random.default_rng((self._seed, epoch, NEGATIVES))
        if self.hard is not None and epoch % REFRESH_EVERY == 0:
            vectors = self._model.item_vectors(self._items)
            self.hard.refresh(torch.from_numpy(vectors).to(self._device), epoch)

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss over the scored positions of this process's share of a batch; without a share, zero."""
        if self._settings.loss != "softmax":
            return self._sampled(batch)
        batch = share(batch, self._world)
        if not len(batch.inputs):
            return torch.zeros((), device=self._device)
        vectors = self._model.embed_items(self._inputs(batch))  # (N, D)
        hidden = self._model.encode_batch(F.embedding(self._tensor(batch.rows), vectors), batch)  # (Q, D)
        scores, temperature = hidden @ vectors.T, self._settings.temperature  # (Q, N)
        targets = self._tensor(batch.targets[batch.scored])
        return full_softmax_loss(scores if temperature == 1.0 else scores / temperature, targets)

    def _sampled(self, batch: Batch) -> Tensor:
        """A loss over negatives at the Q scored positions; only the item rows in use are embedded."""
        # All processes draw for the whole batch, so that they stay in step.
        asked = batch.targets[batch.scored]
        shared = self._sampler.draw(self.rng)  # (K,)
        own = asked[:0, None]  # (Q, H) hard ones of the scored positions that this process computes
        if self.hard:
            ours = np.repeat(self._world.own(len(batch.inputs)), batch.scored.sum(axis=1))
            own = self.hard.draw(self.rng, asked)[ours]
        batch = share(batch, self._world)
        if not len(batch.inputs):
            return torch.zeros((), device=self._device)
        inputs, targets = batch.rows, batch.targets[batch.scored]
        rows, inverse = np.unique(np.concatenate([inputs, targets, shared, own.ravel()]), return_inverse=True)
        vectors = self._model.embed_items(self._inputs(batch).rows(self._tensor(rows)))  # (U, D)
        sizes = [len(inputs), len(targets), len(shared), own.size]
        # Not by indexing: on a CPU an embedding adds up the gradients of a row several times as fast.
        given, positives, drawn, mined = F.embedding(self._tensor(inverse), vectors).split(sizes)
        hidden = self._model.encode_batch(given, batch)  # (Q, D)
        positive = (hidden * positives).sum(dim=1)
        negative = hidden @ drawn.T  # (Q, K)
        wanted, against = self._tensor(targets), self._tensor(shared)
        log_q = None if self._log_q is None else (self._log_q[wanted], self._log_q[against])
        if self.hard:
            near = torch.einsum("qd,qhd->qh", hidden, mined.view(*own.shape, hidden.shape[1]))  # (Q, H)
            own_rows = without_false_negatives(self._tensor(own), near, positive, wanted, MARGIN)
            against = torch.cat([against.expand(len(wanted), -1), own_rows], dim=1)  # (Q, K + H)
            negative = torch.cat([negative, near], dim=1)
            if log_q is not None:
                # Nobody drew the mined ones: they compare with the target as it is.
                mined_q = log_q[0][:, None].expand(own.shape)
                log_q = log_q[0], torch.cat([log_q[1].expand(len(wanted), -1), mined_q], dim=1)
        if self._settings.loss == "bce":
            return bce_loss(positive, negative, wanted, against)
        temperature = self._settings.temperature
        return sampled_softmax_loss(positive, negative, wanted, against, temperature=temperature, log_q=log_q)

    def _inputs(self, batch: Batch) -> ItemInputs:
        """What a step on this batch may know of the items."""
        return self._items if batch.folds is None else self._items.in_fold(int(batch.folds[0]))

    def _tensor(self, array: npt.NDArray[np.int64] | npt.NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(array).to(self._device)

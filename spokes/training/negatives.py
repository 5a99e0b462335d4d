"""What a training step contrasts its targets with: negatives drawn for a whole batch, and hard ones per position."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ...arrays import FloatArray, IntArray

# Exponent of popularity: 1 as items occur, 0 uniformly; this is word2vec's (Mikolov et al., 2013).
POPULARITY_POWER = 0.75
# Hard negatives of an item are drawn from so many of its nearest; the nearest of all are often true positives.
HARD_POOL = 50
# Mining looks for an item's neighbours among this many items at most, a new sample at every refresh.
MINED_AMONG = 20_000
MINED_AT_ONCE = 1024


class UniformNegatives:
    """Draws items that all positions of a batch share as negatives; every item is equally likely."""

    log_q: FloatArray | None = None  # (N,) log-probability of a draw, where a softmax has to be corrected for it

    def __init__(self, n_items: int, count: int) -> None:
        self._n_items, self._count = n_items, count

    def draw(self, rng: np.random.Generator) -> IntArray:
        """(K,) item rows, drawn with replacement."""
        return rng.integers(self._n_items, size=self._count)


class PopularityNegatives(UniformNegatives):
    """An item is drawn in proportion to its (N,) events to the power of `POPULARITY_POWER`."""

    def __init__(self, counts: IntArray, count: int) -> None:
        super().__init__(len(counts), count)
        weights = counts.astype(np.float64) ** POPULARITY_POWER
        if not weights.any():
            weights = np.ones(len(counts))
        self._cumulated = np.cumsum(weights)
        self._cumulated /= self._cumulated[-1]
        with np.errstate(divide="ignore"):  # -inf for an item that is never drawn
            self.log_q = np.log(weights / weights.sum()).astype(np.float32)

    def draw(self, rng: np.random.Generator) -> IntArray:
        """(K,) item rows, drawn with replacement."""
        return np.searchsorted(self._cumulated, rng.random(self._count), side="right").astype(np.int64)


class HardNegatives:
    """For each target, items drawn from those nearest to it by the current item vectors (cosine).

    `seed` and the epoch of a refresh decide which items of a large catalog are looked at.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self.nearest: npt.NDArray[np.int32] | None = None

    def refresh(self, vectors: Tensor, epoch: int) -> None:
        """Mine again from (N, D) item vectors."""
        rng = np.random.default_rng((self._seed, epoch, len(vectors)))
        self.nearest = nearest_items(vectors, HARD_POOL, rng)

    def draw(self, rng: np.random.Generator, targets: IntArray) -> IntArray:
        """(P, H) item rows for (P,) targets; a target itself where its catalog holds nothing else."""
        if self.nearest is None or not self.nearest.shape[1]:
            return np.repeat(targets[:, None], self._count, axis=1)
        places = rng.integers(self.nearest.shape[1], size=(len(targets), self._count))
        return self.nearest[targets[:, None], places].astype(np.int64)


@torch.no_grad()
def nearest_items(vectors: Tensor, count: int, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """(N, M) the nearest other items of (N, D) vectors by cosine, M <= count, among `MINED_AMONG` items at most."""
    n = len(vectors)
    among = np.arange(n) if n <= MINED_AMONG else np.sort(rng.choice(n, MINED_AMONG, replace=False))
    unit = F.normalize(vectors.float(), dim=1)
    candidates = torch.from_numpy(among).to(vectors.device)
    found = np.zeros((n, max(0, min(count, len(among) - 1))), np.int32)
    for rows in torch.arange(n, device=vectors.device).split(MINED_AT_ONCE):
        scores = unit[rows] @ unit[candidates].T  # (B, C)
        scores.masked_fill_(rows[:, None] == candidates[None, :], float("-inf"))
        found[rows.cpu().numpy()] = candidates[scores.topk(found.shape[1], dim=1).indices].cpu().numpy()
    return found


def without_false_negatives(own: Tensor, scores: Tensor, positive: Tensor, targets: Tensor, margin: float) -> Tensor:
    """(P, H) hard negatives without those that may be true positives: what is liked nearly as well as the target.

    A score above `s+ - (1 - margin) |s+|`, which is `margin` times a positive s+, excludes an item (de Souza P. Moreira
    et al., 2024: NV-Retriever). What is excluded becomes the target itself, which every loss masks out.
    `scores` (P, H) are those of `own`, `positive` (P,) those of the `targets` (P,).
    """
    limit = positive.detach() - (1 - margin) * positive.detach().abs()
    return torch.where(scores.detach() > limit[:, None], targets[:, None], own)

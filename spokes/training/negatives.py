"""What a training step contrasts its targets with: negatives drawn for a whole batch, and hard ones per position.

All samplers share one interface and draw from the generator that they are given, so that seed and epoch decide all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ...arrays import FloatArray, IntArray

# Mining looks for an item's neighbours among this many items at most, a new sample at every refresh.
MINED_AMONG = 20_000
MINED_AT_ONCE = 1024


class NegativeSampler(Protocol):
    """Draws items that all positions of a batch share as negatives.

    Attributes:
        count: K, items in a draw; fewer where a batch cannot give that many.
        log_q: (N,) log-probability that one slot of a draw holds an item; -inf where it never does.
    """

    count: int
    log_q: FloatArray

    def draw(self, rng: np.random.Generator, targets: IntArray) -> IntArray:
        """(K,) item rows for a batch whose (P,) targets are given."""


class UniformNegatives:
    """Every item is equally likely."""

    def __init__(self, n_items: int, count: int) -> None:
        self.count = count
        self._n_items = n_items
        self.log_q = np.full(n_items, -np.log(max(1, n_items)), np.float32)

    def draw(self, rng: np.random.Generator, targets: IntArray) -> IntArray:
        """(K,) item rows, drawn with replacement."""
        return rng.integers(self._n_items, size=self.count)


class PopularityNegatives:
    """An item is drawn in proportion to its events to a power: 1 as they occur, 0.75 as in word2vec, 0 uniformly.

    Mikolov et al., 2013.
    """

    def __init__(self, counts: IntArray, power: float, count: int) -> None:
        self.count = count
        weights = counts.astype(np.float64) ** power
        if not weights.any():
            weights = np.ones(len(counts))
        cumulated = np.cumsum(weights)
        self._cumulated = cumulated / cumulated[-1]
        with np.errstate(divide="ignore"):
            self.log_q = np.log(weights / weights.sum()).astype(np.float32)

    def draw(self, rng: np.random.Generator, targets: IntArray) -> IntArray:
        """(K,) item rows, drawn with replacement."""
        return np.searchsorted(self._cumulated, rng.random(self.count), side="right").astype(np.int64)


class InBatchNegatives:
    """The targets of the batch itself, each position at most once; an item is as likely as it is frequent."""

    def __init__(self, counts: IntArray, count: int) -> None:
        self.count = count
        self.log_q = PopularityNegatives(counts, 1.0, count).log_q

    def draw(self, rng: np.random.Generator, targets: IntArray) -> IntArray:
        """(K,) of the targets, all of them where there are no more than K."""
        return targets if len(targets) <= self.count else rng.choice(targets, self.count, replace=False)


class MixedNegatives:
    """Several samplers side by side, each with its own share of the draw. Yang et al., 2020."""

    def __init__(self, samplers: Sequence[NegativeSampler]) -> None:
        self._samplers = [sampler for sampler in samplers if sampler.count]
        self.count = sum(sampler.count for sampler in self._samplers)
        shares = [np.exp(sampler.log_q) * (sampler.count / self.count) for sampler in self._samplers]
        with np.errstate(divide="ignore"):
            self.log_q = np.log(np.sum(shares, axis=0)).astype(np.float32)

    def draw(self, rng: np.random.Generator, targets: IntArray) -> IntArray:
        """(K,) item rows, sampler by sampler."""
        return np.concatenate([sampler.draw(rng, targets) for sampler in self._samplers])


def apportion(count: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that sum to `count`, by largest remainder; shares sum to one."""
    exact = np.array(shares, np.float64) * count
    whole = np.floor(exact).astype(int)
    # Ties go to the first, so that the same shares always give the same numbers.
    for place in np.argsort(whole - exact, kind="stable")[: count - int(whole.sum())]:
        whole[place] += 1
    return [int(n) for n in whole]


class HardNegatives:
    """For each target, items drawn from those nearest to it by the current item vectors (cosine).

    Args:
        count: H, items drawn per position.
        pool: M, nearest items that they are drawn from.
        seed: with the epoch of a refresh it decides which items of a large catalog are looked at.
    """

    def __init__(self, count: int, pool: int, seed: int) -> None:
        self.count = count
        self._pool = pool
        self._seed = seed
        self.nearest: npt.NDArray[np.int32] | None = None

    def refresh(self, vectors: Tensor, epoch: int) -> None:
        """Mine again from (N, D) item vectors."""
        rng = np.random.default_rng((self._seed, epoch, len(vectors)))
        self.nearest = nearest_items(vectors, self._pool, rng)

    def draw(self, rng: np.random.Generator, targets: IntArray) -> IntArray:
        """(P, H) item rows for (P,) targets; a target itself where its catalog holds nothing else."""
        if self.nearest is None or not self.nearest.shape[1]:
            return np.repeat(targets[:, None], self.count, axis=1)
        places = rng.integers(self.nearest.shape[1], size=(len(targets), self.count))
        return self.nearest[targets[:, None], places].astype(np.int64)


@torch.no_grad()
def nearest_items(vectors: Tensor, count: int, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """(N, M) the nearest other items of each item by cosine, M <= count, among `MINED_AMONG` items at most.

    Args:
        vectors: (N, D) item vectors.
        count: neighbours wanted.
        rng: chooses among which items of a large catalog they are looked for.
    """
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
    """Hard negatives without those that may be true positives: what the session likes nearly as well as its target.

    A score above `s+ - (1 - margin) |s+|`, which is `margin` times a positive s+, excludes an item (de Souza P. Moreira
    et al., 2024: NV-Retriever). What is excluded becomes the target itself, which every loss masks out.

    Args:
        own: (P, H) hard negatives.
        scores: (P, H) their scores.
        positive: (P,) scores of the targets.
        targets: (P,) items.
        margin: at most one; the lower, the more is excluded.

    Returns:
        (P, H) items.
    """
    limit = positive.detach() - (1 - margin) * positive.detach().abs()
    return torch.where(scores.detach() > limit[:, None], targets[:, None], own)

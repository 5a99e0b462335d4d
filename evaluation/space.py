"""What an embedding space is like by itself, whatever is recommended from it: isotropy, crowding, neighbours in kind.

Embeddings are (N, D) rows; rows that are zero say nothing of an item and are left out by whoever calls.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..arrays import AnyFloatArray, DoubleArray, FloatArray, IntArray
from .lists import unit_content

NEIGHBOURS = 10
PAIRS = 10_000
# Similarities that are held at once.
BLOCK = 4_000_000


def isotropy(embeddings: AnyFloatArray) -> float:
    """Smallest over largest singular value of the centred embeddings, 0 to 1; higher is better.

    Of D columns, or N - 1 where there are fewer items than that. One lost direction makes it 0, so read it beside
    `partition_isotropy`.
    """
    values = _singular_values(embeddings)
    return float(values[-1] / values[0]) if len(values) and values[0] > 0 else 0.0


def partition_isotropy(embeddings: AnyFloatArray) -> float:
    """`min Z(c) / max Z(c)` over the eigenvectors c of X^T X, Z(c) = sum of exp(<c, x>); 0 to 1, higher is better.

    Mu & Viswanath, 2018. An eigenvector has no sign, so both are taken; rows are scaled to a mean length of one, so
    that spaces of any scale compare.
    """
    x = np.asarray(embeddings, np.float64)
    x = x / max(float(np.linalg.norm(x, axis=1).mean()), 1e-12)
    _, directions = np.linalg.eigh(x.T @ x)  # (D, D), by columns
    partition = np.exp(x @ np.concatenate([directions, -directions], axis=1)).sum(axis=0)  # (2 D,)
    return float(partition.min() / partition.max())


def mean_cosine(embeddings: FloatArray, seed: int = 0) -> float:
    """Mean cosine of 10,000 random pairs of two different items; -1 to 1, near 0 is best."""
    unit = unit_content(embeddings)
    if len(unit) < 2:
        return float("nan")
    rng = np.random.default_rng(seed)
    one = rng.integers(len(unit), size=PAIRS)
    other = (one + rng.integers(1, len(unit), size=PAIRS)) % len(unit)
    return float(np.einsum("nd,nd->n", unit[one], unit[other], dtype=np.float64).mean())


def nearest(embeddings: FloatArray, k: int = NEIGHBOURS) -> IntArray:
    """(N, k) rows of the k nearest by cosine, the item itself left out, in no order; `k` is at most N - 1."""
    unit = unit_content(embeddings)
    return np.concatenate([np.argpartition(-scores, k - 1, axis=1)[:, :k] for scores in _similarities(unit)])


def hubness(neighbours: IntArray) -> float:
    """Skewness of how often an item is among the (N, k) nearest of others; 0 where all are alike, lower is better.

    Radovanovic et al., 2010.
    """
    counts = np.bincount(neighbours.ravel(), minlength=len(neighbours)).astype(np.float64)
    deviation = counts.std()
    return float((((counts - counts.mean()) / deviation) ** 3).mean()) if deviation > 0 else 0.0


def neighbourhood_consistency(neighbours: IntArray, kinds: IntArray) -> float:
    """Mean share of an item's (N, k) nearest that are of its own kind, such as its leaf category; 0 to 1.

    `kinds` (N,) is -1 for an item of no known kind, which neither asks nor counts; NaN where no two are known.
    """
    known = kinds >= 0
    asked = neighbours[known]
    counted = known[asked]  # (M, k)
    same = (kinds[asked] == kinds[known][:, None]) & counted
    told = counted.sum(axis=1)
    return float((same.sum(axis=1)[told > 0] / told[told > 0]).mean()) if (told > 0).any() else float("nan")


def _singular_values(embeddings: AnyFloatArray) -> DoubleArray:
    """All that can differ from zero, largest first."""
    x = np.asarray(embeddings, np.float64)
    if len(x) < 2:
        return np.zeros(0)
    values: DoubleArray = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    return values[: min(x.shape[1], len(x) - 1)]


def _similarities(unit: FloatArray) -> Iterator[FloatArray]:
    """(b, N) blocks of cosines, each item's with itself below all others."""
    size = max(1, BLOCK // max(1, len(unit)))
    for start in range(0, len(unit), size):
        scores: FloatArray = unit[start : start + size] @ unit.T
        scores[np.arange(len(scores)), start + np.arange(len(scores))] = -2.0
        yield scores

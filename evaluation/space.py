"""What an embedding space is like by itself, whatever is recommended from it: isotropy, crowding, neighbours in kind.

Embeddings are (N, D) rows; rows that are zero say nothing of an item and are left out by whoever calls. Neighbours are
(N, k) rows, found by whoever calls. `measure_space` has all of them by their names in the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..arrays import AnyFloatArray, BoolArray, DoubleArray, FloatArray, IntArray
from .bootstrap import LEVEL, RESAMPLES, SEED, Estimate, mean_interval
from .lists import unit_content

NEIGHBOURS = 10
PAIRS = 10_000


@dataclass(frozen=True)
class Neighbourhoods:
    """Who is near to whom among N items, and of what kind they are."""

    nearest: IntArray  # (N, k)
    kinds: Mapping[str, IntArray]  # metric, such as `same_brand`, to (N,) numbers, -1 for an item of no known kind

    @property
    def occurrences(self) -> IntArray:
        """(N,) times that an item is among the nearest of another: N_k."""
        return np.bincount(self.nearest.ravel(), minlength=len(self.nearest))


def measure_space(
    embeddings: FloatArray, around: Neighbourhoods | None, rows: BoolArray | None = None
) -> dict[str, Estimate | float]:
    """The intrinsic metrics of (N, D) embeddings or of some `rows` (N,) of them; neighbours are among all N.

    With a 95 % interval where a metric is a mean over items or pairs, or a statistic of how often each occurs; what is
    a property of the matrix as a whole has none. What cannot be told is left out.
    """
    rows = np.ones(len(embeddings), np.bool_) if rows is None else rows
    own = embeddings[rows]
    if len(own) < 2:
        return {}
    values = singular_values(own)
    found: dict[str, Estimate | float] = {
        "isotropy": _ratio(values),
        "partition_isotropy": partition_isotropy(own),
        "effective_rank": _effective_rank(values),
        "mean_cosine": mean_interval(pair_cosines(own)),
    }
    if around is not None:
        counts = around.occurrences[rows]
        found |= {"hubness": hubness_interval(counts), "anti_hubs": mean_interval((counts == 0).astype(np.float64))}
        for name, kinds in around.kinds.items():
            asked = kinds if rows.all() else np.where(rows, kinds, -1)
            shares = same_kind_shares(around.nearest, kinds, asked >= 0)
            if len(shares):
                found[name] = mean_interval(shares)
    return found


def isotropy(embeddings: AnyFloatArray) -> float:
    """Smallest over largest singular value of the centred embeddings, 0 to 1; higher is better.

    Of D columns, or N - 1 where there are fewer items than that. One lost direction makes it 0, so read it beside
    `partition_isotropy`.
    """
    return _ratio(singular_values(embeddings))


def effective_rank(embeddings: AnyFloatArray) -> float:
    """exp of the entropy of the singular values as shares, 1 to D: how many directions are used (Roy & Vetterli, 2007).

    0 where all items are at one point.
    """
    return _effective_rank(singular_values(embeddings))


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
    return float(pair_cosines(embeddings, seed).mean()) if len(embeddings) > 1 else float("nan")


def pair_cosines(embeddings: FloatArray, seed: int = 0) -> DoubleArray:
    """(P,) cosines of 10,000 random pairs of two different items."""
    unit = unit_content(embeddings)
    rng = np.random.default_rng(seed)
    one = rng.integers(len(unit), size=PAIRS)
    other = (one + rng.integers(1, len(unit), size=PAIRS)) % len(unit)
    return np.asarray(np.einsum("nd,nd->n", unit[one], unit[other], dtype=np.float64))


def hubness(neighbours: IntArray) -> float:
    """Skewness of how often an item is among the (N, k) nearest of others; 0 where all are alike, lower is better.

    Radovanovic et al., 2010.
    """
    counts = np.bincount(neighbours.ravel(), minlength=len(neighbours))
    distinct, times = np.unique(counts, return_counts=True)
    return float(_skewness(distinct, times[None])[0])


def anti_hubs(neighbours: IntArray) -> float:
    """Share of items that are among the (N, k) nearest of no other; 0 to 1, lower is better."""
    return float((np.bincount(neighbours.ravel(), minlength=len(neighbours)) == 0).mean())


def hubness_interval(counts: IntArray) -> Estimate:
    """Skewness of (N,) occurrences with its percentile bootstrap interval over the items, their neighbours given."""
    distinct, times = np.unique(counts, return_counts=True)  # (K,)
    # Occurrences have few values however many items there are, so a resample is how often each comes up.
    drawn = np.random.default_rng(SEED).multinomial(len(counts), times / len(counts), size=RESAMPLES)  # (R, K)
    low, high = np.quantile(_skewness(distinct, drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(_skewness(distinct, times[None])[0]), float(low), float(high))


def same_kind_shares(neighbours: IntArray, kinds: IntArray, asked: BoolArray | None = None) -> DoubleArray:
    """Share of each item's (N, k) nearest that are of its own kind, such as its leaf category; (M,) from 0 to 1.

    `kinds` (N,) is -1 for an item of no known kind, which neither asks nor counts; of the others those `asked` (N,).
    """
    known = kinds >= 0
    asking = known if asked is None else known & asked
    near = neighbours[asking]
    counted = known[near]  # (M, k)
    same = (kinds[near] == kinds[asking][:, None]) & counted
    told = counted.sum(axis=1)
    return np.asarray(same.sum(axis=1)[told > 0] / told[told > 0])


def neighbourhood_consistency(neighbours: IntArray, kinds: IntArray) -> float:
    """Mean of `same_kind_shares`; NaN where no two items are of known kinds."""
    shares = same_kind_shares(neighbours, kinds)
    return float(shares.mean()) if len(shares) else float("nan")


def singular_values(embeddings: AnyFloatArray) -> DoubleArray:
    """All singular values of the centred embeddings that can differ from zero, largest first."""
    x: DoubleArray = np.asarray(embeddings, np.float64)
    if len(x) < 2:
        return np.zeros(0)
    x = x - x.mean(axis=0)
    # Of a tall matrix the triangle of its QR has the same values, and D rows instead of N.
    triangle: AnyFloatArray = np.linalg.qr(x).R if len(x) > 2 * x.shape[1] else x
    values = np.asarray(np.linalg.svd(triangle, compute_uv=False), np.float64)
    return values[: min(x.shape[1], len(embeddings) - 1)]


def _ratio(values: DoubleArray) -> float:
    return float(values[-1] / values[0]) if len(values) and values[0] > 0 else 0.0


def _effective_rank(values: DoubleArray) -> float:
    shares = values[values > 0] / max(float(values.sum()), 1e-300)
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0


def _skewness(values: IntArray, times: IntArray) -> DoubleArray:
    """(R,) skewness of the (K,) values as often as each of R rows (R, K) says; 0 where all are equal."""
    shares = times / times.sum(axis=1, keepdims=True)
    distances = values - (shares @ values)[:, None]  # (R, K)
    variance = (shares * distances**2).sum(axis=1)
    third = (shares * distances**3).sum(axis=1)
    varied = variance > 0
    return np.where(varied, third / np.where(varied, variance, 1.0) ** 1.5, 0.0)

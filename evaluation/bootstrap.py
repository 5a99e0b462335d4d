"""Percentile bootstrap over users, seeded: how sure a mean, or a difference of two means, is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import DoubleArray
from ..errors import InvalidDataError, UsageError

RESAMPLES = 1000
LEVEL = 0.95
SEED = 20_170_101  # fixed, so that the same evaluation prints the same interval again
# Resamples are drawn in blocks of at most this many numbers.
_MAX_CELLS = 1 << 21
# Drawing one multinomial count costs about as much as drawing this many users.
_COUNT_COST = 8


@dataclass(frozen=True)
class Estimate:
    """A mean over users with the interval that holds it at the chosen level."""

    value: float
    low: float
    high: float


def mean_interval(values: DoubleArray, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = SEED) -> Estimate:
    """Mean of `values` (U,) with its percentile bootstrap interval (Efron 1979)."""
    if len(values) == 0 or np.isnan(values).any():
        raise InvalidDataError(f"Cannot resample {len(values)} values with gaps; evaluate at least one user first.")
    means = _resampled_means(values, resamples, np.random.default_rng(seed))
    # Percentiles rather than a normal interval: hit rates and MRR of a few users are skewed.
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high))


def _resampled_means(values: DoubleArray, resamples: int, rng: np.random.Generator) -> DoubleArray:
    """(R,) means of samples of U users drawn with replacement."""
    n_users = len(values)
    distinct, counts = np.unique(values, return_counts=True)  # (K,)
    if len(distinct) == 1:
        # Every sample is the same; adding it up in another order would put the mean outside its own interval.
        return np.full(resamples, values.mean())
    # Hit rates have two values however many users there are: a multinomial draw of how often each comes up is the same
    # experiment, and far cheaper.
    by_value = len(distinct) * _COUNT_COST < n_users
    ordered = np.sort(values)  # so that the order of the users changes no draw
    step = max(1, _MAX_CELLS // (len(distinct) if by_value else n_users))
    blocks = []
    for start in range(0, resamples, step):
        block = min(step, resamples - start)
        if by_value:
            drawn = rng.multinomial(n_users, counts / n_users, size=block)  # (r, K)
            blocks.append(drawn @ distinct / n_users)
        else:
            users = rng.integers(n_users, size=(block, n_users), dtype=np.int32)
            blocks.append(ordered[users].mean(axis=1))
    return np.concatenate(blocks)


def paired_difference(a: DoubleArray, b: DoubleArray, level: float = LEVEL) -> Estimate:
    """Mean of `a - b` with its interval; entry u of both, (U,), belongs to the same user."""
    if len(a) != len(b):
        raise UsageError(f"Cannot pair {len(a)} users with {len(b)}; evaluate both systems on the same users.")
    return mean_interval(a - b, level=level)


def quantile_interval(values: DoubleArray, level: float, confidence: float = LEVEL) -> Estimate:
    """The quantile of `values` (U,) at `level`, such as 0.99 of latencies, with its percentile bootstrap interval."""
    if len(values) == 0 or np.isnan(values).any():
        raise InvalidDataError(f"Cannot resample {len(values)} values with gaps; measure at least one first.")
    ordered = np.sort(values)
    drawn = np.random.default_rng(SEED).integers(len(ordered), size=(RESAMPLES, len(ordered)), dtype=np.int32)
    found = np.quantile(ordered[drawn], level, axis=1)
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(np.quantile(ordered, level)), float(low), float(high))

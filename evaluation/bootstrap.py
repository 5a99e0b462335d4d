"""Percentile bootstrap over users: how sure a mean, or a difference of two means, is.

Seeded, and independent of the order of the users. Equal values are resampled together (a multinomial draw of how often
each distinct value comes up is the same experiment), so 100,000 users with a few hundred distinct values cost little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InvalidDataError, UsageError

RESAMPLES = 2000
LEVEL = 0.95
SEED = 20_170_101
# Resamples are drawn in blocks of at most this many counts.
_MAX_CELLS = 1 << 21


@dataclass(frozen=True)
class Estimate:
    """A mean over users with the interval that holds it at the chosen level."""

    value: float
    low: float
    high: float


def mean_interval(
    values: npt.NDArray[np.float64], resamples: int = RESAMPLES, level: float = LEVEL, seed: int = SEED
) -> Estimate:
    """Mean of `values` (U,) with its percentile bootstrap interval (Efron 1979).

    Raises:
        InvalidDataError: there is no user to average over, or a value is NaN.
    """
    if len(values) == 0 or np.isnan(values).any():
        raise InvalidDataError(f"Cannot resample {len(values)} values with gaps; evaluate at least one user first.")
    distinct, counts = np.unique(values, return_counts=True)
    means = _resampled_means(distinct, counts, resamples, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high))


def _resampled_means(
    distinct: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], resamples: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """(R,) means of samples of sum(counts) users drawn with replacement; distinct and counts are (K,)."""
    n_users = int(counts.sum())
    step = max(1, _MAX_CELLS // len(distinct))
    blocks = []
    for start in range(0, resamples, step):
        drawn = rng.multinomial(n_users, counts / n_users, size=min(step, resamples - start))  # (r, K)
        blocks.append(drawn @ distinct / n_users)
    return np.concatenate(blocks)


def paired_difference(
    a: npt.NDArray[np.float64],
    b: npt.NDArray[np.float64],
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> Estimate:
    """Mean of `a - b` with its interval; entry u of both, (U,), belongs to the same user.

    Raises:
        UsageError: the two have different numbers of users.
    """
    if len(a) != len(b):
        raise UsageError(f"Cannot pair {len(a)} users with {len(b)}; evaluate both systems on the same users.")
    return mean_interval(a - b, resamples, level, seed)

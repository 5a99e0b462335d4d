"""Who is nearest to whom within one set of vectors, exactly, by FAISS in blocks."""

from __future__ import annotations

import numpy as np

from ..arrays import FloatArray, IntArray
from .faiss import library

# Questions of one call: FAISS holds the scores of a part of them only, so this bounds the answers alone.
_BLOCK = 16_384


def nearest_others(vectors: FloatArray, k: int) -> IntArray:
    """(N, k) rows of the k nearest to each of the (N, D) vectors by cosine, itself left out, the nearest first.

    `k` is at most N - 1. A vector of zeros is as far from every other.
    """
    unit = np.ascontiguousarray(vectors, np.float32).copy()
    library.normalize_L2(unit)
    k = min(k, len(unit) - 1)
    if k < 1:
        return np.zeros((len(unit), 0), np.int64)
    found = np.empty((len(unit), k), np.int64)
    for start in range(0, len(unit), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(unit)))
        _, near = library.knn(unit[rows], unit, k + 1, metric=library.METRIC_INNER_PRODUCT)
        own = near == rows[:, None]
        # Among many equal ones an item may not be in its own list: then the last of them gives way.
        own[~own.any(axis=1), -1] = True
        found[rows] = near[~own].reshape(len(rows), k)
    return found

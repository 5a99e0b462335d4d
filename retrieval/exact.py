"""Exact answers in plain arithmetic: the true inner products that every index kind is ranked by in the end.

Nearest rows by comparing with every vector serve where a structure has nothing to offer: few rows, or its leftovers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..arrays import DoubleArray, FloatArray, IntArray

# Numbers held at once while rows are scored: 64 MiB of double precision, or 32 MiB of single.
_BLOCK = 1 << 23
# Scores are what is shown of them: the last bits of a vector depend on the library, its threads and the batch in which
# an item was embedded, and must not order what is alike.
DIGITS = 6


def rounded(scores: DoubleArray) -> DoubleArray:
    """Scores to the digits that count."""
    return np.round(scores, DIGITS) + 0.0  # never -0


def inner_products(vectors: FloatArray, queries: FloatArray) -> DoubleArray:
    """(B, n) products of (B, n, D) vectors with (B, D) queries, `rounded`.

    Row by row in double precision: a library's own sums depend on what else is in the batch.
    """
    return rounded(np.einsum("bnd,bd->bn", vectors.astype(np.float64), queries.astype(np.float64)))


def scores_of(vectors: FloatArray, query: FloatArray, rows: IntArray) -> DoubleArray:
    """(n,) products of some rows of (N, D) vectors with a (D,) query, as `inner_products`, block by block."""
    found, step = np.empty(len(rows), np.float64), max(1, _BLOCK // max(1, vectors.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        found[part] = inner_products(vectors[rows[part]][None], query[None])[0]
    return found


def best_first(vectors: FloatArray, queries: FloatArray, rows: IntArray) -> tuple[IntArray, DoubleArray]:
    """The (B, n) rows found for (B, D) queries in the order of their true scores, and these; equal ones go by row.

    An empty place (row -1) comes last with a score of minus infinity.
    """
    rows = np.sort(rows, axis=1)
    scores = np.empty(rows.shape, np.float64)
    step = max(1, _BLOCK // max(1, rows.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        if step > 1:
            scores[part] = inner_products(vectors[rows[part]], queries[part])
        else:
            scores[start] = scores_of(vectors, queries[start], rows[start])
    scores[rows < 0] = -np.inf
    order, every = np.argsort(-scores, axis=1, kind="stable"), np.arange(len(rows))[:, None]
    return rows[every, order], scores[every, order]


def likely_first(vectors: FloatArray, queries: FloatArray, rows: IntArray, k: int) -> IntArray:
    """The (B, k) best of the (B, n) rows found for (B, D) queries, best first to single precision."""
    found = np.empty((len(rows), min(k, rows.shape[1])), np.int64)
    step = max(1, _BLOCK // max(1, rows.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        own = rows[part]
        every = np.arange(len(own))[:, None]
        gathered = vectors.take(own.ravel(), axis=0).reshape(*own.shape, -1)
        scores = np.matmul(gathered, queries[part, :, None])[:, :, 0]
        scores[own < 0] = -np.inf
        if k < rows.shape[1]:
            top = np.argpartition(scores, -k, axis=1)[:, -k:]
            own, scores = own[every, top], scores[every, top]
        found[part] = own[every, np.argsort(-scores, axis=1)]
    return found


def nearest(vectors: FloatArray, queries: FloatArray, k: int, rows: IntArray | None = None) -> IntArray:
    """(B, k) rows of the largest inner products, best first, of all (N, D) vectors or of some ascending `rows`.

    In single precision, a block of vectors at a time, so that they may lie on the disk; `k` is at most their number.
    """
    best = np.full((len(queries), k), -np.inf, np.float32)
    found = np.full((len(queries), k), -1, np.int64)
    for numbers, block in _blocks(vectors, rows, len(queries)):
        scores = queries @ block.T  # (B, n)
        if k < len(numbers):
            top = np.argpartition(scores, -k, axis=1)[:, -k:]
            scores, numbers = np.take_along_axis(scores, top, axis=1), numbers[top]
        both = np.hstack([best, scores])
        held = np.hstack([found, np.broadcast_to(numbers, scores.shape)])
        order = np.argsort(-both, axis=1, kind="stable")[:, :k]
        best, found = np.take_along_axis(both, order, axis=1), np.take_along_axis(held, order, axis=1)
    return found


def _blocks(vectors: FloatArray, rows: IntArray | None, n_queries: int) -> Iterator[tuple[IntArray, FloatArray]]:
    """Rows by number with their vectors, as many at a time as there is room for."""
    step = max(1024, _BLOCK // max(vectors.shape[1], n_queries, 1))
    for start in range(0, len(vectors) if rows is None else len(rows), step):
        if rows is None:
            block = vectors[start : start + step]
            yield np.arange(start, start + len(block)), block
        else:
            yield rows[start : start + step], vectors[rows[start : start + step]]

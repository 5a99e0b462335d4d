"""What texts and pictures of one catalog know of each other: how far they agree, and what a picture says in words."""

from __future__ import annotations

import numpy as np

from ..arrays import FloatArray, IntArray
from .calibration import unit_rows

# Items that have both, below which a catalog says nothing of either; of more, so many are compared with each other.
FEWEST, COMPARED = 50, 1500
# Of the ridge, relative to the mean variance of a column: what was best on products that the fit had not seen.
RIDGE = 1.0


def agreement(text: FloatArray, image: FloatArray) -> float | None:
    """Correlation, over pairs of N items, of how alike their texts (N, Rt) and their pictures (N, Ri) are.

    Representational similarity analysis, Kriegeskorte et al., 2008. None where fewer than `FEWEST` items have both.
    """
    rows = np.flatnonzero(text.any(axis=1) & image.any(axis=1))
    if len(rows) < FEWEST:
        return None
    rows = np.random.default_rng(0).permutation(rows)[:COMPARED]
    pairs = np.triu_indices(len(rows), 1)
    texts, pictures = ((own[rows] @ own[rows].T)[pairs] for own in (text, image))
    if min(float(texts.std()), float(pictures.std())) < 1e-6:  # all texts, or all pictures, are one
        return 0.0
    return float(np.corrcoef(texts, pictures)[0, 1])


def fit_image_to_text(text: FloatArray, image: FloatArray) -> FloatArray | None:
    """(Ri, Rt) the ridge regression `(X'X / N + l I)^-1 X'Y / N` of texts (N, Rt) on pictures (N, Ri).

    Hoerl & Kennard, 1970. None where fewer than `FEWEST` items have both.
    """
    both = text.any(axis=1) & image.any(axis=1)
    n, width = int(both.sum()), image.shape[1]
    if n < FEWEST:
        return None
    x, y = image[both].astype(np.float64), text[both].astype(np.float64)
    moments = x.T @ x / n  # (Ri, Ri)
    ridge = RIDGE * max(float(np.trace(moments)) / width, 1e-12)
    return np.linalg.solve(moments + ridge * np.eye(width), x.T @ y / n).astype(np.float32)


def recall(queries: FloatArray, found: FloatArray, groups: IntArray, k: int) -> float:
    """Share of N queries (N, R) whose own row is among the nearest k of `found` (N, R), ties shared.

    Other rows of a query's group (N,) are no wrong answers and are left out: colours of one product under one text.
    """
    if not len(queries):
        return 0.0
    scores = queries @ found.T  # (N, N)
    twins = groups[:, None] == groups[None, :]
    np.fill_diagonal(twins, False)
    own = np.diag(scores)[:, None]
    scores = np.where(twins, -np.inf, scores)
    ranks = 1 + (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2
    return float((ranks <= k).mean())


def in_text_space(image: FloatArray, image_to_text: FloatArray) -> FloatArray:
    """(N, Rt) unit vectors of what (N, Ri) pictures say in words; zero where there is no picture."""
    return unit_rows(image @ image_to_text)

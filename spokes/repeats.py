"""What a shopper took before, counted: the one thing of a session that no product of two vectors can tell.

Two items of one text have one content embedding, and only the shopper's own past says which of them is taken again.
"""

from __future__ import annotations

import numpy as np

from ..arrays import FloatArray, IntArray
from ..catalog.sequences import History

# The last events that count: as many as a protocol shows to a recommender.
REPEAT_EVENTS = 50


def given_to(rows: IntArray, lifted: tuple[IntArray, FloatArray]) -> FloatArray:
    """(K,) what each of some rows is given by `lifted`, (M,) rows in order and values; zero where it is not among them.

    `taken_before` has its rows in order.
    """
    known, values = lifted
    if not len(known):
        return np.zeros(len(rows), np.float32)
    places = np.minimum(np.searchsorted(known, rows), len(known) - 1)
    return np.where(known[places] == rows, values[places], np.float32(0.0))


def taken_before(history: IntArray | History) -> tuple[IntArray, FloatArray]:
    """The (M,) rows of the items of the last events, each once, and the logarithm of 1 + how often each was taken."""
    rows, times = np.unique(np.asarray(history, dtype=np.int64)[-REPEAT_EVENTS:], return_counts=True)
    return rows, np.log1p(times).astype(np.float32)

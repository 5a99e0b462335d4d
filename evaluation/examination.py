"""How likely a shopper looks at a place of a list, estimated from lists that were partly drawn at random."""

from __future__ import annotations

import numpy as np

from ..arrays import DoubleArray, IntArray
from ..errors import InvalidDataError

# Clicks that a place needs at least, or its examination is a guess.
LEAST_CLICKS = 10


def examination_by_rank(ranks: IntArray, clicks: DoubleArray, placed: DoubleArray) -> DoubleArray:
    """(K,) examination of places 1 to K against the first: clicks weighted by 1 / P(this product at this place).

    Weighted so, each place shows the same products, and only the place is left to differ; it needs every product to
    have had a chance at every place. `ranks` (R,) count from 1. No place is taken to be looked at more than the first.
    """
    if len(ranks) == 0 or ranks.min() < 1:
        raise InvalidDataError("Places count from 1, and at least one impression is needed; check the ranks.")
    if not ((placed > 0) & (placed <= 1)).all():
        raise InvalidDataError(
            "Some impressions lack a probability above 0 and at most 1 of being placed where they were; log it."
        )
    clicked = np.bincount(ranks, weights=clicks)[1:]
    scarce = np.flatnonzero(clicked < LEAST_CLICKS)
    if len(scarce):
        raise InvalidDataError(
            f"Place {scarce[0] + 1} has {clicked[scarce[0]]:g} clicks, and {LEAST_CLICKS} are the least to tell how "
            "likely it is looked at; log longer, or leave out the places from there on."
        )
    rates = np.bincount(ranks, weights=clicks / placed)[1:] / np.bincount(ranks, weights=1 / placed)[1:]
    return np.asarray(np.minimum(rates / rates[0], 1.0))


def exposures(placements: DoubleArray, examination: DoubleArray) -> DoubleArray:
    """(R,) chance that a product is looked at, from its chances (R, K) at each place and what a place is worth (K,)."""
    return placements @ examination


def discounted(places: int) -> DoubleArray:
    """(K,) examination that is assumed where none was measured: 1 / log2(1 + rank), the discount of NDCG."""
    return np.asarray(1 / np.log2(1 + np.arange(1, places + 1)))

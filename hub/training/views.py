"""Two views of one item: what its text says, dealt to two texts that have half of it each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl

from ...arrays import BoolArray
from ..encoders.text import item_texts

# A field that so many of a catalog's items share in the same words says nothing of one of them.
COMMON = 0.1


def two_views(items: pl.DataFrame, fields: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """Two texts for each of N items, both empty where there is too little to be dealt.

    The fields of an item are dealt at random, each whole (as title against description); where only one of them says
    anything of its own, its words are. Views of one text by cropping: Contriever, Izacard et al., 2022.
    """
    rng, kept = np.random.default_rng(seed), []
    for written in (item_texts(items.select(own), [own]) for own in fields if own in items.columns):
        times = Counter(written)
        most = max(1.0, COMMON * len(written))
        kept.append([text if times[text] <= most else "" for text in written])
    first, second = [], []
    for row in zip(*kept, strict=True):
        parts, joint = [text for text in row if text], ". "
        if len(parts) == 1:
            parts, joint = parts[0].split(), " "
        ours = _half(len(parts), rng) if len(parts) > 1 else np.zeros(len(parts), np.bool_)
        views = [joint.join(part for part, own in zip(parts, side, strict=True) if own) for side in (ours, ~ours)]
        first.append(views[0] if len(parts) > 1 else "")
        second.append(views[1] if len(parts) > 1 else "")
    return first, second


def _half(n: int, rng: np.random.Generator) -> BoolArray:
    """(n,) true for half of n >= 2 parts, the odd one on either side."""
    chosen = np.zeros(n, np.bool_)
    chosen[rng.permutation(n)[: n // 2 + int(rng.integers(0, 1 + n % 2))]] = True
    return chosen

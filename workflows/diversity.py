"""What a list does not repeat: one product in several rows, and, where asked for, products that are much alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import DoubleArray, FloatArray, IntArray

if TYPE_CHECKING:
    import polars as pl

# As feeds name the product that several items are variants of.
GROUP = "item_group_id"
# A picture of more items than this shows none of them: it stands for a missing one.
SHARED_PICTURE = 10
# The best so many are spread out; a constant, so that a longer list begins with the shorter one.
SPREAD = 100


def duplicate_groups(items: pl.DataFrame) -> IntArray:
    """(N,) the same number for items that are one product: of one group id, one text, or one first picture.

    Items of a chain (the first has the text of the second, which has the picture of the third) are one product.
    """
    import polars as pl

    text = pl.concat_str(pl.col("title"), pl.col("description").fill_null(""), separator=" ")
    words = text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()
    pairs = pl.col("attributes").list.eval(pl.element().filter(pl.element().struct.field("key") == GROUP))
    picture = pl.col("image_sha256").list.first()
    keys = items.select(
        pairs.list.first().struct.field("value").alias("group"),
        pl.when(words != "").then(words).alias("text"),
        pl.when(pl.len().over(picture) <= SHARED_PICTURE).then(picture).alias("picture"),
    ).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"))
    again = [
        keys.select("row", pl.col("row").first().over(name).alias("first"), present=pl.col(name).is_not_null())
        .filter(pl.col("present") & (pl.col("row") != pl.col("first")))
        .select("row", "first")
        for name in ("group", "text", "picture")
    ]
    return connected(items.height, pl.concat(again).to_numpy())


def connected(n: int, pairs: IntArray) -> IntArray:
    """(N,) the smallest row that each of N rows is connected with by pairs (P, 2), in few passes however long a chain.

    A pass hands the smaller number of a pair on to both rows and to those that they were numbered after, and so joins
    whole components (Zhang, Azad and Hu, FastSV, 2020).
    """
    numbers = np.arange(n, dtype=np.int64)
    while True:
        before = numbers.copy()
        ends = before[pairs]  # (P, 2)
        lower = ends.min(axis=1)
        for rows in (*pairs.T, *ends.T):
            np.minimum.at(numbers, rows, lower)
        numbers = numbers[numbers]
        if (numbers == before).all():
            return numbers


def first_of_each(
    ranked: Iterable[tuple[int, float]],
    groups: IntArray,
    shown: Sequence[int] = (),
    arrange: Callable[[Iterator[tuple[int, float]]], Iterable[tuple[int, float]]] = iter,
) -> Iterator[tuple[int, float]]:
    """The ranking with the best row of each group, then what it had more of them; `shown` rows stand before it.

    `arrange` gives the best rows another order.
    """
    again = []

    def firsts() -> Iterator[tuple[int, float]]:
        seen = {int(groups[row]) for row in shown}
        for row, score in ranked:
            if (group := int(groups[row])) in seen:
                again.append((row, score))
            else:
                seen.add(group)
                yield row, score

    yield from arrange(firsts())
    yield from again


def passed_over(
    ranked: Iterable[tuple[int, float]], vectors: FloatArray, near: float, shown: Sequence[int] = ()
) -> Iterator[tuple[int, float]]:
    """The ranking with those of the best `SPREAD` rows behind the others of them that are near to a row before them.

    Near is a cosine of `near` or more; `vectors` are (N, D), and `shown` rows stand before the ranking.
    """
    following, again = iter(ranked), []
    placed = [_unit(vectors[[row]])[0] for row in shown]
    for row, score in islice(following, SPREAD):
        own = _unit(vectors[[row]])[0]  # (D,)
        if any(_told_apart(own @ other) >= near for other in placed):
            again.append((row, score))
        else:
            placed.append(own)
            yield row, score
    yield from again
    yield from following


def spread_out(
    ranked: Iterable[tuple[int, float]], vectors: FloatArray, diversity: float
) -> Iterator[tuple[int, float]]:
    """The best `SPREAD` rows in an order of maximal marginal relevance, then the rest as it was ranked.

    Each place goes to the row with the largest (1 - diversity) x score - diversity x (largest cosine to a row placed
    before it), scores between 0 and 1 (Carbonell and Goldstein, SIGIR 1998). `vectors` are (N, D).
    """
    following = iter(ranked)
    best = list(islice(following, SPREAD))
    if best:
        rows = np.array([row for row, _ in best])
        scores = np.array([score for _, score in best], dtype=np.float64)
        reach = float(scores.max() - scores.min())
        relevance = (scores - scores.min()) / reach if reach else np.ones_like(scores)
        own = _unit(vectors[rows])
        cosines = _told_apart(own @ own.T)  # (S, S)
        nearest = np.zeros(len(rows))  # an item unlike all before it is not preferred to the first
        left = np.ones(len(rows), dtype=bool)
        for _ in range(len(rows)):
            value = np.where(left, (1 - diversity) * relevance - diversity * nearest, -np.inf)
            place = int(value.argmax())
            left[place] = False
            nearest = np.maximum(nearest, cosines[place])
            yield best[place]
    yield from following


def _told_apart(cosines: Any) -> Any:
    """Cosines without the last bits, which are not the same for rows that are alike."""
    return np.round(cosines, 9)


def _unit(vectors: FloatArray) -> DoubleArray:
    """Vectors (N, D) of length one; a zero vector stays, and is like no other."""
    unit: DoubleArray = vectors.astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    return unit

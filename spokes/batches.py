"""Length-bucketed training batches over flat sequences: little padding, no per-sequence Python work.

Sequences longer than the window are cut, from the end, into windows that overlap by one event, so that every
transition between two events is trained exactly once an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..catalog.sequences import IntArray, Sequences

PADDING = -1
MASK = -2


@dataclass(frozen=True)
class Batch:
    """B windows of up to T transitions, padded on the right.

    Attributes:
        inputs: (B, T) item rows, `MASK` where an item is hidden, `PADDING` where a window has ended.
        targets: (B, T) the item to predict at each position, `PADDING` where there is none.
    """

    inputs: IntArray
    targets: IntArray

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """(B, T) true on real positions: what attention may see."""
        valid: npt.NDArray[np.bool_] = self.inputs != PADDING
        return valid

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        """(B, T) true on positions with a target: what the loss sees."""
        scored: npt.NDArray[np.bool_] = self.targets != PADDING
        return scored


class BucketedBatches:
    """Batches of windows of similar length, in a new random order every epoch.

    Args:
        sequences: training sequences; those with fewer than two events hold no transition and are ignored.
        max_length: transitions in a window, T at most.
        tokens: positions in a batch, B * T at most; batches of short windows hold more of them.
        seed: with the epoch's number it decides the order, so a resumed training sees the same batches.
    """

    def __init__(self, sequences: Sequences, *, max_length: int, tokens: int, seed: int) -> None:
        self._items = sequences.items
        self._starts, self._lengths = windows(sequences, max_length)
        self._tokens = tokens
        self._seed = seed

    @property
    def n_transitions(self) -> int:
        """Transitions trained per epoch."""
        return int(self._lengths.sum() - len(self._lengths))

    @property
    def n_windows(self) -> int:
        """Windows per epoch."""
        return len(self._lengths)

    def epoch(self, number: int) -> Iterator[Batch]:
        """All windows once, in the order of epoch `number`."""
        rng = np.random.default_rng((self._seed, number))
        # Equal lengths meet in random company: sort by length with a random tie-break.
        order = np.lexsort((rng.random(self.n_windows), self._lengths))
        groups = self._groups(self._lengths[order])
        for g in rng.permutation(len(groups)):
            yield self._batch(order[groups[g]])

    def _groups(self, sorted_lengths: IntArray) -> list[slice]:
        groups, start = [], 0
        while start < len(sorted_lengths):
            # The longest window of the group decides its width; shrink until the group fits the budget.
            stop = min(len(sorted_lengths), start + max(1, self._tokens // int(sorted_lengths[start])))
            while stop - start > 1 and (stop - start) * int(sorted_lengths[stop - 1]) > self._tokens:
                stop = start + max(1, self._tokens // int(sorted_lengths[stop - 1]))
            groups.append(slice(start, stop))
            start = stop
        return groups

    def _batch(self, rows: IntArray) -> Batch:
        starts, lengths = self._starts[rows], self._lengths[rows]
        steps = np.arange(int(lengths.max()) - 1)
        valid = steps[None, :] < (lengths - 1)[:, None]
        positions = np.where(valid, starts[:, None] + steps[None, :], 0)
        return Batch(
            inputs=np.where(valid, self._items[positions], PADDING),
            targets=np.where(valid, self._items[np.where(valid, positions + 1, 0)], PADDING),
        )


def windows(sequences: Sequences, max_length: int) -> tuple[IntArray, IntArray]:
    """Starts and lengths (in events) of windows of at most `max_length + 1` events that cover every transition once.

    Windows are aligned to the end of a sequence, so that only its oldest window is short.
    """
    lengths = sequences.lengths
    usable = lengths >= 2
    ends, lengths = sequences.offsets[1:][usable], lengths[usable]
    per_sequence = -(-(lengths - 1) // max_length)
    sequence = np.repeat(np.arange(len(lengths)), per_sequence)
    nth = np.arange(len(sequence)) - np.repeat(np.cumsum(per_sequence) - per_sequence, per_sequence)
    window_ends = ends[sequence] - nth * max_length
    first = ends[sequence] - lengths[sequence]
    starts = np.maximum(first, window_ends - max_length - 1)
    return starts.astype(np.int64), (window_ends - starts).astype(np.int64)


def pad_histories(histories: list[IntArray], max_length: int) -> IntArray:
    """Last `max_length` items of each history as (B, T), padded on the right with `PADDING`."""
    recent = [history[-max_length:] for history in histories]
    width = max((len(history) for history in recent), default=0)
    padded = np.full((len(recent), max(width, 1)), PADDING, dtype=np.int64)
    for row, history in enumerate(recent):
        padded[row, : len(history)] = history
    return padded

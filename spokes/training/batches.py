"""Length-bucketed training batches over flat sequences: little padding, no per-sequence Python work.

SASRec is asked for the next item at every position, BERT4Rec for the items that are hidden from it; nothing else
differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ...arrays import BoolArray, IntArray
from ...catalog.sequences import Histories, History, Sequences
from ...catalog.streams import SequenceSource, ahead
from ...hub.distributed import World
from ..config import SpokeConfig
from ..features.statistics import user_folds

PADDING = -1
MASK = -2
# Tells the generator of the order of shards apart from that of the batches, which starts from (seed, epoch).
SHARDS = 2
# Of batches that are shown neither times nor types, so that sessions without them can be served.
CONTEXT_DROPOUT = 0.1
# Chance of an event to be hidden from BERT4Rec (at least one of a window is), and share of windows that hide their last
# event and no other, as serving does.
MASK_SHARE = 0.2
LAST_SHARE = 0.2


@dataclass(frozen=True)
class Batch:
    """B windows of up to T positions, padded on the right."""

    inputs: IntArray  # (B, T) item rows, `MASK` where an item is hidden, `PADDING` where a window has ended
    targets: IntArray  # (B, T) the item to predict at each position, `PADDING` where there is none
    timestamps: IntArray | None = None  # (B, T) microseconds, if read; a hidden event has the time of the one before
    event_types: IntArray | None = None  # (B, T) codes as in `Sequences.event_types`, if read; 0 for a hidden event
    folds: IntArray | None = None  # (B,) the fold of users that all windows come from, where users are folded

    @property
    def valid(self) -> BoolArray:
        """(B, T) true on real positions: what attention may see."""
        return np.asarray(self.inputs != PADDING)

    @property
    def scored(self) -> BoolArray:
        """(B, T) true on positions with a target: what the loss sees."""
        return np.asarray(self.targets != PADDING)

    @property
    def hidden(self) -> BoolArray:
        """(B, T) true where the mask token stands for an item."""
        return np.asarray(self.inputs == MASK)

    @property
    def rows(self) -> IntArray:
        """(P,) item rows of the P real positions; some row where the item is hidden, which the mask token replaces."""
        return np.maximum(self.inputs[self.valid], 0)


def share(batch: Batch, world: World) -> Batch:
    """The windows of a batch that are this process's."""
    if world.size == 1:
        return batch
    own = world.own(len(batch.inputs))
    whole = {field.name: getattr(batch, field.name) for field in fields(batch)}
    parts: dict[str, Any] = {name: None if part is None else part[own] for name, part in whole.items()}
    return replace(batch, **parts)


@dataclass(frozen=True)
class _Windows:
    """The windows of one shard."""

    sequences: Sequences
    starts: IntArray  # (W,) first event of each
    lengths: IntArray  # (W,) its events
    folds: IntArray | None = None  # (W,) the fold of its user; None where users are not folded


class BucketedBatches:
    """Batches of windows of similar length, in a new random order every epoch, each position asking for the next item.

    Of a source in several shards a batch holds windows of one, and the next is read while this one trains.
    """

    reserved = 0  # positions of a served window that no event of the session takes
    targets_only = 1  # events at the end of a window that are asked for and not shown

    def __init__(
        self,
        sequences: SequenceSource,
        *,
        max_length: int,  # transitions in a window, T at most
        tokens: int,  # positions in a batch, B * T at most; batches of short windows hold more of them
        seed: int,  # with the epoch's number it decides the order, so a resumed training sees the same batches
        context: bool = False,  # whether batches carry times and types; a share of `CONTEXT_DROPOUT` does not
        folds: int = 1,  # of the users; with more than one a batch holds windows of users of one fold
    ) -> None:
        self._source = sequences
        self._max_length = max_length - self.reserved
        self._tokens = tokens
        self._seed = seed
        self._context = context
        self._folds = folds
        lengths, counts = sequences.length_counts()
        self.n_windows = int((-(-np.maximum(lengths - 1, 0) // self._max_length) * counts).sum())  # per epoch
        # What is one shard is kept; of several none is.
        self._whole = self._read(0) if sequences.n_shards == 1 else None

    def epoch(self, number: int) -> Iterator[Batch]:
        """All windows once, in the order of epoch `number`."""
        rng = np.random.default_rng((self._seed, number))
        shards: Iterator[_Windows] = iter(())
        if self._whole is None:
            order = np.random.default_rng((self._seed, number, SHARDS)).permutation(self._source.n_shards)
            shards = ahead(self._read, order.tolist())
        for shard in shards if self._whole is None else [self._whole]:
            yield from self._batches(shard, rng)

    def _read(self, number: int) -> _Windows:
        shard = self._source.shard(number)
        starts, lengths = windows(shard, self._max_length)
        if self._folds == 1:
            return _Windows(shard, starts, lengths)
        users = shard.users[np.searchsorted(shard.offsets, starts, side="right") - 1]
        return _Windows(shard, starts, lengths, user_folds(shard.user_ids, self._folds)[users])

    def _batches(self, shard: _Windows, rng: np.random.Generator) -> Iterator[Batch]:
        # Equal lengths meet in random company: sort by length with a random tie-break.
        keys = (rng.random(len(shard.lengths)), shard.lengths)
        order = np.lexsort(keys if shard.folds is None else (*keys, shard.folds))
        ordered, ends = shard.lengths[order], np.array([len(order)])
        if shard.folds is not None:
            ends = np.cumsum(np.bincount(shard.folds, minlength=self._folds))
        groups, start = [], 0  # runs of the order that make a batch, none over two folds
        while start < len(ordered):
            end = int(ends[np.searchsorted(ends, start, side="right")])
            # The longest window of the group decides its width; shrink until the group fits the budget.
            stop = min(end, start + max(1, self._tokens // int(ordered[start])))
            while stop - start > 1 and (stop - start) * int(ordered[stop - 1]) > self._tokens:
                stop = start + max(1, self._tokens // int(ordered[stop - 1]))
            groups.append(slice(start, stop))
            start = stop
        for g in rng.permutation(len(groups)):
            rows = order[groups[g]]
            lengths = shard.lengths[rows] - self.targets_only
            steps = np.arange(int(lengths.max()))
            valid = steps[None, :] < lengths[:, None]  # (B, T) real positions, and the events that stand there
            places = np.where(valid, shard.starts[rows][:, None] + steps[None, :], 0)
            items = shard.sequences.items
            events = shard.sequences.events_at(places) if self._context else History(items[places])
            after = items[np.where(valid, places + self.targets_only, 0)]
            batch = self._batch(events, after, valid, rng)
            if shard.folds is not None:
                batch = replace(batch, folds=shard.folds[rows])
            if self._context and rng.random() < CONTEXT_DROPOUT:
                batch = replace(batch, timestamps=None, event_types=None)
            yield batch

    def _batch(self, events: History, after: IntArray, valid: BoolArray, rng: np.random.Generator) -> Batch:
        """From (B, T) events and the items after them to what is shown and asked."""
        inputs, targets = np.where(valid, events.items, PADDING), np.where(valid, after, PADDING)
        return Batch(inputs, targets, events.timestamps, events.event_types)


class ClozeBatches(BucketedBatches):
    """Batches in which some events of each window are hidden and asked for. BERT4Rec, Sun et al., 2019."""

    reserved, targets_only = 1, 0  # the place of the mask token when a session is served

    def _batch(self, events: History, after: IntArray, valid: BoolArray, rng: np.random.Generator) -> Batch:
        lengths = valid.sum(axis=1)
        b = np.arange(len(lengths))
        hidden = (rng.random(valid.shape) < MASK_SHARE) & valid  # (B, T)
        none = ~hidden.any(axis=1)
        hidden[b[none], rng.integers(lengths)[none]] = True
        last = rng.random(len(lengths)) < LAST_SHARE
        hidden[last] = False
        hidden[b[last], lengths[last] - 1] = True
        times, types = events.timestamps, events.event_types
        if times is not None:
            # When served, nobody knows when the next event will come: a hidden one has the time of the last one shown,
            # which is the largest so far, for time only grows inside a window.
            times = np.maximum.accumulate(np.where(hidden, times[:, :1], times), axis=1)
        return Batch(
            inputs=np.where(hidden, MASK, np.where(valid, events.items, PADDING)),
            targets=np.where(hidden, events.items, PADDING),
            timestamps=times,
            event_types=None if types is None else np.where(hidden, 0, types),
        )


def training_batches(sequences: SequenceSource, config: SpokeConfig) -> BucketedBatches:
    """The batches of a config's objective."""
    batches = ClozeBatches if config.model == "bert4rec" else BucketedBatches
    return batches(
        sequences,
        max_length=config.transformer.max_length,
        tokens=config.training.tokens_per_batch,
        seed=config.seed,
        context=config.transformer.needs_context,
        folds=config.statistics.folds if config.statistics else 1,
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


def with_context(histories: Histories, read: bool) -> list[History]:
    """The histories with what all of them know of their events; times and types that one lacks are left out of all.

    So that what a session is read with does not depend on its neighbours in a batch. Nothing is kept where a model
    does not `read` any of it.
    """
    made = [own if isinstance(own, History) else History(own) for own in histories]
    times = read and all(own.timestamps is not None for own in made if len(own))
    types = read and all(own.event_types is not None for own in made if len(own))
    return [History(own.items, own.timestamps if times else None, own.event_types if types else None) for own in made]


def serving_batch(histories: Sequence[History], max_length: int, *, cloze: bool = False) -> Batch:
    """Sessions that are to be embedded, one position of each scored: its last event, or with `cloze` the mask token.

    None of the sessions is empty, and all know their times, or none does, and types.
    """
    room = max_length - cloze
    lengths = np.array([min(len(history), room) for history in histories], np.int64)
    rows, asked = np.arange(len(lengths)), lengths - 1 + cloze
    # A column more than the longest history has: the mask token's.
    steps = np.minimum(np.arange(lengths.max() + cloze), lengths[:, None] - 1)
    valid = np.arange(steps.shape[1]) <= asked[:, None]
    places = (np.cumsum(lengths) - lengths)[:, None] + steps  # (B, T) in the recent events of all, end to end

    recent = [own[-length:] for own, length in zip(histories, lengths, strict=True)]

    def at_places(known: Sequence[IntArray]) -> IntArray:
        return np.asarray(np.concatenate(known)[places], np.int64)

    inputs = np.where(valid, at_places([own.items for own in recent]), PADDING)
    if cloze:
        inputs[rows, asked] = MASK
    targets = np.full_like(inputs, PADDING)
    targets[rows, asked] = 0
    times = [own.timestamps for own in recent if own.timestamps is not None]
    types = [own.event_types for own in recent if own.event_types is not None]
    shown = np.where(inputs == MASK, 0, at_places(types)) if types else None
    return Batch(inputs, targets, at_places(times) if times else None, shown)

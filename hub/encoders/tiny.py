"""Tiny random encoders for tests and dry runs: no weights on disk, a few milliseconds, the same vectors for a seed.

They mean something all the same: texts that share words, and pictures that share colours and texture, lie near each
other.
"""

from __future__ import annotations

import hashlib
import itertools
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from ..adapters.heads import Cut, MeanHead, Through, require_depth
from . import weights
from .image import ImageEncoder, fit_square
from .text import TextEncoder, pad

TINY_DIMENSION = 32
_BUCKETS = 4096
_CELLS = 4  # colour means on a 4 x 4 grid
_FILTERS = 16
_FEATURES = 3 * _CELLS * _CELLS + _FILTERS


class TinyText(TextEncoder):
    """Mean of fixed random vectors of hashed words and word pairs, then a rotation."""

    def __init__(self, name: str, seed: int, max_tokens: int, batch_size: int, device: torch.device) -> None:
        self.seed = seed
        self.max_tokens = max_tokens
        super().__init__(name, TINY_DIMENSION, batch_size, device)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over seed, sizes and token cap."""
        sizes = {"buckets": _BUCKETS, "dimension": TINY_DIMENSION, "max_tokens": self.max_tokens}
        return weights.fingerprint({"kind": "tiny text 1", "seed": self.seed, **sizes}, {})

    def _load(self) -> nn.Module:
        return TinyTextModule(np.random.default_rng([self.seed, 1]))

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        return [self._ids(text.casefold().split()[: self.max_tokens]) for text in texts]

    def _ids(self, words: list[str]) -> list[int]:
        pairs = [" ".join(pair) for pair in itertools.pairwise(words)]
        return [_bucket(term) for term in [*words, *pairs]] or [_bucket("")]

    def _embed(self, tokens: list[list[int]]) -> torch.Tensor:
        ids, mask = pad(tokens, 0)
        vectors: torch.Tensor = self.module(ids.to(self.device), mask.to(self.device))
        return vectors

    def cut(self, layers: int) -> Cut:
        """The table as the body; mean and projection, the one layer there is, as the head."""
        require_depth(self.name, layers, 1)
        module: TinyTextModule = self.module  # type: ignore[assignment]
        return Cut(Through(module.table, one_place=False), MeanHead(module.project), ("project",), TINY_DIMENSION)


class TinyTextModule(nn.Module):
    """Masked mean of an embedding table, then `project` (orthogonal, so that it keeps angles).

    Weights: `table` N(0, 1), `project` the Q factor of a Gaussian matrix; both from the generator given.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.table = nn.Embedding(_BUCKETS, TINY_DIMENSION)
        self.project = nn.Linear(TINY_DIMENSION, TINY_DIMENSION, bias=False)
        _fill(self.table.weight, rng.standard_normal((_BUCKETS, TINY_DIMENSION)))
        _fill(self.project.weight, _orthonormal_rows(rng, TINY_DIMENSION, TINY_DIMENSION))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Ids and mask (B, T) to vectors (B, 32)."""
        weight = mask.unsqueeze(-1).float()  # (B, T, 1)
        mean = (self.table(ids) * weight).sum(1) / weight.sum(1)  # (B, D)
        projected: torch.Tensor = self.project(mean)
        return projected


class TinyImage(ImageEncoder):
    """Colours on a coarse grid beside the energy of fixed random filters, then a projection."""

    def __init__(self, name: str, seed: int, image_size: int, batch_size: int, device: torch.device) -> None:
        self.seed = seed
        super().__init__(name, TINY_DIMENSION, image_size, batch_size, device)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over seed, sizes and picture size."""
        sizes = {"cells": _CELLS, "filters": _FILTERS, "dimension": TINY_DIMENSION, "image_size": self.image_size}
        return weights.fingerprint({"kind": "tiny image 1", "seed": self.seed, **sizes}, {})

    def _load(self) -> nn.Module:
        return TinyImageModule(np.random.default_rng([self.seed, 2]))

    def _prepare(self, picture: Image.Image) -> torch.Tensor:
        return fit_square(picture, self.image_size)

    def cut(self, layers: int) -> Cut:
        """Colours and texture as the body; the projection, the one layer there is, as the head."""
        require_depth(self.name, layers, 1)
        module: TinyImageModule = self.module  # type: ignore[assignment]
        body = Through(TinyFeatures(module.filters), one_place=True)
        return Cut(body, MeanHead(module.project), ("project",), _FEATURES)


class TinyImageModule(nn.Module):
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

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, S, S) to vectors (B, 32)."""
        projected: torch.Tensor = self.project(_features(self.filters, pictures))
        return projected


class TinyFeatures(nn.Module):
    """What the projection reads, from the same filters."""

    def __init__(self, filters: nn.Conv2d) -> None:
        super().__init__()
        self.filters = filters

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, S, S) to features (B, 64)."""
        return _features(self.filters, pictures)


def _features(filters: nn.Conv2d, pictures: torch.Tensor) -> torch.Tensor:
    colours = nn.functional.adaptive_avg_pool2d(pictures, _CELLS).flatten(1)  # (B, 48)
    texture = filters(pictures).abs().mean(dim=(2, 3))  # (B, 16)
    return torch.cat([colours, texture], dim=1)


def _bucket(term: str) -> int:
    return int.from_bytes(hashlib.blake2b(term.encode("utf-8", "replace"), digest_size=4).digest()) % _BUCKETS


def _orthonormal_rows(rng: np.random.Generator, rows: int, columns: int) -> npt.NDArray[np.float64]:
    q, _ = np.linalg.qr(rng.standard_normal((columns, rows)))
    return np.ascontiguousarray(q.T)


def _fill(parameter: torch.Tensor, values: npt.NDArray[np.float64]) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values.astype(np.float32)))

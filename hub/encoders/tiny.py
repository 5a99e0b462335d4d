"""Tiny random encoders for tests and dry runs: texts that share words, or pictures that share colours, lie near."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...arrays import DoubleArray
from ...errors import UsageError
from ..config import ImageEncoderConfig, TextEncoderConfig
from .base import SplitEncoder, masked_mean
from .image import ImageEncoder
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
        sizes = {"buckets": _BUCKETS, "dimension": TINY_DIMENSION, "max_tokens": self.max_tokens}
        super().__init__(config, TINY_DIMENSION, device, {"kind": "tiny text 1", "seed": self.seed, **sizes}, {})

    def _load(self) -> nn.Module:
        """`table` is N(0, 1), `project` orthogonal, so that it keeps angles."""
        rng = np.random.default_rng([self.seed, 1])
        table = nn.Embedding(_BUCKETS, TINY_DIMENSION)
        _fill(table.weight, rng.standard_normal((_BUCKETS, TINY_DIMENSION)))
        return nn.ModuleDict({"table": table, "project": _projection(TINY_DIMENSION, rng)})

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        tokens = []
        for text in texts:
            words = text.casefold().split()[: self.max_tokens]
            pairs = [" ".join(pair) for pair in itertools.pairwise(words)]
            tokens.append([_bucket(term) for term in [*words, *pairs]] or [_bucket("")])
        return tokens

    def _embed(self, tokens: Sequence[list[int]]) -> Tensor:
        module: Any = self.module
        ids, mask = (own.to(self.device) for own in pad(tokens, 0))  # (B, T)
        vectors: Tensor = module["project"](masked_mean(module["table"](ids), mask))  # (B, 32)
        return vectors

    @property
    def depth(self) -> int:
        """The projection."""
        return 1

    def split(self, layers: int) -> SplitEncoder:
        """The table; mean and projection, the one layer there is."""
        self.require_depth(layers)
        module: Any = self.module
        return SplitEncoder(module["table"], _Head(module["project"]), ("project",), TINY_DIMENSION)


class TinyImage(ImageEncoder):
    """Colours on a coarse grid beside the energy of fixed random filters, then a projection."""

    def __init__(self, config: ImageEncoderConfig, device: torch.device) -> None:
        self.seed = _seed_of(config.name)
        self.image_size = config.image_size or 32
        sizes = {"cells": _CELLS, "filters": _FILTERS, "dimension": TINY_DIMENSION, "image_size": self.image_size}
        super().__init__(config, TINY_DIMENSION, device, {"kind": "tiny image 1", "seed": self.seed, **sizes}, {})

    def _load(self) -> nn.Module:
        rng = np.random.default_rng([self.seed, 2])
        return nn.Sequential(_Features(rng), _projection(_FEATURES, rng))

    @property
    def depth(self) -> int:
        """The projection."""
        return 1

    def split(self, layers: int) -> SplitEncoder:
        """Colours and texture; the projection, the one layer there is."""
        self.require_depth(layers)
        features, project = self.module.children()
        return SplitEncoder(features, _Head(project), ("project",), _FEATURES)


class _Features(nn.Module):
    """Colours and texture of pictures; the filters are N(0, 1), of zero mean so that flat colour has no texture."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.filters = nn.Conv2d(3, _FILTERS, kernel_size=3, bias=False)
        kernels = rng.standard_normal((_FILTERS, 3, 3, 3))
        _fill(self.filters.weight, kernels - kernels.mean(axis=(2, 3), keepdims=True))

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] to (B, 64)."""
        colours = nn.functional.adaptive_avg_pool2d(pictures, _CELLS).flatten(1)  # (B, 48)
        texture = self.filters(pictures).abs().mean(dim=(2, 3))  # (B, 16)
        return torch.cat([colours, texture], dim=1)


class _Head(nn.Module):
    """The mean of the real places, projected."""

    def __init__(self, project: nn.Module) -> None:
        super().__init__()
        self.project = project

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        projected: Tensor = self.project(masked_mean(states, mask))  # (B, T, W) to (B, 32)
        return projected


def _projection(inputs: int, rng: np.random.Generator) -> nn.Linear:
    """A linear layer with orthonormal rows: the Q factor of a Gaussian matrix."""
    project = nn.Linear(inputs, TINY_DIMENSION, bias=False)
    q, _ = np.linalg.qr(rng.standard_normal((inputs, TINY_DIMENSION)))
    _fill(project.weight, np.ascontiguousarray(q.T))
    return project


def _seed_of(name: str) -> int:
    seed = name.partition(":")[2]
    if seed and not (seed.isascii() and seed.isdigit()):
        raise UsageError(f"Encoder {name!r} names no seed; write tiny or tiny:SEED with a whole number.")
    return int(seed or 0)


def _bucket(term: str) -> int:
    # Python's own hash of a text differs from process to process.
    return int.from_bytes(hashlib.blake2b(term.encode("utf-8", "replace"), digest_size=4).digest()) % _BUCKETS


def _fill(parameter: Tensor, values: DoubleArray) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values.astype(np.float32)))

"""The behavioural part of a spoke: item vectors from adapted content plus an ID residual, sessions by a transformer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..catalog.sequences import IntArray
from ..hub.content import ContentSpace
from ..hub.fusion import BaseFusion, TrunkVectors
from .adapter import adapt, frozen_copy
from .batches import PADDING, pad_histories
from .config import SpokeConfig
from .transformer import SequenceTransformer

FloatArray = npt.NDArray[np.float32]


class ItemInputs:
    """What the behavioural part knows of N items, as tensors.

    Attributes:
        trunk: (N, Dt + Dv) trunk vectors.
        id_rows: (N,) row of each item in the ID table; 0 is `[UNK]`.
    """

    def __init__(self, trunk: Tensor, id_rows: Tensor) -> None:
        self.trunk = trunk
        self.id_rows = id_rows

    def __len__(self) -> int:
        return len(self.trunk)

    def rows(self, rows: Tensor) -> ItemInputs:
        """The inputs of some items."""
        return ItemInputs(self.trunk[rows], self.id_rows[rows])

    def to(self, device: torch.device) -> ItemInputs:
        """The same on another device."""
        return ItemInputs(self.trunk.to(device), self.id_rows.to(device))


class ContentProjection(nn.Module):
    """Adapted fusion, then the catalog's frozen calibration, then a linear map into the behavioural space."""

    def __init__(self, fusion: nn.Module, space: ContentSpace, text_dimension: int, dimension: int) -> None:
        super().__init__()
        self.fusion = fusion
        self.text_dimension = text_dimension
        self.blocks = [name for name in ("text", "image") if getattr(space, name) is not None]
        for name in self.blocks:
            block = getattr(space, name)
            self.register_buffer(f"{name}_mean", torch.from_numpy(block.mean), persistent=False)
            self.register_buffer(f"{name}_transform", torch.from_numpy(block.transform), persistent=False)
        self.linear = nn.Linear(max(space.dimension, 1), dimension)

    def calibrated(self, x: Tensor) -> Tensor:
        """(B, Dt + Dv) trunk vectors to the (B, R) content embedding under the adapted fusion."""
        fused = self.fusion(x)
        split = {"text": fused[:, : self.text_dimension], "image": fused[:, self.text_dimension :]}
        parts = []
        for name in self.blocks:
            raw = split[name]
            present = (raw != 0).any(dim=1, keepdim=True)
            centred = raw - getattr(self, f"{name}_mean")
            parts.append(nn.functional.normalize(centred @ getattr(self, f"{name}_transform"), dim=1) * present)
        return torch.cat(parts, dim=1) if parts else x.new_zeros(len(x), 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, Dt + Dv) trunk vectors to (B, D)."""
        out: Tensor = self.linear(self.calibrated(x))
        return out


class BehaviourModel(nn.Module):
    """SASRec over item vectors that are content plus ID. Kang & McAuley, 2018.

    Args:
        config: the spoke's configuration.
        fusion: the hub's base fusion (copied and adapted here), or an already adapted one when loading.
        space: the catalog's content space, frozen.
        n_known: items that have an ID residual of their own.
    """

    def __init__(self, config: SpokeConfig, fusion: nn.Module, space: ContentSpace, n_known: int) -> None:
        super().__init__()
        text_dimension = fusion.text_dimension
        if isinstance(fusion, BaseFusion):
            # A copy either way: the hub's own fusion is neither frozen nor moved along with this model.
            fusion = adapt(fusion, config.adapter, config.seed) if config.adapter else frozen_copy(fusion)
        assert isinstance(text_dimension, int)
        d = config.transformer.dimension
        self.content = ContentProjection(fusion, space, text_dimension, d)
        self.ids = nn.Embedding(n_known + 1, d)
        self.transformer = SequenceTransformer(config.transformer)
        self.id_dropout = config.id_dropout
        self.max_length = config.transformer.max_length
        self.initialise()

    def initialise(self) -> None:
        """ID residuals N(0, 0.02); projection Xavier uniform, bias 0; the transformer initialises itself."""
        nn.init.normal_(self.ids.weight, std=0.02)
        nn.init.xavier_uniform_(self.content.linear.weight)
        nn.init.zeros_(self.content.linear.bias)

    def embed_items(self, items: ItemInputs) -> Tensor:
        """(N, D) item vectors of N items; in training, a share of ID residuals is dropped."""
        residual = self.ids(items.id_rows)
        if self.training and self.id_dropout:
            residual = residual * (torch.rand(len(items), 1, device=residual.device) >= self.id_dropout)
        out: Tensor = self.content(items.trunk) + residual
        return out

    def encode_sessions(self, vectors: Tensor, valid: Tensor) -> Tensor:
        """Session embeddings at real positions.

        Args:
            vectors: (P, D) item vectors of the real positions, row by row.
            valid: (B, T) true on real positions.

        Returns:
            (P, D).
        """
        x = vectors.new_zeros(*valid.shape, vectors.shape[1])
        x[valid] = vectors
        out: Tensor = self.transformer(x)[valid]
        return out

    @torch.inference_mode()
    def item_vectors(self, items: ItemInputs, batch_size: int = 4096) -> FloatArray:
        """(N, D) item vectors, in batches, in evaluation mode."""
        self.eval()
        parts = [self.embed_items(items.rows(rows)) for rows in torch.arange(len(items)).split(batch_size)]
        return torch.cat(parts).cpu().numpy() if parts else np.zeros((0, self.ids.embedding_dim), np.float32)

    @torch.inference_mode()
    def session_vectors(self, vectors: FloatArray, histories: Sequence[IntArray], batch_size: int = 512) -> FloatArray:
        """(B, D) session embedding after the last event of each history; zero for an empty one.

        Args:
            vectors: (N, D) item vectors.
            histories: item rows, oldest first.
            batch_size: histories in a forward pass.
        """
        self.eval()
        device = self.ids.weight.device
        table = torch.from_numpy(vectors).to(device)
        out = np.zeros((len(histories), vectors.shape[1]), np.float32)
        for start in range(0, len(histories), batch_size):
            padded = pad_histories(list(histories[start : start + batch_size]), self.max_length)
            rows = torch.from_numpy(padded).to(device)
            valid = rows != PADDING
            x = table[rows.clamp(min=0)] * valid[..., None]
            hidden = self.transformer(x)
            last = (valid.sum(dim=1) - 1).clamp(min=0)
            final = hidden[torch.arange(len(rows), device=device), last] * valid.any(dim=1, keepdim=True)
            out[start : start + len(padded)] = final.cpu().numpy()
        return out


def item_inputs(trunk: TrunkVectors, id_rows: IntArray) -> ItemInputs:
    """Trunk vectors and ID rows of a catalog as tensors."""
    return ItemInputs(torch.from_numpy(trunk.joined()), torch.from_numpy(id_rows))

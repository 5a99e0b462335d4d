"""The base fusion: one small residual network over text and image encoder outputs, either of which may be missing."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arrays import BoolArray, FloatArray, IntArray
from .adapters.states import ItemStates
from .config import FusionConfig


@dataclass(frozen=True)
class EncodedItems:
    """What the encoders make of N items; a missing modality is a zero row."""

    text: FloatArray  # (N, Dt); Dt is 0 where the hub has no text encoder
    image: FloatArray  # (N, Dv), the mean direction of an item's pictures; Dv is 0 where there is no image encoder
    # By name, (N, Db) of each further text block; the fusion passes them by.
    blocks: Mapping[str, FloatArray] = field(default_factory=dict)
    # By modality, the states before the last layers, for a spoke that adapts these.
    states: Mapping[str, ItemStates] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.text)

    @property
    def has_text(self) -> BoolArray:
        """(N,) true where an item has text."""
        return np.asarray(self.text.any(axis=1), dtype=np.bool_)

    @property
    def has_image(self) -> BoolArray:
        """(N,) true where an item has a picture."""
        return np.asarray(self.image.any(axis=1), dtype=np.bool_)

    def joined(self) -> FloatArray:
        """(N, Dt + Dv) both blocks side by side."""
        return np.concatenate([self.text, self.image], axis=1)

    def rows(self, rows: IntArray) -> EncodedItems:
        """The vectors of some items."""
        states = {name: own.rows(rows) for name, own in self.states.items()}
        blocks = {name: own[rows] for name, own in self.blocks.items()}
        return EncodedItems(self.text[rows], self.image[rows], blocks, states)

    def without(self, modality: str) -> EncodedItems:
        """The same items with one modality ("text" or "image") taken away."""
        return self.only({"text", "image"} - {modality})

    def only(self, modalities: Collection[str]) -> EncodedItems:
        """The same items with all but these modalities taken away."""
        states = {name: own if name in modalities else own.without_inputs() for name, own in self.states.items()}
        text, image = (
            own if name in modalities else np.zeros_like(own)
            for name, own in (("text", self.text), ("image", self.image))
        )
        blocks = {name: own if "text" in modalities else np.zeros_like(own) for name, own in self.blocks.items()}
        return EncodedItems(text, image, blocks, states)


class BaseFusion(nn.Module):
    """Residual fusion: `x + up(gelu(down(norm(x))))` on x = [text | image]; a missing block stays zero."""

    def __init__(self, text_dimension: int, image_dimension: int, config: FusionConfig) -> None:
        super().__init__()
        self.text_dimension = text_dimension
        self.image_dimension = image_dimension
        width = text_dimension + image_dimension
        # The norm is inside the residual branch (pre-norm): at the start, inputs pass to the bit.
        self.norm = nn.LayerNorm(width)
        self.down = nn.Linear(width, config.hidden)
        self.up = nn.Linear(config.hidden, width)
        # `down` N(0, 1/width); `up` zero, so that an untrained hub is exactly its encoders: training is judged by them.
        nn.init.normal_(self.down.weight, std=self.down.in_features**-0.5)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, Dt + Dv) encoder outputs to (B, Dt + Dv) fused ones."""
        residual = self.up(F.gelu(self.down(self.norm(x))))
        # Biases would give a missing modality a vector, the same for every item; it is to say nothing.
        out: Tensor = (x + residual) * self.present(x)
        return out

    def present(self, x: Tensor) -> Tensor:
        """(B, Dt + Dv) one where the modality is there, zero where it is missing."""
        text, image = x.split([self.text_dimension, self.image_dimension], dim=1)
        has_text = (text != 0).any(dim=1, keepdim=True).expand(-1, self.text_dimension)
        has_image = (image != 0).any(dim=1, keepdim=True).expand(-1, self.image_dimension)
        return torch.cat([has_text, has_image], dim=1).to(x.dtype)

    @torch.inference_mode()
    def fuse(self, encoded: EncodedItems, batch_size: int = 4096) -> EncodedItems:
        """Fused vectors of N items, in batches."""
        was_training = self.training
        self.eval()
        device = self.down.weight.device
        x = torch.from_numpy(encoded.joined())
        fused = torch.cat([self(part.to(device)).cpu() for part in x.split(batch_size)]) if len(x) else x
        self.train(was_training)
        text, image = fused.numpy()[:, : self.text_dimension], fused.numpy()[:, self.text_dimension :]
        return EncodedItems(np.ascontiguousarray(text), np.ascontiguousarray(image), encoded.blocks)


@torch.no_grad()
def untaught(fusion: BaseFusion) -> BaseFusion:
    """A copy that passes encoder outputs to the bit; its first layer stays, for an adapter needs one to build on."""
    passing = copy.deepcopy(fusion)
    for weight in passing.up.parameters():
        weight.zero_()
    return passing


@torch.no_grad()
def interpolate(start: BaseFusion, trained: BaseFusion, share: float) -> dict[str, Tensor]:
    """Weights `(1 - share) * start + share * trained`. WiSE-FT, Wortsman et al., 2022."""
    ours, theirs = start.state_dict(), trained.state_dict()
    return {name: torch.lerp(ours[name], theirs[name], share) for name in ours}

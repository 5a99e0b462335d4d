"""How the parts of an item become one vector: added up, weighed by a gate, or attended over.

`concat` needs no module: a linear map of parts side by side is the sum of one map of each. The other two start as it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .config import SpokeConfig
from .layers import start_at_zero, start_xavier

GATE_HIDDEN = 32


@dataclass(frozen=True)
class Parts:
    """The parts of N items, P of them, in the order in which the fusion knows them."""

    vectors: Tensor  # (N, P, D) zero where a part is missing
    present: Tensor  # (N, P) false for a missing text or picture and a dropped ID residual; `[UNK]` is there


class GatedFusion(nn.Module):
    """`sum_p g_p x_p`, gates `2 sigmoid(f(x_1, ..., x_P))`; 0 if missing, 1 at first (after Arevalo et al., 2017)."""

    def __init__(self, n_parts: int, dimension: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_parts * dimension, GATE_HIDDEN)
        self.output = nn.Linear(GATE_HIDDEN, n_parts)
        start_xavier(self.hidden)
        start_at_zero(self.output)

    def weights(self, parts: Parts) -> Tensor:
        """(N, P) gates."""
        logits = self.output(nn.functional.gelu(self.hidden(parts.vectors.flatten(1))))
        gates: Tensor = 2 * logits.sigmoid() * parts.present
        return gates

    def forward(self, parts: Parts) -> Tensor:
        """(N, D) item vectors."""
        # A product and a sum stay in full precision under autocast, as the sum of `concat` does.
        return (self.weights(parts)[..., None] * parts.vectors).sum(dim=1)

    def contributions(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """(N, P, D) the gated parts, which sum to `forward`, and (D,) what no part gave: nothing."""
        return self.weights(parts)[..., None] * parts.vectors, parts.vectors.new_zeros(parts.vectors.shape[2])


class AttendedFusion(nn.Module):
    """`sum_p x_p + O(attention)`: the sum of an item's parts asks, the parts with their type vectors answer.

    Multi-head attention (Vaswani et al., 2017) over P tokens; O starts at zero, so that the vector starts as the sum.
    """

    def __init__(self, n_parts: int, dimension: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.types = nn.Parameter(nn.init.normal_(torch.empty(n_parts, dimension), std=0.02))
        self.query = nn.Linear(dimension, dimension)
        self.key_value = nn.Linear(dimension, 2 * dimension)
        self.output = nn.Linear(dimension, dimension)
        start_xavier(self.query, self.key_value)
        start_at_zero(self.output)

    def forward(self, parts: Parts) -> Tensor:
        """(N, D) item vectors."""
        query, key, value = self._asked(parts)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=self._seen(parts))
        out: Tensor = parts.vectors.sum(dim=1) + self.output(attended.flatten(1) * _any(parts))
        return out

    def weights(self, parts: Parts) -> Tensor:
        """(N, H, P) attention of each head to each part; over the parts that there are it sums to one."""
        query, key, _ = self._asked(parts)
        similarity = query @ key.transpose(2, 3) / key.shape[-1] ** 0.5
        weights: Tensor = similarity.masked_fill(~self._seen(parts), float("-inf")).softmax(dim=-1)[:, :, 0]
        return weights * _any(parts)[:, None]

    def contributions(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """(N, P, D) each part and its value through the attention weights, and (D,) the rest, a bias; exact in sum."""
        # The weights depend on all parts: what an item would be without one only embedding it again tells.
        values = self._asked(parts)[2] * self.weights(parts)[..., None]  # (N, H, P, D / H)
        n, h, p, width = values.shape
        through = values.transpose(1, 2).reshape(n, p, h * width) @ self.output.weight.T
        return parts.vectors + through, self.output.bias

    def _asked(self, parts: Parts) -> tuple[Tensor, Tensor, Tensor]:
        """(N, H, 1, D / H) queries, (N, H, P, D / H) keys and values."""
        n, p, d = parts.vectors.shape
        query = self.query(parts.vectors.sum(dim=1)).view(n, 1, self.heads, -1).transpose(1, 2)
        pairs = self.key_value(parts.vectors + self.types).view(n, p, 2, self.heads, d // self.heads)
        key, value = pairs.permute(2, 0, 3, 1, 4)
        return query, key, value

    def _seen(self, parts: Parts) -> Tensor:
        """(N, 1, 1, P) true for the parts that there are; all where there is none, for a softmax needs one."""
        return (parts.present | ~parts.present.any(dim=1, keepdim=True))[:, None, None]


def _any(parts: Parts) -> Tensor:
    """(N, 1) one where an item has any part at all."""
    return parts.present.any(dim=1, keepdim=True).to(parts.vectors.dtype)


def item_fusion(config: SpokeConfig, names: Sequence[str]) -> GatedFusion | AttendedFusion | None:
    """The module that a config asks for, over the parts that there are; None for `concat`."""
    d = config.transformer.dimension
    if config.fusion == "gate":
        return GatedFusion(len(names), d)
    return AttendedFusion(len(names), d, config.transformer.heads) if config.fusion == "cross-attention" else None

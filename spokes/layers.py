"""What networks here are made of beside torch's own layers: a dropout that costs little, and how layers start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Tensors = TypeVar("Tensors")

# A mask takes 16 random bits per number, four numbers from each 64-bit draw.
LEVELS = 1 << 16
PER_DRAW = 4


class Dropout(nn.Module):
    """Srivastava et al., 2014; cheap on a CPU, where torch draws number by number; the share in 1 / 65536 there."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """The same shape; in evaluation mode the same numbers."""
        if not self.training or not self.share:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.share)
        draws = torch.empty(-(-x.numel() // PER_DRAW), dtype=torch.int64).random_(-(1 << 63), None)
        bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
        dropped = round(self.share * LEVELS)
        kept = torch.empty_like(x, requires_grad=False)
        torch.ge(bits, dropped - LEVELS // 2, out=kept)  # numbers at once, not truth values first
        return x * kept.mul_(LEVELS / (LEVELS - dropped))


def map_tensors(value: Tensors, change: Callable[[Tensor], Tensor]) -> Tensors:
    """A dataclass of tensors with each of them changed, those of dataclasses inside it too; what is None stays."""

    def changed(own: Any) -> Any:
        if isinstance(own, Tensor):
            return change(own)
        return None if own is None else map_tensors(own, change)

    found: Any = value
    made: Tensors = replace(found, **{field.name: changed(getattr(found, field.name)) for field in fields(found)})
    return made


def start_xavier(*layers: nn.Linear) -> None:
    """Weights Xavier uniform (Glorot & Bengio, 2010), biases zero."""
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


def start_at_zero(*layers: nn.Linear) -> None:
    """Weights and biases zero: what comes after starts as if there were no such layer."""
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)

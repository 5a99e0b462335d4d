"""What text and image encoders share: frozen weights that turn inputs into unit vectors, and how one is split in two.

Encoders always run in float32: a cached vector must not depend on the device that made it.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...errors import UsageError


@dataclass(frozen=True)
class SplitEncoder:
    """An encoder in two: a base that runs once per input, and the last layers, which an adapter may train.

    The head over the base's states gives what the whole encoder gives, up to the rounding of another batch.

    Attributes:
        base: texts as ids (B, T) of one length to states (B, T, W), or pictures (B, 3, S, S) to states that are W
            numbers each: a picture is one place.
        head: states (B, T, W) and mask (B, T), true on real places, to vectors (B, D) that are not yet normalised.
        targets: names of the head's modules that LoRA adapts.
        width: W.
    """

    base: Callable[[Tensor], Tensor]
    head: nn.Module
    targets: tuple[str, ...]
    width: int


class Encoder(ABC):
    """A frozen encoder. Adapting `module` in place would make the fingerprint, and so the cache, lie."""

    kind: ClassVar[str]

    def __init__(self, name: str, dimension: int, batch_size: int, device: torch.device) -> None:
        self.name = name
        self.dimension = dimension
        self.batch_size = batch_size
        self.device = device

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over the weights and every setting that changes the output; builds no model."""

    @cached_property
    def module(self) -> nn.Module:
        """The torch module, loaded on first use: frozen, in evaluation mode, on the encoder's device."""
        return self._load().to(self.device).eval().requires_grad_(False)

    @abstractmethod
    def _load(self) -> nn.Module:
        """Build the module on CPU."""

    def split(self, layers: int) -> SplitEncoder:
        """The encoder before its last `layers` layers, and these; both share its weights."""
        raise self.not_adaptable("")

    def not_adaptable(self, why: str) -> UsageError:
        """The error of an encoder whose layers are unlike those that adapters know."""
        return UsageError(
            f"{self.kind.capitalize()} encoder {self.name} {why}cannot be adapted; take {self.kind} out of "
            f"encoder_adapter.encoders or train a hub on another {self.kind} encoder."
        )

    def require_depth(self, layers: int, depth: int) -> None:
        """Refuse to split off more layers than there are."""
        if layers > depth:
            raise UsageError(
                f"Encoder {self.name} has {depth} layers that can be adapted, not {layers}; lower the number."
            )


def with_parts(module: Any, **parts: nn.Module | None) -> Any:
    """A module with other children of these names; it shares all else with the given one, which stays as it was."""
    clone = copy.copy(module)
    clone.__dict__["_modules"] = {**module._modules, **parts}
    return clone


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """(B, T, H) states and mask (B, T) to the mean (B, H) over real places."""
    weight = mask.unsqueeze(-1).float()  # (B, T, 1)
    return (states * weight).sum(1) / weight.sum(1)

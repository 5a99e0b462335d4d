"""What text and image encoders share: frozen weights that turn inputs into unit vectors, and how one is split in two.

Encoders always run in float32: a cached vector must not depend on the device that made it.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ...arrays import FloatArray
from ...errors import IncompatibleError, UsageError
from ...progress import StepProgress
from ..config import ImageEncoderConfig, TextEncoderConfig
from ..threads import side_by_side
from . import weights

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class SplitEncoder:
    """An encoder in two: a base that runs once per input, and the last layers, which an adapter may train.

    The head over the base's states gives what the whole encoder gives, up to the rounding of another batch.
    """

    # Texts as ids (B, T) of one length to states (B, T, W), or pictures (B, 3, S, S) to states that are W numbers each:
    # a picture is one place.
    base: Callable[[Tensor], Tensor]
    head: nn.Module  # states (B, T, W) and mask (B, T), true on real places, to vectors (B, D), not yet normalised
    targets: tuple[str, ...]  # names of the head's modules that LoRA adapts
    width: int  # W


class Encoder(ABC):
    """A frozen encoder. Adapting `module` in place would make the fingerprint, and so the cache, lie."""

    kind: ClassVar[str]

    def __init__(
        self,
        config: TextEncoderConfig | ImageEncoderConfig,
        dimension: int,
        device: torch.device,
        settings: Mapping[str, object],
        files: Mapping[str, Path],
    ) -> None:
        """A subclass names what decides its output: settings as JSON, and the files of its weights and vocabulary."""
        self.name, self.batch_size = config.name, config.batch_size
        self.dimension = dimension
        self.device = device
        self._settings, self._files = settings, files
        self._trained: Mapping[str, Tensor] = {}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the weights and every setting that changes the output; builds no model."""
        trained = {"trained": weights.tensors_digest(self._trained)} if self._trained else {}
        return weights.fingerprint({**self._settings, **trained}, self._files)

    @cached_property
    def module(self) -> nn.Module:
        """The torch module, loaded on first use: frozen, in evaluation mode, on the encoder's device."""
        # Not before: where the cache knows every input, weights are never loaded.
        module = self._load()
        unknown = module.load_state_dict(self._trained, strict=False).unexpected_keys
        if unknown:
            raise IncompatibleError(f"encoder {self.name} has no weight {unknown[0]!r} to replace; train a new hub.")
        return module.to(self.device).eval().requires_grad_(False)

    def with_weights(self, trained: Mapping[str, Tensor]) -> Self:
        """This encoder with other weights of these names in the module; an encoder of its own, fingerprint and all."""
        made = copy.copy(self)
        made.__dict__.pop("module", None)
        made.__dict__.pop("fingerprint", None)
        made._trained = {**self._trained, **trained}
        return made

    @abstractmethod
    def _load(self) -> nn.Module:
        """Build the module on CPU."""

    @property
    def depth(self) -> int:
        """How many layers can be split off."""
        raise self.not_adaptable("")

    def split(self, layers: int) -> SplitEncoder:
        """The encoder before its last `layers` layers, and these; both share its weights."""
        raise self.not_adaptable("")

    def run(
        self,
        module: Callable[[Batch], Tensor],
        batches: Iterable[Batch],
        total: int,
        width: int,
        progress: StepProgress | None,
    ) -> FloatArray:
        """What a module makes of `total` inputs that come in batches, flattened to (total, width).

        On a CPU a batch takes one thread, and as many batches run at a time as torch may use threads.
        """

        def vectors_of(batch: Batch) -> FloatArray:
            with torch.inference_mode():  # of this thread alone
                return module(batch).float().flatten(1).cpu().numpy()  # (B, width)

        at_once = min(torch.get_num_threads(), -(-total // self.batch_size)) if self.device.type == "cpu" else 1
        rows, done = np.zeros((total, width), np.float32), 0
        for made in side_by_side(vectors_of, batches, at_once):
            rows[done : done + len(made)] = made
            done += len(made)
            if progress is not None:
                progress(done, total)
        return rows

    def not_adaptable(self, why: str) -> UsageError:
        """The error of an encoder whose layers are unlike those that adapters know."""
        return UsageError(
            f"{self.kind.capitalize()} encoder {self.name} {why}cannot be adapted; take {self.kind} out of "
            f"encoder_adapter.encoders (of a hub, set encoders.{self.kind}_layers to 0), or train a hub on another "
            f"{self.kind} encoder."
        )

    def require_depth(self, layers: int) -> None:
        """Refuse to split off more layers than there are."""
        if layers > self.depth:
            raise UsageError(
                f"Encoder {self.name} has {self.depth} layers that can be adapted, not {layers}; lower the number."
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

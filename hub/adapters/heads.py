"""Encoders cut in two: a frozen body that runs once per input, and a head of the last layers that a spoke may adapt.

Promise: the head over the body's states gives what the whole encoder gives, up to the rounding of another batch.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UsageError

# Added to the attention score of a place that is none; a number that half precisions know too.
HIDDEN = -1e9


@dataclass(frozen=True)
class Cut:
    """An encoder in two.

    Attributes:
        body: inputs as the encoder prepares them, for texts ids (B, T) of one length, to states (B, T, W).
        head: states (B, T, W) and mask (B, T), true on real places, to vectors (B, D) that are not yet normalised.
        targets: names of the head's modules that LoRA adapts.
        width: W.
    """

    body: nn.Module
    head: nn.Module
    targets: tuple[str, ...]
    width: int


def require_depth(name: str, layers: int, depth: int) -> None:
    """Refuse a head of more layers than the encoder has.

    Raises:
        UsageError: likewise.
    """
    if layers > depth:
        raise UsageError(f"Encoder {name} has {depth} layers that can be adapted, not {layers}; lower the number.")


# --- Transformer text encoders ----------------------------------------------------------------------------------------


class TransformerBody(nn.Module):
    """Embeddings and all layers but the last ones; ids (B, T) without padding to hidden states (B, T, H)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        """Hidden states (B, T, H)."""
        states: Tensor = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return states


class TransformerHead(nn.Module):
    """The last layers and the pooling.

    Args:
        layers: BERT layers, first to last.
        first: pool by the first token rather than by the mean of the real ones.
    """

    def __init__(self, layers: list[nn.Module], first: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.first = first

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pooled vectors (B, H)."""
        # Added to the attention scores, as BERT does; without padding there is nothing to hide.
        hidden_from = None if bool(mask.all()) else (~mask).to(states.dtype)[:, None, None, :] * HIDDEN
        for layer in self.layers:
            states = layer(states, hidden_from)
        if self.first:
            return states[:, 0]
        weight = mask.unsqueeze(-1).float()  # (B, T, 1)
        return (states * weight).sum(1) / weight.sum(1)


def cut_transformer(name: str, model: nn.Module, layers: int, first: bool) -> Cut:
    """A BERT-like encoder before its last `layers` layers.

    Raises:
        UsageError: the architecture names its layers or projections otherwise, or has fewer layers.
    """
    stack = getattr(getattr(model, "encoder", None), "layer", None)
    if not isinstance(stack, nn.ModuleList) or not all(_is_bert_layer(layer) for layer in stack):
        raise UsageError(
            f"Text encoder {name} is no BERT-like encoder and cannot be adapted; take text out of "
            "encoder_adapter.encoders or train a hub on another text encoder."
        )
    require_depth(name, layers, len(stack))
    kept = list(stack)
    body = shallow(model)
    encoder = shallow(body.encoder)
    encoder.layer = nn.ModuleList(kept[:-layers])
    body.encoder, body.pooler = encoder, None
    width = int(kept[-1].attention.self.query.in_features)  # type: ignore[union-attr, arg-type]
    return Cut(TransformerBody(body), TransformerHead(kept[-layers:], first), ("query", "value"), width)


def _is_bert_layer(layer: nn.Module) -> bool:
    attention = getattr(getattr(layer, "attention", None), "self", None)
    return all(isinstance(getattr(attention, name, None), nn.Linear) for name in ("query", "value"))


def shallow(module: Any) -> Any:
    """A module whose children can be exchanged without changing the given one; all weights are shared."""
    clone = copy.copy(module)
    clone.__dict__["_modules"] = dict(module._modules)
    return clone


# --- EfficientNet -----------------------------------------------------------------------------------------------------


class EfficientNetBody(nn.Module):
    """The stem and all stages but the last ones; pictures (B, 3, S, S) to feature maps (B, 1, C * h * w)."""

    def __init__(self, stem: list[nn.Module], stages: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*stem, *stages)

    def forward(self, pictures: Tensor) -> Tensor:
        """Flat feature maps (B, 1, C * h * w)."""
        return self.maps(pictures).flatten(1).unsqueeze(1)

    def maps(self, pictures: Tensor) -> Tensor:
        """Feature maps (B, C, h, w)."""
        maps: Tensor = self.layers(pictures)
        return maps


class EfficientNetHead(nn.Module):
    """The last stages, the head's convolution and the pooling.

    Args:
        model: timm's EfficientNet.
        stages: how many of its stages belong to the head.
        shape: (C, h, w) of a feature map.
    """

    def __init__(self, model: Any, stages: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*list(model.blocks)[len(model.blocks) - stages :])
        self.conv_head, self.norm, self.pool = model.conv_head, model.bn2, model.global_pool
        self.shape = shape

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pooled features (B, D); a picture is one place, so that the mask says nothing."""
        maps = self.blocks(states.reshape(len(states), *self.shape))
        pooled: Tensor = self.pool(self.norm(self.conv_head(maps)))
        return pooled


@torch.inference_mode()
def cut_efficientnet(name: str, model: Any, layers: int, side: int) -> Cut:
    """timm's EfficientNet before its last layers: the head's convolution is one, each stage before it another.

    Raises:
        UsageError: it has fewer layers.
    """
    stages = list(model.blocks)
    require_depth(name, layers, len(stages) + 1)
    body = EfficientNetBody([model.conv_stem, model.bn1], stages[: len(stages) + 1 - layers]).eval()
    device = model.conv_head.weight.device
    shape = tuple(body.maps(torch.zeros(1, 3, side, side, device=device)).shape[1:])
    head = EfficientNetHead(model, layers - 1, shape)
    return Cut(body, head, ("conv_pw", "conv_pwl", "conv_head"), int(torch.tensor(shape).prod()))


# --- Tiny encoders ----------------------------------------------------------------------------------------------------


class Through(nn.Module):
    """A body that is one module."""

    def __init__(self, inner: nn.Module, one_place: bool) -> None:
        super().__init__()
        self.inner = inner
        self.one_place = one_place

    def forward(self, inputs: Tensor) -> Tensor:
        """States (B, T, W), with T = 1 where the module makes one vector of an input."""
        states: Tensor = self.inner(inputs)
        return states.unsqueeze(1) if self.one_place else states


class MeanHead(nn.Module):
    """The mean of the real places, projected."""

    def __init__(self, project: nn.Module) -> None:
        super().__init__()
        self.project = project

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Vectors (B, D)."""
        weight = mask.unsqueeze(-1).float()  # (B, T, 1)
        projected: Tensor = self.project((states * weight).sum(1) / weight.sum(1))
        return projected

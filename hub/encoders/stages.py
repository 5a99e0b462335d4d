"""What all stages of an EfficientNet-Lite see, instead of the last one alone: colours and textures, parts, shapes.

The last layer of a classifier was taught to forget what does not tell a thousand kinds of things apart: colour,
pattern, cut. Earlier stages still have it. Each is pooled to the mean and the standard deviation of every channel, the
statistics that tell one texture from another (Gatys et al., 2015; Huang & Belongie, 2017).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import ImageEncoderConfig
from .base import SplitEncoder
from .efficientnet import SIZES, load_efficientnet, packaged_checkpoint
from .image import ImageEncoder

# Channels of the seven stages: no number of any picture, but known before the model is built.
CHANNELS = {
    "efficientnet-lite0": (16, 24, 40, 80, 112, 192, 320),
    "efficientnet-lite2": (16, 24, 48, 88, 120, 208, 352),
}


class EfficientNetStages(ImageEncoder):
    """Mean and deviation of each stage's channels, each a unit vector, so that no stage outweighs the others."""

    def __init__(self, config: ImageEncoderConfig, device: torch.device) -> None:
        self.variant = config.name.removeprefix("stages:")
        self.checkpoint = packaged_checkpoint(self.variant)
        self.image_size = config.image_size or SIZES[self.variant]
        settings = {"kind": f"stages of {self.variant}", "image_size": self.image_size}
        settings |= {"square": "pad white, bicubic", "pooled": "unit mean and deviation"}
        super().__init__(config, 2 * sum(CHANNELS[self.variant]), device, settings, {"checkpoint": self.checkpoint})

    def _load(self) -> nn.Module:
        model: Any = load_efficientnet(self.variant, self.checkpoint)
        return _Stages(nn.Sequential(model.conv_stem, model.bn1), list(model.blocks))

    @property
    def depth(self) -> int:
        """Stages."""
        return len(CHANNELS[self.variant])

    def split(self, layers: int) -> SplitEncoder:
        """Stem and first stages with what was pooled of them; the last stages."""
        model: Any = self.module
        stages = list(model.stages)
        self.require_depth(layers)
        base = _Stages(model.stem, stages[: len(stages) - layers], keep_maps=True)
        # The shape of the feature maps depends on the picture size and the strides: an empty picture tells.
        empty = torch.zeros(1, 3, self.image_size, self.image_size, device=self.device)
        with torch.inference_mode():
            width, shape = base(empty).shape[1], base.maps(empty).shape[1:]
        return SplitEncoder(base, _LastStages(stages[len(stages) - layers :], shape), ("conv_pw", "conv_pwl"), width)


class _Stages(nn.Module):
    """Stages over a stem: pictures (B, 3, S, S) to what is pooled of each (B, P), and the last maps where asked for."""

    def __init__(self, stem: nn.Module, stages: list[nn.Module], keep_maps: bool = False) -> None:
        super().__init__()
        self.stem, self.stages, self._keep_maps = stem, nn.ModuleList(stages), keep_maps

    def forward(self, pictures: Tensor) -> Tensor:
        maps, found = self.stem(pictures), []
        for stage in self.stages:
            maps = stage(maps)
            found.append(pooled(maps))
        return torch.cat([*found, maps.flatten(1)] if self._keep_maps else found, dim=1)

    def maps(self, pictures: Tensor) -> Tensor:
        """The last feature maps (B, C, h, w)."""
        maps: Tensor = self.stem(pictures)
        for stage in self.stages:
            maps = stage(maps)
        return maps


class _LastStages(nn.Module):
    """The last stages over states that hold what was pooled before them, then feature maps of one shape (C, h, w)."""

    def __init__(self, stages: list[nn.Module], shape: torch.Size) -> None:
        super().__init__()
        self.stages, self.shape = nn.ModuleList(stages), shape

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:  # a picture is one place: the mask says nothing
        flat = states.reshape(len(states), -1)  # (B, 1, W) to (B, W)
        before = flat.shape[1] - self.shape.numel()
        maps, found = flat[:, before:].reshape(-1, *self.shape), [flat[:, :before]]
        for stage in self.stages:
            maps = stage(maps)
            found.append(pooled(maps))
        return torch.cat(found, dim=1)


def pooled(maps: Tensor) -> Tensor:
    """Feature maps (B, C, h, w) to the mean and the standard deviation of each channel (B, 2C), each a unit vector."""
    variance, mean = torch.var_mean(maps, dim=(2, 3), correction=0)
    # The root has no slope at zero, where a channel is the same all over.
    return torch.cat([F.normalize(mean, dim=1), F.normalize((variance + 1e-6).sqrt(), dim=1)], dim=1)

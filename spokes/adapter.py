"""The one door to PEFT: a LoRA adapter on the hub's base fusion, saved alone."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..errors import CorruptArtifactError
from ..hub.fusion import BaseFusion
from .config import AdapterConfig

TARGETS = ["down", "up"]
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def adapt(fusion: BaseFusion, config: AdapterConfig, seed: int) -> nn.Module:
    """A copy of the fusion with a trainable LoRA on its two linear layers; everything else is frozen.

    The adapter starts at zero: the adapted fusion equals the base fusion until it is trained.
    """
    from peft import LoraConfig, get_peft_model  # takes seconds to import; a floor without adapter needs none of it

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        lora = LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=TARGETS, bias="none")
        adapted: nn.Module = get_peft_model(frozen_copy(fusion), lora)
    return adapted


def save_adapter(adapted: nn.Module, directory: Path) -> None:
    """Write the adapter alone (safetensors and its config), a few hundred KB at most.

    The same adapter gives the same bytes in every process.
    """
    model: Any = adapted
    model.save_pretrained(directory, safe_serialization=True)
    # PEFT lists a set here, whose order is the process's own, and adds a model card with nothing filled in.
    path = directory / CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    (directory / "README.md").unlink(missing_ok=True)


def load_adapter(fusion: BaseFusion, directory: Path) -> nn.Module:
    """A copy of the fusion with the saved adapter on top.

    Raises:
        CorruptArtifactError: a file is missing, unreadable or made for another fusion.
    """
    from peft import PeftModel

    # PEFT takes a folder without these files for a name on a model hub and goes to the network.
    missing = [name for name in (CONFIG, WEIGHTS) if not (directory / name).is_file()]
    if missing:
        raise CorruptArtifactError(f"the adapter in {directory} lacks {missing[0]}; train the spoke with --force.")
    try:
        adapted: nn.Module = PeftModel.from_pretrained(frozen_copy(fusion), directory)
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError, OSError) as error:
        raise CorruptArtifactError(
            f"the adapter in {directory} cannot be read ({type(error).__name__}); train the spoke with --force."
        ) from error
    return adapted


@dataclass(frozen=True)
class LowRank:
    """What LoRA adds to a linear layer: `x -> scale * (x @ a.T) @ b.T`.

    Attributes:
        a: (r, inputs) trainable.
        b: (outputs, r) trainable.
        scale: alpha / r.
    """

    a: Tensor
    b: Tensor
    scale: float


def bare_fusion(fusion: Any) -> BaseFusion:
    """The fusion under an adapter, or the fusion itself."""
    bare: BaseFusion = fusion if isinstance(fusion, BaseFusion) else fusion.get_base_model()
    return bare


def frozen_linear(layer: Any) -> nn.Linear:
    """The linear layer under an adapter, or the layer itself."""
    linear: nn.Linear = getattr(layer, "base_layer", layer)
    return linear


def low_rank(layer: Any) -> LowRank | None:
    """The adapter of a layer; None where it has none."""
    if not hasattr(layer, "lora_A"):
        return None
    (name,) = layer.active_adapters
    return LowRank(layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name])


def frozen_copy(fusion: BaseFusion) -> BaseFusion:
    """A copy of the modules that PEFT may change in place, on the same memory of frozen weights.

    Any number of spokes on one hub hold its fusion once. The copy's parameters are objects of their own: moving them to
    another device or freezing them leaves the hub's alone. Nothing writes into frozen weights.
    """
    shared: dict[int, object] = {
        id(weight): nn.Parameter(weight.detach(), requires_grad=False) for weight in fusion.parameters()
    }
    return copy.deepcopy(fusion, shared)

"""LoRA (Hu et al., 2022) on a frozen module, saved alone and loaded to the bit. The door to PEFT."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ...errors import CorruptArtifactError
from ..fusion import BaseFusion
from .linear import CONFIG, WEIGHTS, is_plain, load_linear

FUSION_TARGETS = ("down", "up")
# The scale of an adapter is this over its rank, so that a higher rank does not need another learning rate.
ALPHA = 16
Module = TypeVar("Module", bound=nn.Module)


def adapt(module: nn.Module, rank: int, seed: int, targets: Sequence[str] = FUSION_TARGETS) -> nn.Module:
    """A copy with a trainable LoRA, zero at the start, on the layers whose names end in `targets`."""
    from peft import LoraConfig, get_peft_model  # takes seconds to import; a floor without adapter needs none of it

    # The draws are the adapter's own: what is drawn after it does not depend on whether there is one.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        lora = LoraConfig(r=rank, lora_alpha=ALPHA, target_modules=list(targets), bias="none")
        adapted: nn.Module = get_peft_model(frozen_copy(module), lora)
    return adapted


def save_adapter(adapted: nn.Module, directory: Path) -> None:
    """Write the adapter alone, a few hundred KB at most; the same adapter gives the same bytes in every process."""
    model: Any = adapted
    model.save_pretrained(directory, safe_serialization=True)
    # PEFT lists a set here, whose order is the process's own, and adds a model card with nothing filled in.
    path = directory / CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    (directory / "README.md").unlink(missing_ok=True)


def load_adapter(module: nn.Module, directory: Path) -> nn.Module:
    """A copy of a module with the saved adapter on top; CorruptArtifactError where they do not fit."""
    # PEFT takes a folder without these files for a name on a model hub and goes to the network.
    missing = [name for name in (CONFIG, WEIGHTS) if not (directory / name).is_file()]
    if missing:
        raise CorruptArtifactError(f"the adapter in {directory} lacks {missing[0]}; train the spoke with --force.")
    try:
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        plain = is_plain(module, config)
        return (load_linear if plain else _load_by_peft)(frozen_copy(module), config, directory)
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError, OSError) as error:
        raise CorruptArtifactError(
            f"the adapter in {directory} cannot be read ({type(error).__name__}); train the spoke with --force."
        ) from error


def _load_by_peft(module: nn.Module, _: Mapping[str, Any], directory: Path) -> nn.Module:
    from peft import PeftModel, get_peft_model_state_dict

    adapted: nn.Module = PeftModel.from_pretrained(module, directory)
    with safe_open(directory / WEIGHTS, framework="pt") as stored:
        # PEFT lets a missing weight be; its layer would silently not be adapted.
        if set(stored.keys()) != set(get_peft_model_state_dict(adapted)):
            raise KeyError(WEIGHTS)
    return adapted


@dataclass(frozen=True)
class LowRank:
    """What LoRA adds to a linear layer: `x -> scale * (x @ a.T) @ b.T`, a (r, inputs), b (outputs, r), both trained."""

    a: Tensor
    b: Tensor
    scale: float


def low_rank(layer: Any) -> LowRank | None:
    """The adapter of a layer; None where it has none."""
    if not hasattr(layer, "lora_A"):
        return None
    (name,) = layer.active_adapters
    return LowRank(layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name])


def merged(adapted: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Each frozen weight that has an adapter, and what it is with the adapter's product added."""
    layers: list[Any] = [module for module in adapted.modules() if hasattr(module, "lora_A")]
    weights = [layer.base_layer.weight for layer in layers]
    deltas = [layer.get_delta_weight(*layer.active_adapters) for layer in layers]
    return [(own, (own + delta).detach()) for own, delta in zip(weights, deltas, strict=True)]


def bare_fusion(fusion: Any) -> BaseFusion:
    """The fusion under an adapter, or the fusion itself."""
    bare: BaseFusion = fusion if isinstance(fusion, BaseFusion) else fusion.get_base_model()
    return bare


def frozen_linear(layer: Any) -> nn.Linear:
    """The linear layer under an adapter, or the layer itself."""
    linear: nn.Linear = getattr(layer, "base_layer", layer)
    return linear


def frozen_copy(module: Module) -> Module:
    """A copy that PEFT may change in place, on the same memory of frozen weights: all spokes hold a hub's once."""
    # Its parameters are objects of their own: moving or freezing them leaves the hub's alone.
    shared: dict[int, object] = {
        id(weight): nn.Parameter(weight.detach(), requires_grad=False) for weight in module.parameters()
    }
    return copy.deepcopy(module, shared)

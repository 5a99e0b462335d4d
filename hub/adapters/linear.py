"""A saved LoRA on linear layers, read without PEFT: importing that takes longer than all else that an answer needs.

Modules and weights have PEFT's names, so that a spoke has one fingerprint however its adapter was made or loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
ADAPTER = "default"
PREFIX = "base_model.model."
# Keys of PEFT's config that stand for more than a product of two matrices where they are set.
MORE = ("use_dora", "use_rslora", "fan_in_fan_out", "lora_bias", "modules_to_save", "rank_pattern", "alpha_pattern")


class LoraLinear(nn.Module):
    """A linear layer with `scale * B A x` added to it."""

    def __init__(self, base_layer: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        device = base_layer.weight.device
        self.base_layer = base_layer
        self.lora_A = nn.ModuleDict({ADAPTER: nn.Linear(base_layer.in_features, rank, bias=False, device=device)})
        self.lora_B = nn.ModuleDict({ADAPTER: nn.Linear(rank, base_layer.out_features, bias=False, device=device)})
        self.scaling = {ADAPTER: alpha / rank}
        self.active_adapters = [ADAPTER]

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        added: Tensor = self.lora_B[ADAPTER](self.lora_A[ADAPTER](x)) * self.scaling[ADAPTER]
        out: Tensor = self.base_layer(x) + added
        return out

    def get_delta_weight(self, adapter: str) -> Tensor:
        """(outputs, inputs) what the adapter adds to the layer's weight."""
        a, b = self.lora_A.get_parameter(f"{adapter}.weight"), self.lora_B.get_parameter(f"{adapter}.weight")
        delta: Tensor = (b @ a) * self.scaling[adapter]
        return delta


class LinearAdapter(nn.Module):
    """A module whose linear layers have adapters."""

    def __init__(self, module: nn.Module, config: Mapping[str, Any]) -> None:
        super().__init__()
        for name, layer in [*target_layers(module, config)]:
            parent, _, last = name.rpartition(".")
            adapted = LoraLinear(layer, int(config["r"]), float(config["lora_alpha"]))
            setattr(module.get_submodule(parent), last, adapted)
        self.config = dict(config)
        self.base_model = nn.Module()
        self.base_model.model = module
        self.requires_grad_(False)

    def __getattr__(self, name: str) -> Any:
        """What this has not, the module has."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.get_base_model(), name)

    def forward(self, *inputs: Any) -> Any:
        """What the module makes of its inputs."""
        return self.get_base_model()(*inputs)

    def get_base_model(self) -> nn.Module:
        """The module under the wrapping, with its adapted layers."""
        base: nn.Module = self._modules["base_model"].get_submodule("model")  # type: ignore[union-attr]
        return base

    def stored(self) -> dict[str, Tensor]:
        """The adapter's weights as PEFT's files name them."""
        own = ((name, weight) for name, weight in self.state_dict().items() if ".lora_" in name)
        return {name.replace(f".{ADAPTER}.", "."): weight for name, weight in own}

    def save_pretrained(self, directory: Path, **_: Any) -> None:
        """Write the adapter as PEFT does."""
        directory.mkdir(parents=True, exist_ok=True)
        weights = {name: weight.cpu().contiguous() for name, weight in self.stored().items()}
        save_file(weights, directory / WEIGHTS, metadata={"format": "pt"})
        (directory / CONFIG).write_text(json.dumps(self.config), encoding="utf-8")


def target_layers(module: nn.Module, config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every layer of a module that a config adapts, by its name."""
    targets = config["target_modules"]
    for name, layer in module.named_modules():
        if any(name == target or name.endswith(f".{target}") for target in targets):
            yield name, layer


def is_plain(module: nn.Module, config: Mapping[str, Any]) -> bool:
    """Whether a config adapts linear layers alone, by nothing but a product of two matrices."""
    layers = [layer for _, layer in target_layers(module, config)]
    return bool(layers) and all(type(layer) is nn.Linear for layer in layers) and not any(map(config.get, MORE))


def load_linear(module: nn.Module, config: Mapping[str, Any], directory: Path) -> LinearAdapter:
    """A module, changed in place, under a saved adapter; KeyError where the file has other weights than it needs."""
    adapted = LinearAdapter(module, config)
    weights, own = load_file(directory / WEIGHTS), adapted.stored()
    if weights.keys() != own.keys():
        raise KeyError(WEIGHTS)
    for name, weight in own.items():
        if weight.shape != weights[name].shape:
            raise ValueError(f"{name} is {tuple(weights[name].shape)}")
        weight.copy_(weights[name])
    return adapted.eval()

"""The one door to PEFT: a LoRA adapter on the hub's base fusion, saved alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from ..hub.fusion import BaseFusion
from .config import AdapterConfig

TARGETS = ["down", "up"]


def adapt(fusion: BaseFusion, config: AdapterConfig, seed: int) -> nn.Module:
    """A copy of the fusion with a trainable LoRA on its two linear layers; everything else is frozen.

    The adapter starts at zero: the adapted fusion equals the base fusion until it is trained.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        lora = LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=TARGETS, bias="none")
        adapted: nn.Module = get_peft_model(_bare(fusion), lora)
    return adapted


def save_adapter(adapted: nn.Module, directory: Path) -> None:
    """Write the adapter alone (safetensors and its config), a few hundred KB at most."""
    model: Any = adapted
    model.save_pretrained(directory, safe_serialization=True)


def load_adapter(fusion: BaseFusion, directory: Path) -> nn.Module:
    """A copy of the fusion with the saved adapter on top."""
    adapted: nn.Module = PeftModel.from_pretrained(_bare(fusion), directory)
    return adapted


def _bare(fusion: BaseFusion) -> BaseFusion:
    """A copy that PEFT may change in place."""
    return copy.deepcopy(fusion).requires_grad_(False)

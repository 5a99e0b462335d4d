"""How a model runs: device, precision and seeds."""

from __future__ import annotations

import os
import random
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from ..errors import UsageError


def pick_device(choice: str = "auto") -> torch.device:
    """The torch device for "auto" (a GPU, else CPU), "cpu", "cuda" (the first, or LOCAL_RANK's) or "cuda:N"."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if choice == "cpu" or (choice == "auto" and not gpus):
        return torch.device("cpu")
    choice = "cuda" if choice == "auto" else choice
    family, _, number = choice.partition(":")
    if family != "cuda" or (":" in choice and not (number.isascii() and number.isdigit())):
        raise UsageError(f"Device {choice!r} is unknown; use auto, cpu, cuda or cuda:N.")
    index = int(number or os.environ.get("LOCAL_RANK", "0"))
    if index >= gpus:
        named = choice if number or not index else f"cuda:{index}"
        raise UsageError(f"Device {named!r} was asked for but torch sees {gpus} CUDA GPUs; use auto or cpu.")
    return torch.device("cuda", index)


def autocast_for(device: torch.device) -> AbstractContextManager[object]:
    """Training precision of `device`: bfloat16 autocast on a GPU that supports it, float32 everywhere else."""
    # Never on CPU: without matrix extensions bfloat16 is slower than float32 there.
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch, with deterministic kernels; before the first GPU product, or cuBLAS will not."""
    if not 0 <= seed < 2**32:  # what numpy can take
        raise UsageError(f"Seed {seed} is out of range; give an integer from 0 to {2**32 - 1}.")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # seeds every GPU as well
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling every uninitialised tensor would slow training without making a written-before-read value differ.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]

"""How much memory a training needs, and the limit of one device: item tables beyond it are refused, not tried."""

from __future__ import annotations

import os

import torch

from ...errors import UsageError
from ..config import SpokeConfig

FLOAT = 4
# Weights, gradient, AdamW's two moments, and the best weights so far.
COPIES = 5


def training_bytes(config: SpokeConfig, n_known: int, n_items: int, content_columns: int) -> int:
    """Bytes that grow with the catalog: the ID table in all its copies, and what the frozen layers say of each item.

    Activations, and the network around the table, are a few MB and left out. Of `n_items` items, `n_known` have an ID
    residual, and each has `content_columns` of prepared content.
    """
    settings, d = config.training, config.transformer.dimension
    table = (n_known + 1) * d * COPIES if config.ids else 0
    content = n_items * ((content_columns if config.content else 0) + 2)
    # The full softmax adds the vectors of all items and the scores of one batch, each with its gradient.
    scored = 2 * n_items * (d + settings.tokens_per_batch) if settings.loss == "softmax" else 0
    return FLOAT * (table + content + scored)


def device_bytes(device: torch.device) -> int:
    """Memory of a device: of the GPU, or of the machine."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def refuse_beyond_device(
    config: SpokeConfig, n_known: int, n_items: int, content_columns: int, device: torch.device
) -> None:
    """Refuse a training whose tables do not fit on its device, before anything of it is made."""
    needed, available = training_bytes(config, n_known, n_items, content_columns), device_bytes(device)
    if needed > available:
        raise UsageError(
            f"Training needs {needed / 1e9:,.1f} GB for its item tables ({n_items:,} items, {n_known:,} of them with "
            f"an ID residual of {config.transformer.dimension} columns) and {device} has {available / 1e9:,.1f} GB; "
            "raise min_item_count, lower transformer.dimension, or train sharded tables with TorchRec, which this "
            "package does not do itself."
        )

"""The optimiser of a training: AdamW in one fused pass over each weight, with learning rates by part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

BETAS = (0.9, 0.98)


def adamw(named: Mapping[str, Tensor], rate: float, shares: Mapping[str, float]) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter, 2019) over parameters by name, with the rates of `rate_groups`.

    Fused: every moment of an item table is read and written once a step. Unfused, on a CPU, it takes several times as
    long, for the table is far larger than what a batch touches.
    """
    groups = rate_groups(named, rate, shares)
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, weight_decay=0.0, fused=True)


def rate_groups(named: Mapping[str, Tensor], rate: float, shares: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameters in groups of one learning rate: `params`, `lr`, and the `share` of `rate` that made it.

    The shares are those of parameters whose names begin so; any other has all of it.
    """
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in named.items():
        share = next((share for prefix, share in shares.items() if name.startswith(prefix)), 1.0)
        groups.setdefault(share, []).append(parameter)
    return [{"params": own, "lr": rate * share, "share": share} for share, own in groups.items()]

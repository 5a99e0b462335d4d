"""The optimiser of a training: AdamW in one fused pass over each weight; learning rates by part and over time."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

BETAS = (0.9, 0.98)
WARMUP_EPOCHS = 1.0


def adamw(named: Mapping[str, Tensor], rate: float, shares: Mapping[str, float]) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter, 2019) over parameters by name, in groups that know their `share` of the rate.

    Parameters whose names begin with a key of `shares` have its share, any other all of it.
    """
    by_share: dict[float, list[Tensor]] = {}
    for name, parameter in named.items():
        share = next((share for prefix, share in shares.items() if name.startswith(prefix)), 1.0)
        by_share.setdefault(share, []).append(parameter)
    groups = [{"params": own, "lr": rate * share, "share": share} for share, own in by_share.items()]
    # Fused, every moment of an item table is read and written once a step. Unfused, on a CPU, it takes several times as
    # long, for the table is far larger than what a batch touches.
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, weight_decay=0.0, fused=True)


def rate_factor(done: float, horizon: float) -> float:
    """What the learning rate is multiplied by after `done` epochs, with fractions: a rise, then half a cosine.

    With w = `WARMUP_EPOCHS` it is done / w in the warm-up, and after it, at p = (done - w) / (horizon - w),
    (1 + cos(pi p)) / 2 (Loshchilov & Hutter, 2017).
    """
    warmup = min(WARMUP_EPOCHS, horizon)
    if done < warmup:
        return done / warmup
    if horizon <= warmup:
        return 1.0
    return (1 + math.cos(math.pi * min(1.0, (done - warmup) / (horizon - warmup)))) / 2

"""Learning rates over a training, batch by batch."""

from __future__ import annotations

import math

from ..config import TrainingConfig


def rate_factor(settings: TrainingConfig, done: float, horizon: float) -> float:
    """What the learning rate is multiplied by.

    With w = `warmup_epochs` it is min(1, done / w) in the warm-up, and after it, at p = (done - w) / (horizon - w), 1
    for `warmup`, (1 + cos(pi p)) / 2 for `cosine` (Loshchilov & Hutter, 2017) and 1 - p for `linear`.

    Args:
        settings: names the schedule.
        done: epochs behind the end of this batch, with fractions.
        horizon: epochs at which a slope has reached zero.
    """
    warmup = min(settings.warmup_epochs, horizon)
    if settings.schedule == "constant":
        return 1.0
    if done < warmup:
        return done / warmup
    if settings.schedule == "warmup" or horizon <= warmup:
        return 1.0
    progress = min(1.0, (done - warmup) / (horizon - warmup))
    return (1 + math.cos(math.pi * progress)) / 2 if settings.schedule == "cosine" else 1 - progress

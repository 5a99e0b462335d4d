"""Learning rates over a training, batch by batch."""

from __future__ import annotations

import math

WARMUP_EPOCHS = 1.0


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

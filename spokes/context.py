"""When events happened and of what type they were: what a sequence model may know of an event beside its item."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# The last bucket begins at 2^30 seconds, 34 years.
INTERVAL_BUCKETS = 32


@dataclass(frozen=True)
class EventContext:
    """What is known of B x T events; a part that is None is not known of any."""

    timestamps: Tensor | None = None  # (B, T) microseconds
    event_types: Tensor | None = None  # (B, T) codes as in `Sequences.event_types`; 0 is unknown


def interval_buckets(microseconds: Tensor) -> Tensor:
    """0 for less than a second, else 1 + floor(log2(seconds)), `INTERVAL_BUCKETS` - 1 at most; any shape, any sign."""
    seconds = microseconds.abs().div(1_000_000, rounding_mode="floor")
    # frexp writes s as m * 2^e with m in [1/2, 1): e is the bucket, exactly, where a logarithm would round.
    return torch.frexp(seconds.double()).exponent.long().clamp(max=INTERVAL_BUCKETS - 1)


def dwell_buckets(timestamps: Tensor) -> Tensor:
    """(B, T) buckets of the time spent on the event before: known when an event comes, unlike the time spent on it.

    The first event of a window has none and counts as no time.
    """
    gaps = torch.zeros_like(timestamps)
    gaps[:, 1:] = timestamps[:, 1:] - timestamps[:, :-1]
    return interval_buckets(gaps)

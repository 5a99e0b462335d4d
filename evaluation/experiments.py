"""Experiments on shoppers: who sees which variant, whether the split is sound, and how far the variants are apart.

A shopper is one observation. Count those whose window (say, the seven days from the first exposure) is over, so that
what was counted once does not change at the next look.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import erfc, exp, gamma, sqrt

import numpy as np

from ..arrays import DoubleArray
from ..errors import InvalidDataError, UsageError
from .bootstrap import LEVEL, Estimate
from .ratios import Measured, ratio

# A split that chance alone would give less often than this is not the split that was asked for (Fabijan et al., 2019).
MISMATCH = 0.001


def position(shopper: str, salt: str) -> float:
    """Where a shopper stands in an experiment, 0 up to 1, alike over shoppers and unlike under another salt."""
    # As JSON, so that no two pairs of salt and shopper are one text.
    digest = hashlib.sha256(json.dumps([salt, shopper]).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # as many bits as a float holds, so that it stays below 1


def is_treated(shopper: str, salt: str, share: float) -> bool:
    """Whether a shopper sees the new variant, of which `share` of all do.

    The same for ever under one salt: who is in stays in when the share grows.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"A share of {share} of the shoppers cannot be treated; give one from 0 to 1.")
    return position(shopper, salt) < share


def mismatch(counts: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """How often chance gives counts at least as far from the shares as these: the p of the chi-square test.

    Below `MISMATCH` the sample does not have the ratio asked for, and no comparison of its variants can be trusted.
    """
    whole, n = sum(shares.values()), sum(counts.values())
    if counts.keys() != shares.keys() or len(counts) < 2 or min(shares.values()) <= 0 or n <= 0:
        raise UsageError(
            f"Counts of {', '.join(counts) or 'nothing'} cannot be held to shares of {', '.join(shares) or 'nothing'}; "
            "give two variants or more, each with a positive share, and at least one shopper."
        )
    expected = {name: n * share / whole for name, share in shares.items()}
    distance = sum((counts[name] - mean) ** 2 / mean for name, mean in expected.items())
    return _chi_square_above(distance, len(counts) - 1)


def _chi_square_above(x: float, freedom: int) -> float:
    """P(X > x) of the chi-square distribution, by its recurrence in steps of two degrees of freedom."""
    half = x / 2
    below, found = (1, erfc(sqrt(half))) if freedom % 2 else (2, exp(-half))
    for k in range(below, freedom, 2):
        found += half ** (k / 2) * exp(-half) / gamma(k / 2 + 1)
    return min(found, 1.0)


@dataclass(frozen=True)
class Effect:
    """How far a variant is from the one before it, by one number per shopper.

    `once` holds for a single look that was planned beforehand, `always` for all looks together: stop on the latter.
    """

    control: Measured
    treatment: Measured
    once: Estimate
    always: Estimate

    @property
    def clear(self) -> bool:
        """Whether the variants differ, however often somebody looked."""
        return not self.always.low <= 0 <= self.always.high


def effect(
    control: DoubleArray,
    treatment: DoubleArray,
    planned: int,
    *,
    control_sizes: DoubleArray | None = None,
    treatment_sizes: DoubleArray | None = None,
    level: float = LEVEL,
) -> Effect:
    """Compare what each exposed shopper of two variants did: clicks, purchases or revenue, (U,) and (V,).

    Shoppers who did nothing count as 0. With sizes it is a ratio of sums, as revenue per impression is. `planned` is
    the number of shoppers in all that the experiment was planned for, fixed before its first look.
    """
    before, after = _per_size(control, control_sizes), _per_size(treatment, treatment_sizes)
    change = after.minus(before)
    return Effect(before, after, change.estimate(level), change.at_any_look(planned, level))


def _per_size(values: DoubleArray, sizes: DoubleArray | None) -> Measured:
    sizes = np.ones(len(values)) if sizes is None else sizes
    if len(values) != len(sizes) or not (np.isfinite(values).all() and np.isfinite(sizes).all()):
        raise InvalidDataError(
            f"{len(values)} values and {len(sizes)} sizes are not one finite number of each for each shopper; "
            "count who did nothing as 0."
        )
    return ratio(values, sizes)

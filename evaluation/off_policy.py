"""What another policy would have earned, from the log of the one that was in service; refused where the log cannot say.

A row is one product that was shown at one place. `logged` is the probability with which the policy in service put it
there, `target` that with which the policy that is asked about would. Both must be logged or computed, never guessed:
the mean of target / logged must be 1, up to chance, wherever the log can answer at all.

Where places differ only in how likely a shopper looks at them, both are exposures instead (`exposures`): the chance
that the product is looked at, at whatever place. Then each row weighs as much as its place is looked at (`examined`),
as in the position-based model of Li et al. (2018, "Offline evaluation of ranking policies with click models").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..arrays import DoubleArray, IntArray
from ..errors import InvalidDataError, UsageError
from .ratios import Measured, by_shopper, ratio

# Shoppers that the weights must be worth; with fewer a normal interval promises what it does not hold.
LEAST_EFFECTIVE = 100.0
# The weights' mean is held to 1 at this level: a sound log is refused once in a thousand times.
_BALANCE_LEVEL = 0.999


@dataclass(frozen=True)
class Weighted:
    """Rows of a log weighted as another policy would have shown them; made by `weigh`, which refuses what cannot."""

    shoppers: IntArray  # (R,)
    weights: DoubleArray  # (R,) target / logged, at most `clip`
    examined: DoubleArray  # (R,) 1, or how likely the place is looked at
    clip: float | None
    clipped: float  # share of the rows whose weight was cut to `clip`, which biases towards the policy in service

    @cached_property
    def effective_sample_size(self) -> float:
        """How many equally weighted shoppers the weights are worth: (sum of w)^2 / sum of w^2 (Kish, 1965)."""
        return _effective(by_shopper(self.shoppers, self.weights * self.examined))

    @property
    def n_shoppers(self) -> int:
        """How many shoppers the rows are of."""
        return len(np.unique(self.shoppers))

    def sums(self, values: DoubleArray) -> DoubleArray:
        """(U,) of `values` (R,) by shopper."""
        if len(values) != len(self.shoppers) or not np.isfinite(values).all():
            raise InvalidDataError(
                f"{len(values)} values, {int((~np.isfinite(values)).sum())} of them not finite, do not go with "
                f"{len(self.shoppers)} rows; give one number for each row."
            )
        return by_shopper(self.shoppers, values)


def weigh(
    shoppers: IntArray,
    logged: DoubleArray,
    target: DoubleArray,
    *,
    examined: DoubleArray | None = None,
    clip: float | None = None,
    floor: float = LEAST_EFFECTIVE,
) -> Weighted:
    """The weights of R rows, unless the log cannot carry the claim: then an InvalidDataError says why.

    It cannot where a probability is missing or none, where the policies show such different things that fewer than
    `floor` shoppers' worth of rows count, and where the weights' mean is not 1: either the target shows what was never
    shown, or a probability is wrong.
    """
    if clip is not None and not clip > 0:
        raise UsageError(f"Weights cannot be clipped at {clip}; clip above 0.")
    examined = np.ones(len(shoppers)) if examined is None else examined
    if not len(shoppers) == len(logged) == len(target) == len(examined):
        raise UsageError(
            f"{len(shoppers)} rows, {len(logged)} logged and {len(target)} target probabilities, {len(examined)} "
            "examinations do not belong together; give one of each for each row."
        )
    _require_probabilities("logged", logged, positive=True)
    _require_probabilities("target", target)
    _require_probabilities("examination", examined)
    weights = target / logged
    _require_support(shoppers, weights * examined, examined, floor)
    over = np.zeros(len(weights), dtype=np.bool_) if clip is None else weights > clip
    used = weights if clip is None else np.minimum(weights, clip)
    return Weighted(shoppers, used, examined, clip, float(over.mean()))


def _require_probabilities(what: str, values: DoubleArray, positive: bool = False) -> None:
    missing = int(np.isnan(values).sum())
    if missing:
        raise InvalidDataError(
            f"{missing} of {len(values)} rows have no {what} probability, and without it nothing can be said of "
            "another policy; log it with each impression."
        )
    wrong = (values < 0) | (values > 1) | ((values == 0) if positive else False)
    if wrong.any():
        within = "above 0 and at most 1" if positive else "0 to 1"
        raise InvalidDataError(
            f"{int(wrong.sum())} of {len(values)} rows have a {what} probability such as {values[wrong][0]:g}, where "
            f"one is {within}; correct what logs it."
        )


def _require_support(shoppers: IntArray, weights: DoubleArray, examined: DoubleArray, floor: float) -> None:
    by_weight, places = by_shopper(shoppers, weights), by_shopper(shoppers, examined)
    effective = _effective(by_weight)
    if effective < floor:
        raise InvalidDataError(
            f"The log is worth {effective:.1f} shoppers to the other policy, of {len(by_weight)}, and {floor:g} are "
            "the least; log longer, show more at random, or ask about a policy closer to the one in service."
        )
    mean = ratio(by_weight, places).estimate(_BALANCE_LEVEL)
    # Two equal policies have no error at all, but sums that differ in the last digits.
    if not mean.low - 1e-9 <= 1 <= mean.high + 1e-9:
        raise InvalidDataError(
            f"The weights' mean is {mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f}) and would be 1 if the logged "
            "probabilities were right and all that the other policy shows had been shown now and then; correct what "
            "logs them, or show everything at random now and then."
        )


def _effective(weights: DoubleArray) -> float:
    squares = float(weights @ weights)
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def as_logged(weighted: Weighted, rewards: DoubleArray) -> Measured:
    """Reward per impression of the policy in service: what was, whatever another policy would have shown."""
    return ratio(weighted.sums(rewards), weighted.sums(np.ones(len(rewards))))


def ips(weighted: Weighted, rewards: DoubleArray) -> Measured:
    """Reward per impression by inverse propensities: the mean of w x r (Horvitz & Thompson, 1952).

    Unbiased without a clip, and the noisiest of the three.
    """
    return ratio(weighted.sums(weighted.weights * rewards), weighted.sums(np.ones(len(rewards))))


def snips(weighted: Weighted, rewards: DoubleArray) -> Measured:
    """The same, self-normalised: sum of w x r over sum of w (Swaminathan & Joachims, 2015).

    A constant reward is measured exactly. With examination the sums are brought back to all places shown.
    """
    normal = weighted.sums(weighted.weights * weighted.examined)
    shown = float(weighted.examined.mean())
    found = ratio(weighted.sums(weighted.weights * rewards), normal)
    return Measured(found.value * shown, found.error * shown, found.n)


def doubly_robust(weighted: Weighted, rewards: DoubleArray, predicted: DoubleArray, expected: DoubleArray) -> Measured:
    """Reward per impression by a model, corrected by the weighted error of the model (Dudik et al., 2011).

    `predicted` (R,) is what the model says of the row shown, `expected` (R,) the mean of what it says of all that the
    target could show in its place. Right where model or probabilities are; fit the model on other rows than these.
    """
    corrected = expected + weighted.weights * (rewards - predicted)
    return ratio(weighted.sums(corrected), weighted.sums(np.ones(len(rewards))))


def weighted_share(weighted: Weighted, part: DoubleArray, whole: DoubleArray) -> Measured:
    """Sum of w x part over sum of w x whole: the share of a policy's revenue that comes from a part of the sellers."""
    return ratio(weighted.sums(weighted.weights * part), weighted.sums(weighted.weights * whole))

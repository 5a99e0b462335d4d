"""The mixture: how much the content floor weighs beside behaviour, chosen on validation, once per serving policy.

A session scores an item by `behaviour <h, b> + cold [item is cold] + content ((1 - s) <q_text, t> + s <q_image, v>)`.
All weights stand on the session side, so one index serves both policies (seen items ranked, seen items filtered).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from .behaviour import FloatArray

CONTENT_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 14.0, 20.0)
COLD_BIASES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
PROBE_WEIGHTS = (0.0, 2.0, 5.0, 10.0)
IMAGE_SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
BoolArray = npt.NDArray[np.bool_]
Measure = Callable[[FloatArray], FloatArray]


class MixtureWeights(BaseModel):
    """Weights of the three parts of an inner product.

    Attributes:
        behaviour: 1, or 0 where the content floor alone was best.
        content: weight of the content score.
        cold: added to the score of items with too few events for an ID residual of their own.
        image_share: share of pictures in the content score.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    behaviour: float = Field(ge=0.0)
    content: float = Field(ge=0.0)
    cold: float = Field(default=0.0, ge=0.0)
    image_share: float = Field(ge=0.0, le=1.0)


class Mixture(BaseModel):
    """The weights for both serving policies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seen_ranked: MixtureWeights
    seen_filtered: MixtureWeights

    def weights(self, exclude_seen: bool) -> MixtureWeights:
        """The weights for a policy."""
        return self.seen_filtered if exclude_seen else self.seen_ranked


def floor_mixture(image_share: float) -> Mixture:
    """Content alone: what serves before there is behaviour."""
    weights = MixtureWeights(behaviour=0.0, content=1.0, image_share=image_share)
    return Mixture(seen_ranked=weights, seen_filtered=weights)


@dataclass(frozen=True)
class PartScores:
    """Scores of U validation users over N items, (U, N) per part; None where the catalog lacks the modality."""

    behaviour: FloatArray | None
    text: FloatArray | None
    image: FloatArray | None

    def content(self, image_share: float) -> FloatArray | None:
        """(U, N) content score; a catalog with one modality ignores the share."""
        if self.text is None or self.image is None:
            return self.text if self.image is None else self.image
        return (1 - image_share) * self.text + image_share * self.image


def choose_image_share(scores: PartScores, measure: Measure, default: float) -> float:
    """The share of pictures that ranks validation targets best by content alone; `default` if a modality is missing.

    Args:
        scores: of the validation users.
        measure: (U, N) scores to (U,) per-user quality, higher is better.
        default: the hub's share.
    """
    if scores.text is None or scores.image is None:
        return default
    quality = {share: float(measure(_present(scores.content(share))).mean()) for share in IMAGE_SHARES}
    return max(quality, key=lambda share: (quality[share], -abs(share - default)))


def choose_weights(scores: PartScores, measure: Measure, image_share: float, cold: BoolArray) -> MixtureWeights:
    """The weights that rank validation targets best, leaning towards content and towards cold items.

    First the content weight, then the cold bias: among the values within one standard error of the best, the largest
    wins. Content and bias are what carry items that have few events, and tomorrow there are more of those than among
    the targets of a validation set of today. Content alone is chosen only where no mixture is better.

    Args:
        scores: of U validation users over N items.
        measure: (U, N) scores to (U,) per-user quality, higher is better.
        image_share: share of pictures in the content score.
        cold: (N,) true for items without an ID residual of their own.
    """
    content = scores.content(image_share)
    floor = MixtureWeights(behaviour=0.0, content=1.0, image_share=image_share)
    if scores.behaviour is None:
        return floor
    if content is None:
        content = np.zeros_like(scores.behaviour)
    behaviour = scores.behaviour
    weight, _ = _largest_within_error(CONTENT_WEIGHTS, lambda value: measure(behaviour + value * content))
    mixed = behaviour + weight * content
    bias, quality = _largest_within_error(COLD_BIASES, lambda value: measure(mixed + value * cold))
    if measure(content).mean() >= quality:
        return floor
    return MixtureWeights(behaviour=1.0, content=weight, cold=bias, image_share=image_share)


def probe(scores: PartScores, measure: Measure, image_share: float, weights: Sequence[float] = PROBE_WEIGHTS) -> float:
    """Quality of the best of a few mixtures: what checkpoints are compared by."""
    content = scores.content(image_share)
    behaviour = _present(scores.behaviour)
    if content is None:
        return float(measure(behaviour).mean())
    return max(float(measure(behaviour + weight * content).mean()) for weight in weights)


def _largest_within_error(values: Sequence[float], measure: Callable[[float], FloatArray]) -> tuple[float, float]:
    """The largest value whose quality is within one standard error of the best one's, and the best quality.

    The error is that of the mean difference to the best, paired by user (the one-standard-error rule, Breiman et al.,
    1984).
    """
    qualities = [measure(value) for value in values]
    best = qualities[int(np.argmax([quality.mean() for quality in qualities]))]
    near = [value for value, own in zip(values, qualities, strict=True) if _within_one_error(best, own)]
    return max(near), float(best.mean())


def _within_one_error(best: FloatArray, other: FloatArray) -> bool:
    difference = best - other
    error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else 0.0
    return bool(difference.mean() <= error)


def _present(scores: FloatArray | None) -> FloatArray:
    if scores is None:
        raise ValueError("the part has no scores")
    return scores

"""The mixture: how much the content floor weighs beside behaviour, chosen on validation, once per serving policy.

A session's score of an item is `behaviour * <h, b> + content * ((1 - s) * <q_text, t> + s * <q_image, v>)`. All weights
stand on the session side, so one index serves both policies (seen items ranked, seen items filtered).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from .behaviour import FloatArray

CONTENT_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 14.0, 20.0)
PROBE_WEIGHTS = (0.0, 2.0, 5.0, 10.0)
IMAGE_SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
Measure = Callable[[FloatArray], FloatArray]


class MixtureWeights(BaseModel):
    """Weights of the three parts of an inner product.

    Attributes:
        behaviour: 1, or 0 where the content floor alone was best.
        content: weight of the content score.
        image_share: share of pictures in the content score.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    behaviour: float = Field(ge=0.0)
    content: float = Field(ge=0.0)
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
    """Scores of U validation users over N items, one array (U, N) per part; None where the catalog lacks the modality."""

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


def choose_weights(scores: PartScores, measure: Measure, image_share: float) -> MixtureWeights:
    """The weights that rank validation targets best, leaning towards content.

    Among the mixtures within one standard error of the best, the one with the most content wins: content is what
    carries items that have few events, and there are more of those tomorrow than in a validation set of today.
    Content alone is chosen only where no mixture is better.
    """
    content = scores.content(image_share)
    floor = MixtureWeights(behaviour=0.0, content=1.0, image_share=image_share)
    if scores.behaviour is None:
        return floor
    if content is None:
        return MixtureWeights(behaviour=1.0, content=0.0, image_share=image_share)
    mixtures = [measure(scores.behaviour + weight * content) for weight in CONTENT_WEIGHTS]
    best = int(np.argmax([values.mean() for values in mixtures]))
    if measure(content).mean() >= mixtures[best].mean():
        return floor
    chosen = max(i for i, values in enumerate(mixtures) if _within_one_error(mixtures[best], values))
    return MixtureWeights(behaviour=1.0, content=CONTENT_WEIGHTS[chosen], image_share=image_share)


def probe(scores: PartScores, measure: Measure, image_share: float, weights: Sequence[float] = PROBE_WEIGHTS) -> float:
    """Quality of the best of a few mixtures: what checkpoints are compared by."""
    content = scores.content(image_share)
    behaviour = _present(scores.behaviour)
    if content is None:
        return float(measure(behaviour).mean())
    return max(float(measure(behaviour + weight * content).mean()) for weight in weights)


def _within_one_error(best: FloatArray, other: FloatArray) -> bool:
    difference = best - other
    error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else 0.0
    return bool(difference.mean() <= error)


def _present(scores: FloatArray | None) -> FloatArray:
    if scores is None:
        raise ValueError("the part has no scores")
    return scores

"""The mixture: how much the content floor weighs beside behaviour, chosen on validation, once per serving policy.

A session scores an item by `behaviour <h, b> + cold [item is cold] + content ((1 - s) <q_text, t> + s <q_image, v>)`.
All weights stand on the session side, so one index serves both policies (seen items ranked, seen items filtered).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ..catalog.sequences import IntArray
from .behaviour import FloatArray

CONTENT_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 14.0, 20.0)
COLD_BIASES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
# Beyond them the guard alone goes.
GUARD_BIASES = (*COLD_BIASES, 2.5, 3.0, 4.0)
# Share of a mixture's quality that the guard may cost, and cold targets below which it has nothing to go by.
GUARD_COST = 0.05
GUARD_TARGETS = 20
PROBE_WEIGHTS = (0.0, 2.0, 5.0, 10.0)
IMAGE_SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# (decay, events): from the last few events, for taste that moves, to a long history, for goods that are bought again.
RECENCIES = ((0.7, 5), (0.85, 10), (0.95, 50))
BoolArray = npt.NDArray[np.bool_]
Measure = Callable[[FloatArray], FloatArray]


class MixtureWeights(BaseModel):
    """Weights of the three parts of an inner product.

    Attributes:
        behaviour: 1, or 0 where the content floor alone was best.
        content: weight of the content score.
        cold: added to the score of items with too few events for an ID residual of their own.
        image_share: share of pictures in the content score.
        recency_decay: weight of an event relative to the one after it, in the content score.
        recent_events: events that the content score looks back on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    behaviour: float = Field(ge=0.0)
    content: float = Field(ge=0.0)
    cold: float = Field(default=0.0, ge=0.0)
    image_share: float = Field(ge=0.0, le=1.0)
    recency_decay: float = Field(gt=0.0, le=1.0)
    recent_events: int = Field(ge=1)


class Mixture(BaseModel):
    """The weights for both serving policies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seen_ranked: MixtureWeights
    seen_filtered: MixtureWeights

    def weights(self, exclude_seen: bool) -> MixtureWeights:
        """The weights for a policy."""
        return self.seen_filtered if exclude_seen else self.seen_ranked


@dataclass(frozen=True)
class FloorSettings:
    """How the content score reads a session.

    Attributes:
        image_share: share of pictures.
        recency_decay: weight of an event relative to the one after it.
        recent_events: events looked back on.
    """

    image_share: float
    recency_decay: float
    recent_events: int

    def weights(self, behaviour: float, content: float, cold: float = 0.0) -> MixtureWeights:
        """Mixture weights with these settings."""
        return MixtureWeights(behaviour=behaviour, content=content, cold=cold, **asdict(self))


def floor_mixture(settings: FloorSettings) -> Mixture:
    """Content alone: what serves before there is behaviour."""
    weights = settings.weights(behaviour=0.0, content=1.0)
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


def choose_floor(
    content: Mapping[tuple[float, int], PartScores], measure: Measure, default: FloorSettings
) -> FloorSettings:
    """The recency and the share of pictures that rank validation targets best by content alone.

    Args:
        content: text and image scores of the validation users for each (decay, events) that is tried.
        measure: (U, N) scores to (U,) per-user quality, higher is better.
        default: kept unless something is better; decides the share where a modality is missing.
    """
    best, settings = float("-inf"), default
    candidates = sorted(content, key=lambda own: own != (default.recency_decay, default.recent_events))
    for decay, events in candidates:
        scores = content[decay, events]
        both = scores.text is not None and scores.image is not None
        tried = {default.image_share, *IMAGE_SHARES} if both else {default.image_share}
        shares = sorted(tried, key=lambda own: (abs(own - default.image_share), own))
        for share in shares:
            own = scores.content(share)
            quality = float("-inf") if own is None else float(measure(own).mean())
            if quality > best:
                best, settings = quality, FloorSettings(share, decay, events)
    return settings


def choose_weights(
    scores: PartScores,
    measure: Measure,
    settings: FloorSettings,
    cold: BoolArray,
    targets: IntArray | None = None,
) -> MixtureWeights:
    """The weights that rank validation targets best, leaning towards content and towards cold items.

    First the content weight, then the cold bias: among the values within one standard error of the best, the largest
    wins. Content and bias are what carry items that have few events, and tomorrow there are more of those than among
    the targets of a validation set of today. Then the cold guard: the bias rises until cold targets are ranked as well
    as content alone ranks them, or until it costs more than a twentieth of the best quality. Content alone is chosen
    only where no mixture is better.

    Args:
        scores: of U validation users over N items.
        measure: (U, N) scores to (U,) per-user quality, higher is better.
        settings: how the content scores were made.
        cold: (N,) true for items without an ID residual of their own.
        targets: (U,) the item that each user took; without it nothing is guarded.
    """
    known = scores.content(settings.image_share)
    floor = settings.weights(behaviour=0.0, content=1.0)
    if scores.behaviour is None:
        return floor
    behaviour = scores.behaviour
    content = np.zeros_like(behaviour) if known is None else known
    # Where nothing speaks for or against a weight, the largest would be taken on no evidence at all.
    weights, biases = CONTENT_WEIGHTS if known is not None else (0.0,), COLD_BIASES if cold.any() else (0.0,)
    weight, _ = _largest_within_error(weights, lambda value: measure(behaviour + value * content))
    mixed = behaviour + weight * content
    bias, quality = _largest_within_error(biases, lambda value: measure(mixed + value * cold))
    if known is None:
        return settings.weights(behaviour=1.0, content=weight, cold=bias)
    alone = measure(content)
    if alone.mean() >= quality:
        return floor
    if targets is not None:
        bias = _guard(bias, quality, alone, cold[targets], lambda value: measure(mixed + value * cold))
    return settings.weights(behaviour=1.0, content=weight, cold=bias)


def _guard(
    bias: float, best: float, floor: FloatArray, cold: BoolArray, measure: Callable[[float], FloatArray]
) -> float:
    """The smallest bias from `bias` on with which the users of cold targets (U,) get what the floor gives them (U,)."""
    if cold.sum() < GUARD_TARGETS:
        return bias
    for value in (own for own in GUARD_BIASES if own >= bias):
        quality = measure(value)
        if quality.mean() < (1 - GUARD_COST) * best:
            break
        bias = value
        if quality[cold].mean() >= floor[cold].mean():
            break
    return bias


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

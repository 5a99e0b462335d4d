"""The mixture: how much the content floor weighs beside behaviour, chosen on validation, once per serving policy.

A session scores an item by `behaviour <h, b> + cold [item is cold] + trend log(1 + events lately) + content
((1 - s) <q_text, t> + s <q_image, v>)`.
All weights stand on the session side, so one index serves both policies (seen items ranked, seen items filtered).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ..arrays import BoolArray, FloatArray, IntArray
from ..catalog.sequences import History

CONTENT_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 14.0, 20.0)
COLD_BIASES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
# Beyond them the guard alone goes.
GUARD_BIASES = (*COLD_BIASES, 2.5, 3.0, 4.0)
# Above 1 what everybody takes counts for more than demand in proportion.
TREND_WEIGHTS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
# Share of a mixture's quality that the guard may cost, and cold targets below which it has nothing to go by.
GUARD_COST = 0.05
GUARD_TARGETS = 20
# Events whose items may be held back where seen items are ranked: a session lies nearest to what it has just seen.
HELD_BACK = (0, 1, 2, 3, 5, 10, 50)
PROBE_WEIGHTS = (0.0, 2.0, 5.0, 10.0)
IMAGE_SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# (decay, events): from the last few events, for taste that moves, to a long history, for goods that are bought again.
RECENCIES = ((0.7, 5), (0.85, 10), (0.95, 50))
Measure = Callable[[FloatArray], FloatArray]
Mix = Callable[["PartScores"], FloatArray]


class MixtureWeights(BaseModel):
    """Weights of the parts of an inner product.

    Attributes:
        behaviour: 1, or 0 where the content floor alone was best.
        content: weight of the content score.
        cold: added to the score of items with too few events for an ID residual of their own.
        trend: weight of the logarithm of how often an item was taken lately.
        trend_days: the last days of training that are meant by lately; 0 for all of it.
        image_share: share of pictures in the content score.
        recency_decay: weight of an event relative to the one after it, in the content score.
        recent_events: events that the content score looks back on.
        held_back: last events whose items are not recommended; nothing where all seen items are filtered anyway.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    behaviour: float = Field(ge=0.0)
    content: float = Field(ge=0.0)
    cold: float = Field(default=0.0, ge=0.0)
    trend: float = Field(default=0.0, ge=0.0)
    trend_days: int = Field(default=0, ge=0)
    image_share: float = Field(ge=0.0, le=1.0)
    recency_decay: float = Field(gt=0.0, le=1.0)
    recent_events: int = Field(ge=1)
    held_back: int = Field(default=0, ge=0)


class Mixture(BaseModel):
    """The weights for both serving policies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seen_ranked: MixtureWeights
    seen_filtered: MixtureWeights

    def weights(self, exclude_seen: bool) -> MixtureWeights:
        """The weights for a policy."""
        return self.seen_filtered if exclude_seen else self.seen_ranked

    @property
    def spans(self) -> tuple[int, ...]:
        """The days of every trend that has a weight under some policy."""
        return tuple(sorted({own.trend_days for own in (self.seen_ranked, self.seen_filtered) if own.trend}))

    def hidden(self, history: IntArray | History, exclude_seen: bool) -> IntArray:
        """What of a history, oldest first, is not recommended again."""
        own = len(history) if exclude_seen else self.seen_ranked.held_back
        return np.asarray(history)[max(0, len(history) - own) :]


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


@dataclass(frozen=True)
class Jury:
    """Validation users who judge mixtures, block by block: the scores of a block alone are ever held.

    Attributes:
        blocks: the scores of each block's users and their measure, in the same order whenever it is called.
        text: whether there are text scores.
        image: likewise for pictures.
    """

    blocks: Callable[[], Iterable[tuple[PartScores, Measure]]]
    text: bool
    image: bool

    def __call__(self, mixes: Sequence[Mix]) -> list[FloatArray]:
        """The (U,) per-user quality of each mixture; all of them in one pass over the users."""
        found = [[measure(mix(scores)) for mix in mixes] for scores, measure in self.blocks()]
        return [np.concatenate(own) for own in zip(*found, strict=True)]


def choose_floor(juries: Mapping[tuple[float, int], Jury], default: FloorSettings) -> FloorSettings:
    """The recency and the share of pictures that rank validation targets best by content alone.

    Args:
        juries: with the text and image scores for each (decay, events) that is tried.
        default: kept unless something is better; decides the share where a modality is missing.
    """
    best, settings = float("-inf"), default
    candidates = sorted(juries, key=lambda own: own != (default.recency_decay, default.recent_events))
    for decay, events in candidates:
        jury = juries[decay, events]
        if not (jury.text or jury.image):
            continue
        tried = {default.image_share, *IMAGE_SHARES} if jury.text and jury.image else {default.image_share}
        shares = sorted(tried, key=lambda own: (abs(own - default.image_share), own))
        for share, users in zip(shares, jury([_content(share) for share in shares]), strict=True):
            quality = float(users.mean())
            if quality > best:
                best, settings = quality, FloorSettings(share, decay, events)
    return settings


def choose_held_back(juries: Mapping[int, Jury]) -> int:
    """The fewest events to hold back with which behaviour alone ranks validation targets best.

    Args:
        juries: with behaviour's scores, for each number of events that is tried.
    """
    qualities = {events: float(jury([_mixed(0.0, 0.0)])[0].mean()) for events, jury in juries.items()}
    return max(sorted(juries), key=lambda events: qualities[events])


def choose_weights(
    jury: Jury,
    settings: FloorSettings,
    cold: BoolArray,
    guard: Jury | None = None,
    trends: Mapping[int, FloatArray] | None = None,
) -> MixtureWeights:
    """The weights that rank validation targets best, leaning towards content and towards cold items.

    First the trend: the best one, beside no content or the content weight that is best without it. Then the content
    weight: among the values within one standard error of the best, and within a twentieth of its quality, the largest
    wins. Then the cold bias by the same rule. Content and bias are what carry items that have few events, and tomorrow
    there are more of those than among the targets of a validation set of today. Then the cold guard: the bias rises
    until cold targets are ranked as well as content alone ranks them, at a cost of a twentieth of the best quality at
    most. Content alone is chosen only where no mixture is better.

    Args:
        jury: U validation users, with behaviour's scores over N items and content's as `settings` reads a session.
        settings: how the content scores were made.
        cold: (N,) true for items without an ID residual of their own.
        guard: those of the users who took a cold item, judged by their cold targets alone; without it nothing is
            guarded.
        trends: (N,) how often items were taken lately, by the days that are meant by it; 0 for all of the training.
    """
    share, known = settings.image_share, jury.text or jury.image
    # Where nothing speaks for or against a weight, the largest would be taken on no evidence at all.
    weights, biases = CONTENT_WEIGHTS if known else (0.0,), GUARD_BIASES if cold.any() else (0.0,)
    plain = jury([_mixed(share, value) for value in weights])
    trend, days = _choose_trend(jury, share, {0.0, weights[_best(plain)]}, trends or {})
    lately = np.float32(trend) * trends[days] if trend and trends else None
    beside = plain if lately is None else jury([_mixed(share, value, lately) for value in weights])
    weight, _ = _largest_within_error(weights, beside)

    def mix(bias: float) -> Mix:
        bonus = np.float32(bias) * cold.astype(np.float32)
        return _mixed(share, weight, bonus if lately is None else bonus + lately)

    mixes = {value: mix(value) for value in biases}
    found = jury([*mixes.values(), *([_content(share)] if known else [])])
    free = [(value, own) for value, own in zip(biases, found, strict=False) if value in COLD_BIASES]
    bias, quality = _largest_within_error(*zip(*free, strict=True))
    if known and found[-1].mean() >= quality:
        return settings.weights(behaviour=0.0, content=1.0)
    if known and guard is not None:
        whole = {value: float(own.mean()) for value, own in zip(biases, found, strict=False)}
        bias = _guard(bias, quality, whole, guard, mixes, _content(share))
    chosen = settings.weights(behaviour=1.0, content=weight, cold=bias)
    return chosen.model_copy(update={"trend": trend, "trend_days": days})


def _choose_trend(
    jury: Jury, image_share: float, contents: Collection[float], trends: Mapping[int, FloatArray]
) -> tuple[float, int]:
    """The weight and the days of the trend that is best beside any of the content weights; no weight where none is."""
    if not trends:
        return 0.0, 0
    tried = [(0.0, 0), *((weight, days) for days in trends for weight in TREND_WEIGHTS)]
    bonuses = [np.float32(weight) * trends[days] if weight else None for weight, days in tried]
    found = jury([_mixed(image_share, content, bonus) for bonus in bonuses for content in sorted(contents)])
    return tried[_best(found) // len(contents)]


def _content(image_share: float) -> Mix:
    return lambda scores: _present(scores.content(image_share))


def _mixed(image_share: float, weight: float, bonus: FloatArray | None = None) -> Mix:
    """Behaviour, weighted content, and (N,) bonuses that do not depend on the session."""

    def mix(scores: PartScores) -> FloatArray:
        mixed = _present(scores.behaviour)
        content = scores.content(image_share) if weight else None
        mixed = mixed if content is None else mixed + np.float32(weight) * content
        return mixed if bonus is None or not bonus.any() else mixed + bonus

    return mix


def _guard(
    bias: float, best: float, qualities: Mapping[float, float], guard: Jury, mixes: Mapping[float, Mix], floor: Mix
) -> float:
    """The smallest bias from `bias` on with which the users of cold targets get what the floor gives them.

    Where none that may be paid for does, the one that gives them most, if that is more by one standard error than what
    `bias` gives: nothing is paid for nothing.
    """
    tried = [value for value in mixes if value >= bias]
    paid = list(takewhile(lambda value: qualities[value] >= (1 - GUARD_COST) * best, tried))
    alone, *found = guard([floor, *(mixes[value] for value in paid)])
    if len(alone) < GUARD_TARGETS or not paid:
        return bias
    enough = [value for value, quality in zip(paid, found, strict=True) if quality.mean() >= alone.mean()]
    if enough:
        return enough[0]
    most = _best(found)
    return bias if _within_one_error(found[most], found[0]) else paid[most]


def probe(scores: PartScores, measure: Measure, image_share: float, weights: Sequence[float] = PROBE_WEIGHTS) -> float:
    """Quality of the best of a few mixtures: what checkpoints are compared by."""
    content = scores.content(image_share)
    behaviour = _present(scores.behaviour)
    if content is None:
        return float(measure(behaviour).mean())
    return max(float(measure(behaviour + weight * content).mean()) for weight in weights)


def _largest_within_error(values: Sequence[float], qualities: Sequence[FloatArray]) -> tuple[float, float]:
    """The largest value whose (U,) quality is near that of the best one, and the best quality.

    Near is within one standard error of the mean difference to the best, paired by user (the one-standard-error rule,
    Breiman et al., 1984), and, where few users make that error large, within `GUARD_COST` of the best.
    """
    best = qualities[_best(qualities)]
    least = (1 - GUARD_COST) * best.mean()
    near = [v for v, own in zip(values, qualities, strict=True) if own.mean() >= least and _within_one_error(best, own)]
    return max(near), float(best.mean())


def _best(qualities: Sequence[FloatArray]) -> int:
    return int(np.argmax([quality.mean() for quality in qualities]))


def _within_one_error(best: FloatArray, other: FloatArray) -> bool:
    difference = best - other
    error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else 0.0
    return bool(difference.mean() <= error)


def _present(scores: FloatArray | None) -> FloatArray:
    if scores is None:
        raise ValueError("the part has no scores")
    return scores

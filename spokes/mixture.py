"""The mixture: how much the content floor weighs beside behaviour, once per serving policy; `selection` chooses it.

A session scores an item by `behaviour <h, b> + cold [item is cold] + trend log(1 + events lately) + content
((1 - s) <q_text, t> + s <q_image, v>) + repeat log(1 + times taken before)`.
All weights stand on the session side, so one index serves both policies (seen items ranked, seen items filtered); the
last term is added to the few items that a shopper took before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from ..arrays import FloatArray, IntArray
from ..catalog.sequences import History
from ..hub.content import ContentSpace
from ..hub.reading import Reading, SessionReader, fading
from .config import Config
from .repeats import taken_before


class MixtureWeights(Config):
    """Weights of the parts of a score."""

    behaviour: float = Field(ge=0.0)  # 1, or 0 where the content floor alone was best
    content: float = Field(ge=0.0)  # of the content score
    cold: float = Field(default=0.0, ge=0.0)  # added to items with too few events for an ID residual of their own
    trend: float = Field(default=0.0, ge=0.0)  # of the logarithm of how often an item was taken lately
    trend_days: int = Field(default=0, ge=0)  # the last days of training that are meant by lately; 0 for all of it
    image_share: float = Field(ge=0.0, le=1.0)  # of pictures in the content score
    recency_decay: float = Field(gt=0.0, le=1.0)  # weight of an event relative to the one after it, in that score
    recent_events: int = Field(ge=1)  # that it looks back on
    reading: Reading | None = None  # learned by the hub; in the place of the two above
    repeat: float = Field(default=0.0, ge=0.0)  # of the logarithm of how often the shopper took an item before
    # Last events whose items are not recommended; nothing where all seen items are filtered anyway.
    held_back: int = Field(default=0, ge=0)

    def reader(self, space: ContentSpace) -> SessionReader:
        """How the content score reads a session over a catalog."""
        return FloorSettings(self.image_share, self.recency_decay, self.recent_events, self.reading).reader(space)

    @property
    def looks_back(self) -> int:
        """Events that the content score looks back on."""
        return self.reading.events if self.reading else self.recent_events


class Mixture(Config):
    """The weights for both serving policies."""

    seen_ranked: MixtureWeights
    seen_filtered: MixtureWeights

    def weights(self, exclude_seen: bool) -> MixtureWeights:
        """The weights for a policy."""
        return self.seen_filtered if exclude_seen else self.seen_ranked

    @property
    def spans(self) -> tuple[int, ...]:
        """The days of every trend that has a weight under some policy."""
        return tuple(sorted({own.trend_days for own in (self.seen_ranked, self.seen_filtered) if own.trend}))

    def lifted(self, history: IntArray | History, exclude_seen: bool) -> tuple[IntArray, FloatArray]:
        """The (M,) rows of a history, oldest first, that score higher for having been taken before, and by how much."""
        weight = np.float32(self.weights(exclude_seen).repeat)
        rows, values = taken_before(history if weight else history[:0])
        return rows, weight * values

    def hidden(self, history: IntArray | History, exclude_seen: bool) -> IntArray:
        """What of a history, oldest first, is not recommended again."""
        own = len(history) if exclude_seen else self.seen_ranked.held_back
        return np.asarray(history)[max(0, len(history) - own) :]


@dataclass(frozen=True)
class FloorSettings:
    """How the content score reads a session; as in `MixtureWeights`."""

    image_share: float
    recency_decay: float
    recent_events: int
    reading: Reading | None = None

    def reader(self, space: ContentSpace) -> SessionReader:
        """How a session is read over a catalog."""
        return self.reading.on(space) if self.reading else fading(space, self.recency_decay, self.recent_events)

    def weights(self, behaviour: float, content: float, cold: float = 0.0) -> MixtureWeights:
        """Mixture weights with these settings."""
        return MixtureWeights(behaviour=behaviour, content=content, cold=cold, **vars(self))


def floor_mixture(ranked: FloorSettings, filtered: FloorSettings) -> Mixture:
    """Content alone, for lists that may show seen items and for those that may not: what serves before behaviour."""
    own = [settings.weights(behaviour=0.0, content=1.0) for settings in (ranked, filtered)]
    return Mixture(seen_ranked=own[0], seen_filtered=own[1])

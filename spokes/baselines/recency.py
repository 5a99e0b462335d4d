"""`hub-recency`: the hub's zero-shot recommender with the recency that ranks validation targets best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...arrays import FloatArray
from ...catalog.sequences import Histories
from ..mixture import FloorSettings, floor_mixture

if TYPE_CHECKING:
    from ..spoke import Spoke
    from ..training.validation import Validation

# (decay, events) that a session may be read with, beside the hub's own: from the last event alone to 50 unweighted.
RECENCIES = ((0.7, 1), (0.5, 5), (0.7, 5), (0.85, 10), (0.95, 20), (0.95, 50), (1.0, 50))


@dataclass(frozen=True)
class HubWithRecency:
    """A hub's launch floor under the chosen recency, which `note` names."""

    name: str
    score: Callable[[Histories], FloatArray]
    note: str


def hub_with_recency(
    hub: str, floor: Spoke, vectors: FloatArray, checked: Validation | None, *, exclude_seen: bool
) -> HubWithRecency:
    """Choose the recency of a hub's launch floor over a catalog's vectors (N, D); its own where nobody is there to ask.

    The choice is made under the policy that is served, since what is best with seen items ranked need not be without.
    """
    own = floor.mixture.weights(exclude_seen)
    best, why = floor, "its own: no user to choose on"
    if checked is not None:
        found = []
        faded = [FloorSettings(own.image_share, decay, events) for decay, events in RECENCIES]
        for tried in (floor, *(replace(floor, mixture=floor_mixture(settings, settings)) for settings in faded)):
            scores = tried.recommender("", vectors, exclude_seen=exclude_seen).score(checked.histories)
            found.append((float(checked.ndcg(scores, exclude_seen).mean()), tried))
        # Of equals the first stays, the hub's own before the others.
        best, why = max(found, key=lambda one: one[0])[1], f"chosen on {len(checked.users)} users"
    weights = best.mixture.weights(exclude_seen)
    faded_by = f"decay {weights.recency_decay:g} over {weights.recent_events} events"
    note = f"{hub}, {'the reading that it learned' if weights.reading else faded_by} ({why})"
    served = best.recommender("hub-recency", vectors, exclude_seen=exclude_seen)
    return HubWithRecency(served.name, served.score, note)

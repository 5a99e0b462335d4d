"""Systems to compare with, by name: fitted on the protocol's training events, or the hub with recency of its choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..arrays import FloatArray
from ..errors import InvalidDataError
from ..spokes.training.splits import split_parts
from .hubs import Hubs
from .loading import over_catalog

if TYPE_CHECKING:
    from ..evaluation.protocols import Protocol
    from ..spokes.recommender import Recommender
    from ..spokes.spoke import Spoke
    from ..spokes.training.validation import Validation
    from .context import Context
    from .datasets import Dataset

Factory = Callable[["Context", "Dataset", "Protocol"], "Recommender"]
"""From a dataset's catalog and events, and the split to be fitted for, to a recommender of the whole catalog."""

# As `spokes.baselines.FITTED` names them; to ask there would load torch.
_FITTED = ("popularity", "popularity-7d", "item-cf", "als", "product2vec", "sknn")
# (decay, events) that the hub's zero-shot recommender may read a session with, beside its own.
_RECENCIES = ((0.7, 1), (0.5, 5), (0.7, 5), (0.85, 10), (0.95, 20), (0.95, 50), (1.0, 50))


def _fitted(name: str, context: Context, dataset: Dataset, protocol: Protocol) -> Recommender:
    """A baseline that knows the protocol's training events and nothing else.

    Raises:
        MissingExtraError: the library behind it is not installed.
    """
    from ..evaluation.protocols import training_mask
    from ..spokes.baselines import FITTED
    from .datasets import time_kind

    seen = dataset.sequences.keep_events(training_mask(dataset.sequences, protocol))
    return FITTED[name](seen, time_kind(dataset.event_snapshot) if dataset.event_snapshot else "real")


class _HubWithRecency:
    """The live hub's zero-shot recommender, with the recency that ranks validation targets best.

    Attributes:
        note: the hub and the recency.
    """

    name = "hub-recency"

    def __init__(self, context: Context, dataset: Dataset, protocol: Protocol) -> None:
        hub = Hubs(context).ensure()
        floor, encoded = over_catalog(context, context.registry.models.get(hub), dataset)
        vectors = floor.embed_items(dataset.items["item_id"].to_list(), encoded)
        checked = _validation(dataset, protocol)
        best = floor if checked is None else _best_recency(floor, vectors, checked, protocol.exclude_seen)
        weights = best.mixture.weights(protocol.exclude_seen)
        why = "its own: no user to choose on" if checked is None else f"chosen on {len(checked.users)} users"
        self.note = f"{hub}, decay {weights.recency_decay:g} over {weights.recent_events} events ({why})"
        self.score = best.recommender(self.name, vectors, exclude_seen=protocol.exclude_seen).score


def _validation(dataset: Dataset, protocol: Protocol) -> Validation | None:
    """The users that a spoke would be chosen on under the same protocol, None where there are none."""
    from ..spokes.config import SpokeConfig

    end = protocol.training_end() if protocol.name == "temporal" else None
    try:
        config = SpokeConfig()
        return split_parts(dataset.sequences, protocol.name, end, config).checkpoint_users(config)
    except InvalidDataError:
        return None


def _best_recency(floor: Spoke, vectors: FloatArray, checked: Validation, exclude_seen: bool) -> Spoke:
    """The floor with the best recency; its own where none is better."""
    from ..spokes.mixture import FloorSettings, floor_mixture

    own = floor.mixture.weights(exclude_seen)
    found = []
    for decay, events in ((own.recency_decay, own.recent_events), *_RECENCIES):
        tried = replace(floor, mixture=floor_mixture(FloorSettings(own.image_share, decay, events)))
        scores = tried.recommender("", vectors, exclude_seen=exclude_seen).score(checked.histories)
        found.append((float(checked.ndcg(scores, exclude_seen).mean()), tried))
    return max(found, key=lambda one: one[0])[1]


BASELINES: Mapping[str, Factory] = {
    **{name: partial(_fitted, name) for name in _FITTED},
    _HubWithRecency.name: _HubWithRecency,
}

"""A release into memory, warmed up: whoever is served by it first waits no longer than the others."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime

from ..errors import HubspokeError
from ..workflows.context import Context
from ..workflows.recommendations import Recommender
from .encoding import ItemBytes
from .releases import Place, Version
from .residents import Resident

# A row's id, once in the index and once among the rows by id.
ID_BYTES = 200


def load_resident(context: Context, place: Place, version: Version) -> Resident:
    """Load and warm up what a place stands for."""
    started = time.perf_counter()
    recommender = Recommender(context, version.release)
    warm_up(recommender)
    items = ItemBytes(recommender.catalog.describe, len(recommender.item_ids))
    seconds = time.perf_counter() - started
    size = bytes_of(recommender) + items.nbytes
    return Resident(place, version, recommender, items, size, seconds, datetime.now(UTC))


def warm_up(recommender: Recommender) -> None:
    """Ask what shoppers will ask: with a session, without one, and for an item like another."""
    first = recommender.item_ids[:1]
    with suppress(HubspokeError):  # a catalog of which nothing may be shown answers nothing, and serves all the same
        recommender.recommend(list(first))
        recommender.recommend()
        recommender.similar(first[0])


def warm_up_search(recommender: Recommender) -> None:
    """Load the hub's encoders, which lists do without and searches and explanations need, and ask one question."""
    with suppress(HubspokeError):
        recommender.search("warm")


def bytes_of(recommender: Recommender) -> int:
    """What a recommender takes beside its hub, as near as its tables and arrays tell."""
    tables = recommender.shown.estimated_size()
    if recommender.dataset.items is not recommender.shown:
        tables += recommender.dataset.items.estimated_size()
    return int(recommender.vectors.nbytes + tables + ID_BYTES * len(recommender.item_ids))

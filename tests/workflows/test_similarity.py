"""Similar categories: which one is nearest, what is unknown, and what a category without events is compared by."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.catalog.sequences import Sequences
from hubspoke.errors import NotFoundError
from hubspoke.workflows.similarity import next_by_content
from hubspoke.workflows.workspace import Workspace

TINY = {"text": {"name": "tiny"}, "image": {"name": "tiny"}, "contrastive": {"steps": 0}}


def sequences(*sessions: list[int], n_items: int = 4) -> Sequences:
    offsets = np.cumsum([0, *map(len, sessions)])
    items = np.array([row for own in sessions for row in own], np.int64)
    return Sequences(items, np.arange(len(items)), offsets, np.arange(len(sessions)), tuple("uvw"), n_items)


def test_how_far_content_explains_the_next_item_by_hand() -> None:
    content = np.array([[1.0, 0.0], [0.9, 0.1], [0.5, 0.5], [0.0, 1.0]], np.float32)
    # From 0 to 1, the nearest: both others are less like it. From 3 to 1: one of two (0) is.
    assert next_by_content(sequences([0, 1], [3, 1]), content) == pytest.approx((1.0 + 0.5) / 2)
    assert next_by_content(sequences([0, 3]), content) == 0.0
    # Alike without exception: chance.
    assert next_by_content(sequences([0, 1], [2, 3]), np.ones((4, 2), np.float32)) == 0.5
    assert next_by_content(sequences([0, 0]), content) is None  # a step to itself is none
    assert next_by_content(sequences([0, 1]), np.zeros((4, 0), np.float32)) is None


@pytest.fixture
def three(ws: Workspace, market: Any, catalog: pl.DataFrame, events: pl.DataFrame) -> Workspace:
    """lamps with pictures, the first half of them once more without events or pictures, and mugs."""
    ws.hub.train(domains=[], config=TINY)
    ws.domain.add("lamps", market["lamps"].items, market["lamps"].events)
    ws.domain.add("mugs", market["mugs"].items, market["mugs"].events)
    ws.domain.add("half", catalog.head(20))
    return ws


def test_a_category_without_events_is_compared_by_its_catalog(three: Workspace) -> None:
    found = three.domain.similar("half")
    assert (found.domain, found.hub, found.items, found.events) == ("half", "hub:1", "snapshot:half/items/1", None)
    assert [own.domain for own in found.similar] == ["lamps", "mugs"]
    lamps, mugs = found.similar
    assert lamps.language > mugs.language
    # No picture, no event: unknown and never zero.
    assert (lamps.vision, lamps.behaviour, lamps.shoppers) == (None, None, None)
    assert lamps.behaviour_parts == {}
    known = [value for value in lamps.attribute_parts.values() if value is not None]
    assert lamps.attributes == pytest.approx(sum(known) / len(known))
    assert lamps.rank == pytest.approx((1 + (1 if lamps.attributes > mugs.attributes else 2)) / 2)


def test_categories_with_events_are_compared_by_all_columns_the_same_both_ways(three: Workspace) -> None:
    lamps = {own.domain: own for own in three.domain.similar("lamps").similar}
    mugs = {own.domain: own for own in three.domain.similar("mugs").similar}
    ours, theirs = lamps["mugs"], mugs["lamps"]
    for column in ("language", "vision", "attributes", "behaviour"):
        assert getattr(ours, column) == pytest.approx(getattr(theirs, column)) and getattr(ours, column) < 1.0
    assert set(ours.behaviour_parts) == {"session_length", "repeats", "skew", "content"}
    assert ours.shoppers == theirs.shoppers == 1.0  # the market's shoppers buy in both categories


def test_an_archived_category_and_one_that_cannot_be_read_are_passed_over(three: Workspace, market: Any) -> None:
    three.domain.archive("mugs")
    assert [own.domain for own in three.domain.similar("half").similar] == ["lamps"]
    snapshot = three.registry.snapshots.get("snapshot:lamps/items/1")
    (three.artifacts.open(snapshot.artifact) / "table" / "data.parquet").write_bytes(b"no table")
    three.data_cache.clear()
    assert three.domain.similar("half").similar == ()
    with pytest.raises(NotFoundError):
        three.domain.similar("nowhere")

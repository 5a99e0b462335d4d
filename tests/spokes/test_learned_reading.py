"""A launch floor whose hub has learned to read sessions: policy by policy, from its file, and taken apart."""

from dataclasses import replace

import numpy as np
import pytest
from hubspoke.hub.config import HubConfig
from hubspoke.hub.content import fit_content_space
from hubspoke.hub.fusion import EncodedItems
from hubspoke.hub.model import Hub
from hubspoke.hub.reading import Reading, reading_of_seen
from hubspoke.spokes.explain import explain_scores
from hubspoke.spokes.mixture import FloorSettings, floor_mixture
from hubspoke.spokes.parts import READ, spoke_parts
from hubspoke.spokes.spoke import Spoke, launch_floor

CONFIG = {
    "text": {"name": "tiny"},
    "image": {"name": "tiny"},
    "text_blocks": [{"name": "words", "encoder": {"name": "tiny:1"}}],
    "crowding": True,
}
LEARNED = Reading(lags={"text": (2.0, 1.0), "words": (0.5, 0.25), "image": (1.0, 0.0)}, crowding=-0.5)
ITEM_IDS = [f"i{row}" for row in range(40)]
HISTORY = np.array([3, 8, 5], np.int64)


@pytest.fixture(scope="module")
def taught():
    """The hub, its launch floor over 40 items with noise for content, and the vectors of these."""
    hub = Hub(HubConfig.model_validate(CONFIG), device="cpu")
    hub.reading = LEARNED
    rng = np.random.default_rng(4)
    text, image, words = rng.standard_normal((3, 40, 32)).astype(np.float32)
    encoded = EncodedItems(text, image, {"words": words})
    floor = launch_floor(hub, fit_content_space(hub.fusion.fuse(encoded), hub.config))
    return hub, floor, floor.embed_items(ITEM_IDS, encoded)


def test_new_items_are_ranked_by_what_was_learned_and_seen_ones_by_the_fixed_recency(taught):
    hub, floor, vectors = taught
    assert floor.mixture.seen_filtered.reading == LEARNED
    assert floor.mixture.seen_ranked.reading == reading_of_seen(hub.config) != LEARNED
    share = floor.space.modality_weights(hub.config.image_share)
    for exclude_seen, reading in ((True, LEARNED), (False, reading_of_seen(hub.config))):
        query = floor.embed_sessions(vectors, [HISTORY], exclude_seen=exclude_seen)[0]
        np.testing.assert_allclose(query, reading.on(floor.space).read(vectors, [HISTORY])[0] * share, atol=1e-6)


def test_it_reads_the_same_when_it_is_loaded(taught, tmp_path):
    hub, floor, vectors = taught
    floor.save(tmp_path)
    loaded = Spoke.load(tmp_path, hub)
    assert loaded.mixture == floor.mixture and loaded.space_fingerprint == floor.space_fingerprint
    for exclude_seen in (False, True):
        asked = ([HISTORY, HISTORY[:1]], exclude_seen)
        ours, theirs = (own.embed_sessions(vectors, asked[0], exclude_seen=asked[1]) for own in (floor, loaded))
        np.testing.assert_array_equal(ours, theirs)


def test_its_scores_are_taken_apart_to_the_crowding(taught):
    _, floor, vectors = taught
    rows = np.array([0, 7, 9])
    parts = explain_scores(floor, vectors, HISTORY, rows, exclude_seen=True)
    assert list(parts.parts) == ["text", "crowding", "image"]
    np.testing.assert_allclose(parts.scores, vectors[rows] @ parts.query, atol=1e-5)
    crowding = vectors[rows, floor.space.columns["crowding"].start]
    np.testing.assert_allclose(np.sign(parts.parts["crowding"]), -np.sign(crowding))
    for name in ("text", "image"):
        np.testing.assert_allclose(parts.content_events[name].sum(axis=1), parts.parts[name], atol=1e-5)
    assert not parts.content_events["text"][:, 0].any()  # it looks back on two events


def test_what_a_hub_learned_is_inherited_by_those_that_read_by_it(taught):
    hub, floor, _ = taught
    inherited = {part.name: part.inherited for part in spoke_parts(floor, hub)}
    assert inherited["reading"] == READ and "words encoder" in inherited
    fixed = FloorSettings(image_share=0.4, recency_decay=0.85, recent_events=10)
    other = replace(floor, mixture=floor_mixture(fixed, fixed))
    assert "reading" not in {part.name for part in spoke_parts(other, hub)}

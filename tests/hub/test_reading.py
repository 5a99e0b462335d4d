"""How content reads a session: fixed recency, learned weights, and the terms that they add up to."""

import numpy as np
import pytest
from hubspoke.hub.config import HubConfig
from hubspoke.hub.content import fit_content_space
from hubspoke.hub.fusion import EncodedItems
from hubspoke.hub.reading import (
    PACKAGED,
    Reading,
    fading,
    packaged_reading,
    recency_weighted,
    starting_reading,
)
from hypothesis import given
from hypothesis import strategies as st

AXES = np.eye(4, dtype=np.float32)
N = 60


@pytest.fixture(scope="module")
def space_and_embeddings():
    """A catalog with two text blocks, pictures, and crowding; item 0 has no text and item 1 no picture."""
    rng = np.random.default_rng(5)
    text, image, words = (rng.standard_normal((N, width)).astype(np.float32) for width in (6, 4, 5))
    text[0] = words[0] = image[1] = 0
    config = HubConfig.model_validate({"crowding": True})
    encoded = EncodedItems(text, image, {"words": words})
    space = fit_content_space(encoded, config)
    return space, space.embed(encoded)


def test_a_learned_reading_scores_by_lags_in_units_of_each_block_and_by_crowding(space_and_embeddings):
    space, x = space_and_embeddings
    reading = Reading(lags={"text": (2.0, 1.0), "words": (0.5, 0.25), "absent": (9.0, 9.0)}, crowding=-0.5)
    history = np.array([7, 3, 9], np.int64)  # 9 is the newest; 7 lies beyond two events
    query = reading.on(space).read(x, [history])[0]
    blocks = {name: x[:, columns] for name, columns in space.columns.items()}
    assert list(blocks) == ["text", "words", "crowding", "image"]
    expected = -0.5 * blocks["crowding"][:, 0]
    for name, (newest, before) in (("text", (2.0, 1.0)), ("words", (0.5, 0.25))):
        own = blocks[name]
        expected = expected + (newest * own @ own[9] + before * own @ own[3]) / space.spreads[name]
    scores = x @ query
    np.testing.assert_allclose(scores / scores[5], expected / expected[5], rtol=1e-4)
    plain = np.delete(query, space.columns["crowding"])
    assert np.linalg.norm(plain) == pytest.approx(1.0, abs=1e-5)
    assert not query[space.columns["image"]].any()
    terms = reading.on(space).terms(x, history)
    assert terms.shape == (3, x.shape[1]) and not terms[0].any()
    np.testing.assert_allclose(np.delete(terms.sum(axis=0), space.columns["crowding"]), plain, atol=1e-5)
    assert not reading.on(space).read(x, [np.zeros(0, np.int64)]).any()  # of nothing, nothing is said


def test_a_fixed_recency_knows_nothing_of_further_blocks_and_crowding(space_and_embeddings):
    space, x = space_and_embeddings
    history = np.array([4, 8, 6], np.int64)
    query = fading(space, 0.5, 2).read(x, [history])[0]
    both = np.concatenate([x[:, space.columns["text"]], x[:, space.columns["image"]]], axis=1)
    np.testing.assert_allclose(
        np.concatenate([query[space.columns["text"]], query[space.columns["image"]]]),
        recency_weighted(both, [history], 0.5, 2)[0],
        atol=1e-6,
    )
    assert not query[space.columns["words"]].any() and not query[space.columns["crowding"]].any()
    np.testing.assert_allclose(fading(space, 0.5, 2).terms(x, history).sum(axis=0), query, atol=1e-6)


def test_a_reading_goes_part_of_the_way_to_another():
    a, b = Reading(lags={"text": (1.0, 0.0)}, crowding=-1.0), Reading(lags={"text": (3.0, 2.0)}, crowding=1.0)
    assert a.towards(b, 0.25) == Reading(lags={"text": (1.5, 0.5)}, crowding=-0.5)
    assert a.towards(b, 0.0) == a and a.towards(b, 1.0) == b and a.events == 2


@pytest.mark.parametrize(
    ("rows", "decay", "events", "expected"),
    [
        ((0, 1, 2), 0.5, 5, [0.25, 0.5, 1, 0]),  # oldest first: recent events weigh more
        ((3, 3, 0, 1), 0.5, 2, [0.5, 1, 0, 0]),  # only the last ones count
        ((1, 2, 1), 1.0, 5, [0, 2, 1, 0]),  # a repeat adds up
        ((), 1.0, 5, [0, 0, 0, 0]),
    ],
)
def test_a_session_is_the_weighted_sum_of_its_last_events(rows, decay, events, expected):
    out = recency_weighted(AXES, [np.array(rows, np.int64)], decay, events)
    np.testing.assert_allclose(out[0], np.array(expected) / max(np.linalg.norm(expected), 1e-9), atol=1e-6)
    assert recency_weighted(AXES, [], decay, events).shape == (0, 4)
    assert recency_weighted(AXES[:0], [np.zeros(0, np.int64)], decay, events).tolist() == [[0, 0, 0, 0]]


@given(st.lists(st.lists(st.integers(0, 3), max_size=8), min_size=1, max_size=5), st.floats(0.1, 1), st.integers(1, 6))
def test_a_session_does_not_depend_on_the_others(rows, decay, events):
    histories = [np.array(own, np.int64) for own in rows]
    together = recency_weighted(AXES, histories, decay, events)
    for own, expected in zip(histories, together, strict=True):
        np.testing.assert_allclose(recency_weighted(AXES, [own], decay, events)[0], expected, atol=1e-6)


def test_the_reading_of_the_package_stands_beside_the_blocks_it_was_learned_on():
    assert packaged_reading(HubConfig()) == PACKAGED == starting_reading(HubConfig())
    assert set(PACKAGED.lags) == {"text", "words", "image"} and PACKAGED.crowding < 0
    for changes in (
        {"text_blocks": []},
        {"crowding": False},
        {"text": {"name": "tiny"}},
        {"reading": {"packaged": False}},
    ):
        config = HubConfig.model_validate(changes)
        assert packaged_reading(config) is None
        start = starting_reading(config)
        assert set(start.lags) == {"text", "image", *(block.name for block in config.text_blocks)}
        assert start.crowding == 0.0 and start.lags["text"] == pytest.approx([0.6 * 0.7**lag for lag in range(5)])
        assert start.lags.get("words", (0.4,))[0] == pytest.approx(0.4)


def test_a_hub_of_an_earlier_version_has_the_blocks_that_it_had():
    stored = HubConfig().model_dump(mode="json", exclude={"text_blocks", "crowding", "reading"})
    assert HubConfig.from_stored(stored).text_blocks == () and not HubConfig.from_stored(stored).crowding
    assert packaged_reading(HubConfig.from_stored(stored)) is None
    now = HubConfig().model_dump(mode="json")
    assert HubConfig.from_stored(now) == HubConfig() and HubConfig().crowding

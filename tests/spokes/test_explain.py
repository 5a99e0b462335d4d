from dataclasses import replace

import numpy as np
import pytest
import torch
from hubspoke.catalog.sequences import History
from hubspoke.errors import UsageError
from hubspoke.hub.content import fit_content_space
from hubspoke.spokes.explain import behaviour_parts, explain_scores, last_attention, scores_without, signed_shares
from hubspoke.spokes.spoke import launch_floor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

MIXED = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
SESSIONS = st.lists(st.integers(0, 11), min_size=1, max_size=9)
ROWS = np.array([0, 3, 7, 10])


@pytest.fixture
def cloze(build):
    """A spoke whose sessions are read at a mask token, by blocks that see both sides."""
    return build(model="bert4rec", transformer={"dimension": 8, "max_length": 5, "blocks": 2})


@pytest.fixture
def repeating(spoke):
    """A spoke with a weight for what was taken before."""
    ranked = spoke.mixture.seen_ranked.model_copy(update={"repeat": 0.7, "held_back": 0})
    return replace(spoke, mixture=spoke.mixture.model_copy(update={"seen_ranked": ranked}))


@pytest.fixture(params=["spoke", "floor", "cloze", "repeating"])
def made(request):
    return request.getfixturevalue(request.param)


@MIXED
@given(session=SESSIONS, exclude_seen=st.booleans())
def test_terms_sum_to_parts_parts_to_scores_events_are_what_they_add(made, item_ids, encoded, session, exclude_seen):
    vectors, history = made.embed_items(item_ids, encoded), np.array(session)
    explained = explain_scores(made, vectors, history, ROWS, exclude_seen=exclude_seen)
    score = made.recommender("it", vectors, exclude_seen=exclude_seen).score
    scores = score([history])[0]
    np.testing.assert_allclose(explained.scores, scores[ROWS], atol=1e-5)
    np.testing.assert_allclose(sum(explained.average.values()), scores.mean(), atol=1e-5)
    for place in range(len(history)):
        lost = scores - score([np.delete(history, place)])[0]
        np.testing.assert_allclose(explained.event_contributions[:, place], lost[ROWS], atol=1e-5)
        np.testing.assert_allclose(explained.average_events[place], lost.mean(), atol=1e-5)
    assert set(explained.content_events) == {"text", "image"}
    for name, terms in explained.content_events.items():
        assert terms.shape == (4, len(session))
        np.testing.assert_allclose(terms.sum(axis=1), explained.parts[name], atol=1e-5)


def test_content_terms_against_a_value_computed_by_hand(hub, item_ids, encoded):
    spoke = launch_floor(hub, fit_content_space(hub.fusion.fuse(encoded), hub.config))
    vectors = np.zeros((3, spoke.dimension), np.float32)
    vectors[0, 0], vectors[1, 1], vectors[2, :2] = 1.0, 1.0, (0.6, 0.8)
    # decay 0.7: the query is (0.7, 1) / sqrt(1.49), text counts 0.6; the events bring 0.7 * 0.6 and 1 * 0.8.
    terms = explain_scores(spoke, vectors, np.array([0, 1]), np.array([2])).content_events
    np.testing.assert_allclose(terms["text"], np.array([[0.7 * 0.6, 0.8]]) * 0.6 / 1.49**0.5, atol=1e-6)
    assert not terms["image"].any()


def test_only_events_that_are_looked_back_on_contribute(spoke, floor, item_ids, encoded):
    vectors = spoke.embed_items(item_ids, encoded)
    history = np.array([9, 8, 7, 6, 5, 4, 3, 2, 1])
    explained = explain_scores(spoke, vectors, history, ROWS)
    assert all(own.shape == (4, 9) and not own[:, :4].any() for own in explained.events.values())
    assert explained.events["behaviour"][:, 4].any() and not explained.content_events["text"][:, :6].any()
    floored = explain_scores(floor, floor.embed_items(item_ids, encoded), history, ROWS)
    assert not floored.event_contributions[:, :4].any() and floored.event_contributions[:, 4:].any()


def test_the_behavioural_part_is_split_into_what_the_item_vector_is_summed_of(spoke, item_ids, encoded):
    vectors = spoke.embed_items(item_ids, encoded)
    explained = explain_scores(spoke, vectors, np.array([2, 9, 5]), np.arange(12))
    parts = behaviour_parts(spoke, explained.query, spoke.behaviour.inputs(item_ids, encoded))
    np.testing.assert_allclose(sum(parts.values()), explained.parts["behaviour"], atol=1e-5)
    assert not parts["text"][[1, 3]].any() and not parts["image"][[2, 3]].any()
    assert len(set(parts["bias"].round(6))) == 1
    # Items 9 to 11 have no events and share one residual.
    assert len(set(parts["item id"][9:].round(6))) == 1 < len(set(parts["item id"].round(6)))


def test_a_floor_has_content_parts_only_those_of_its_catalog(floor, hub, item_ids, encoded):
    vectors = floor.embed_items(item_ids, encoded)
    explained = explain_scores(floor, vectors, np.array([2, 9]), ROWS)
    assert set(explained.parts) == set(explained.events) == {"text", "image"}
    assert behaviour_parts(floor, explained.query, None) == {}
    assert last_attention(floor, vectors, np.array([2, 9])) is None
    bare = encoded.without("image")
    spoke = launch_floor(hub, fit_content_space(hub.fusion.fuse(bare), hub.config))
    explained = explain_scores(spoke, spoke.embed_items(item_ids, bare), np.array([2]), ROWS)
    assert list(explained.parts) == ["text"]
    assert set(scores_without(spoke, explained.query, item_ids, bare)) == {"text"}


@pytest.mark.parametrize("missing", ["text", "image"])
def test_a_score_without_a_modality_and_none_without_events(made, item_ids, encoded, missing):
    vectors = made.embed_items(item_ids, encoded)
    query = explain_scores(made, vectors, np.array([4, 6]), ROWS).query
    found = scores_without(made, query, item_ids, encoded)[missing]
    np.testing.assert_allclose(found, made.embed_items(item_ids, encoded.without(missing)) @ query, atol=1e-5)
    lacks = ~(encoded.has_text if missing == "text" else encoded.has_image)
    np.testing.assert_allclose(found[lacks], (vectors @ query)[lacks], atol=1e-5)
    assert np.abs(found - vectors @ query)[~lacks].min() > 1e-4
    with pytest.raises(UsageError, match="An empty session has nothing to explain by; name"):
        explain_scores(made, vectors, np.array([], np.int64), ROWS)


@MIXED
@given(values=arrays.arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6)))
def test_shares_keep_their_sign_and_add_to_one(values):
    shares = signed_shares(values)
    for row, own in zip(values, shares, strict=True):
        assert np.abs(own).sum() == pytest.approx(1.0 if np.abs(row).sum() > 0 else 0.0, abs=1e-9)
        assert (np.sign(own) * np.sign(row) >= 0).all()
    np.testing.assert_allclose(signed_shares(np.array([3.0, -1.0])), [0.75, -0.25])


def test_the_last_position_attends_over_the_window(spoke, cloze, item_ids, encoded):
    vectors, history = spoke.embed_items(item_ids, encoded), np.arange(7)
    weights = last_attention(spoke, vectors, history)
    assert weights.shape == (1, 2, 7)
    assert not weights[:, :, :2].any() and (weights[:, :, 2:] > 0).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(last_attention(spoke, vectors, np.array([4])), np.ones((1, 2, 1), np.float32))
    assert last_attention(spoke, vectors, np.array([], np.int64)) is None
    # A place of the window is the mask token's, which attends to itself too.
    masked = last_attention(cloze, cloze.embed_items(item_ids, encoded), history)
    assert masked.shape == (2, 2, 7) and not masked[:, :, :3].any() and (masked[:, :, 3:] > 0).all()
    assert (masked.sum(axis=-1) < 1).all()


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("kind", ["sasrec", "bert4rec"])
def test_the_attention_is_that_of_the_served_session(build, item_ids, encoded, kind, scaled):
    own = build(model=kind, transformer={"dimension": 8, "max_length": 5, "scale_inputs": scaled})
    vectors, history, model = own.embed_items(item_ids, encoded), np.array([2, 9, 5]), own.behaviour.model
    x = torch.from_numpy(vectors[history, :8])
    with torch.no_grad():
        x = x if model.mask is None else torch.cat([x, model.mask[None]])
        hidden, weights = model.transformer.attention_weights(x[None])
    np.testing.assert_allclose(hidden[0, -1], own.behaviour_sessions(vectors, [history])[0], atol=1e-5)
    np.testing.assert_allclose(last_attention(own, vectors, history), weights[:, 0, :, -1, :3], atol=1e-6)


@pytest.mark.parametrize("kind", ["sasrec", "bert4rec"])
def test_times_and_types_of_events_count_where_they_are_told(build, item_ids, encoded, kind):
    context = {"time_bias": True, "event_types": True, "dwell": True}
    own = build(model=kind, transformer={"dimension": 8, "max_length": 5, **context})
    vectors = own.embed_items(item_ids, encoded)
    rows, kept = np.array([1, 2, 9, 5, 6, 0, 7]), np.array([0, 1, 2, 4, 5, 6])
    told = History(rows, np.array([0, 3, 60, 61, 900, 901, 950]) * 1_000_000, np.array([1, 2, 3, 1, 1, 2, 4]))
    score = own.recommender("it", vectors).score
    explained = explain_scores(own, vectors, told, ROWS)
    np.testing.assert_allclose(explained.scores, score([told])[0][ROWS], atol=1e-5)
    lost = score([told])[0] - score([told[kept]])[0]
    np.testing.assert_allclose(explained.event_contributions[:, 3], lost[ROWS], atol=1e-5)
    assert np.abs(explained.scores - explain_scores(own, vectors, rows, ROWS).scores).max() > 1e-3
    assert np.abs(last_attention(own, vectors, told) - last_attention(own, vectors, rows)).max() > 1e-3

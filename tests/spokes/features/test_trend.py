from dataclasses import replace

import numpy as np
import pytest
from hubspoke.catalog.parsing import DAY_US as DAY
from hubspoke.catalog.sequences import Sequences
from hubspoke.spokes.explain import explain_scores
from hubspoke.spokes.features.trend import Trend, span_counts, trend_of, trend_scores
from hubspoke.spokes.spoke import Spoke

HISTORIES = [np.array(row, np.int64) for row in ([0, 1, 2], [], [5])]


@pytest.fixture(scope="module")
def seen():
    """Item 0 on the first three days, item 1 on the last one and half a day before, item 2 never."""
    items, times = np.array([0, 0, 0, 1, 1]), (np.array([0, 1, 2, 39.5, 40]) * DAY).astype(np.int64)
    return Sequences(items, times, np.array([0, 2, 5]), np.array([0, 1]), ("a", "b"), 3)


# 38 days back is the moment of the last of item 0's events, which lies just outside.
@pytest.mark.parametrize(("days", "counts"), [(0, [3, 2, 0]), (7, [0, 2, 0]), (38, [0, 2, 0]), (39, [1, 2, 0])])
def test_days_count_back_from_the_newest_event_in_a_stream_too(seen, days, counts):
    class Shards:
        newest, n_shards, n_items = seen.newest, 2, 3

        def item_counts(self):
            return seen.item_counts()

        def shard(self, number):
            return seen.keep_events(np.arange(5) < 2 if number == 0 else np.arange(5) >= 2)

    assert span_counts(seen, days).tolist() == span_counts(Shards(), days).tolist() == counts


def test_a_column_per_span_and_nothing_for_items_without_events(seen):
    made = trend_of(seen, ["x", "y", "z"], (0, 7))
    assert made.item_ids == ("x", "y")
    expected = np.log([[4, 1], [3, 3], [1, 1]])
    np.testing.assert_allclose(made.columns(["x", "y", "z"]), expected, rtol=1e-6)
    np.testing.assert_allclose(made.columns(["new", "y"]), expected[[2, 1]], rtol=1e-6)
    np.testing.assert_allclose(trend_scores(seen, (7,))[7], expected[:, 1], rtol=1e-6)
    assert trend_of(seen, ["x", "y", "z"], ()) is None


@pytest.fixture
def trending(spoke, item_ids):
    """The spoke of the tests, with a trend that the policy which ranks seen items alone asks for."""
    counts = np.stack([np.arange(12), np.arange(12)[::-1] // 2], axis=1)
    asked = spoke.mixture.seen_ranked.model_copy(update={"trend": 0.5, "trend_days": 7})
    mixture = spoke.mixture.model_copy(update={"seen_ranked": asked})
    assert mixture.spans == (7,) and spoke.mixture.spans == ()
    return replace(spoke, mixture=mixture, trend=Trend((0, 7), tuple(item_ids), counts))


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_the_trend_is_added_to_every_started_session(spoke, trending, encoded, item_ids, exclude_seen):
    plain, vectors = (own.embed_items(item_ids, encoded) for own in (spoke, trending))
    assert vectors.shape[1] == trending.dimension == plain.shape[1] + 2
    before = spoke.embed_sessions(plain, HISTORIES, exclude_seen=exclude_seen) @ plain.T
    after = trending.embed_sessions(vectors, HISTORIES, exclude_seen=exclude_seen) @ vectors.T
    lifted = np.log1p(np.arange(12)[::-1] // 2) * (0 if exclude_seen else 0.5)
    np.testing.assert_allclose(after - before, np.outer([1, 0, 1], lifted), atol=1e-4)
    np.testing.assert_array_equal(trending.embed_items(["new"], encoded.rows(np.array([0])))[0, 9:11], 0)


def test_the_trend_is_a_part_of_the_explanation(trending, encoded, item_ids):
    vectors = trending.embed_items(item_ids, encoded)
    told = explain_scores(trending, vectors, HISTORIES[0], np.array([3, 11]))
    np.testing.assert_allclose(told.parts["trend"], 0.5 * np.log1p([4, 0]), rtol=1e-6)
    np.testing.assert_allclose(sum(told.parts.values()), told.scores, atol=1e-4)
    # It is the same after every session that has begun, so no event brings it.
    np.testing.assert_allclose(told.events["trend"], 0, atol=1e-9)


def test_a_saved_trend_comes_back_and_half_of_one_is_refused(trending, spoke, hub, encoded, item_ids, tmp_path):
    trending.save(tmp_path)
    loaded = Spoke.load(tmp_path, hub)
    assert loaded.sessions.spans == (0, 7)
    assert loaded.space_fingerprint == trending.space_fingerprint != spoke.space_fingerprint
    np.testing.assert_array_equal(loaded.embed_items(item_ids, encoded), trending.embed_items(item_ids, encoded))
    (tmp_path / "trend.json").write_text('{"spans": [7], "items": ["one"]}')
    with pytest.raises(ValueError, match=r"\(12, 2\) for \(1, 1\)"):
        Trend.load(tmp_path)
    for name in ("trend.json", "trend.safetensors"):
        trending.save(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(OSError, match=name):
            Trend.load(tmp_path)

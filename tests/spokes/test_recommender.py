"""The contract that every recommender keeps; a baseline joins by its line in `FITTED`, any other by one in `make`."""

from dataclasses import replace

import numpy as np
import pytest
from hubspoke.spokes.baselines import FITTED
from hubspoke.spokes.recommender import VectorRecommender

HISTORIES = [np.array(row, np.int64) for row in ([0, 1, 2], [], [11], [5, 5, 5], list(range(12)) * 6)]
N = 12
SEEN = [[0, 1, 2, 3], [2, 3, 4], [4, 5, 0, 1]]
# Two tastes, 0 to 2 and 3 to 4; 5 was always alone and 6 is unknown.
TASTES = [[0, 1, 2], [1, 0, 2], [2, 1, 0], [3, 4], [4, 3, 4], [5]] * 20


@pytest.fixture(params=[*FITTED, "floor", "spoke", "spoke, seen filtered"])
def make(request, sequences, floor, spoke, encoded, item_ids):
    def by_vectors(made, exclude_seen=False):
        return made.recommender(request.param, made.embed_items(item_ids, encoded), exclude_seen=exclude_seen)

    return {
        "floor": lambda: by_vectors(floor),
        "spoke": lambda: by_vectors(spoke),
        "spoke, seen filtered": lambda: by_vectors(spoke, exclude_seen=True),
    }.get(request.param, lambda: FITTED[request.param](sequences(*SEEN, n_items=N), "real"))


def test_scores_are_finite_repeat_change_no_history_and_do_not_depend_on_the_batch(make):
    made, before = make(), [history.copy() for history in HISTORIES]
    scores = made.score(HISTORIES)
    assert made.name and scores.shape == (len(HISTORIES), N) and scores.dtype == np.float32
    assert np.isfinite(scores).all() and made.score([]).shape == (0, N)
    for again in (make(), made):
        np.testing.assert_array_equal(again.score(HISTORIES), scores)
    for history, own, alone in zip(HISTORIES, before, scores, strict=True):
        np.testing.assert_allclose(made.score([history])[0], alone, atol=1e-4)
        np.testing.assert_array_equal(history, own)
    np.testing.assert_allclose(made.score(HISTORIES[::-1])[::-1], scores, atol=1e-4)


@pytest.mark.parametrize("name", list(FITTED))
def test_a_baseline_has_its_name_finds_all_alike_without_events_and_does_not_ask_who_the_users_are(name, sequences):
    made = FITTED[name](sequences(n_items=N), "real")
    assert made.name == name
    np.testing.assert_array_equal(made.score(HISTORIES), np.zeros((len(HISTORIES), N)))
    given, renamed = sequences(*SEEN, n_items=N), sequences(*SEEN, n_items=N, users=[4, 7, 9])
    np.testing.assert_array_equal(*(FITTED[name](own, "real").score(HISTORIES) for own in (given, renamed)))


@pytest.mark.parametrize("name", [name for name in FITTED if "popularity" not in name])
@pytest.mark.parametrize(("session", "taste"), [([0], [1, 2]), ([1, 2], [0]), ([3], [4])])
def test_a_session_is_followed_by_what_was_met_with_it(name, sequences, session, taste):
    scores = FITTED[name](sequences(*TASTES, n_items=7), "real").score([np.array(session)])[0]
    others = np.setdiff1d(np.arange(7), [*session, *taste])
    assert scores[taste].min() > scores[others].max()
    assert scores[6] == 0


@pytest.mark.parametrize("name", ["item-cf", "sknn", "product2vec"])
@pytest.mark.parametrize("rows", [[[4]], [[1], [4]]])
def test_nothing_met_together_scores_nothing(name, sequences, rows):
    assert not FITTED[name](sequences(*rows), "real").score([np.array([3]), np.array([2, 0])]).any()


def test_inner_products_by_hand_and_what_is_hidden_scores_below_everything():
    vectors = np.array([[1, 0], [0, 2], [1, 1]], np.float32)
    last = np.array([[3, 1]], np.float32)
    own = VectorRecommender("last", vectors, lambda rows: last.repeat(len(rows), axis=0), lambda past: past[-1:])
    scores = own.score([np.array([0, 2]), np.array([], np.int64)])
    assert scores.tolist() == [[3, 2, -np.inf], [3, 2, 4]]
    # What is said of single items stands beside the products; what is hidden stays so.
    own = replace(own, lift=lambda past: (past[:2], np.array([5, 7], np.float32)[: len(past)]))
    scores = own.score([np.array([0, 2]), np.array([0])])
    assert scores.tolist() == [[8, 2, -np.inf], [-np.inf, 2, 4]]

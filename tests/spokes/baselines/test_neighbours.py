from dataclasses import replace

import numpy as np
from hubspoke.spokes.baselines.neighbours import SessionNeighbours

ROWS = [[0, 1], [1, 0, 0], [1, 2], [2, 3, 2], [4]]


def test_scores_by_hand(sequences):
    made = SessionNeighbours(sequences(*ROWS), decay=0.8)
    votes = {
        (0,): [2, 2, 0, 0, 0, 0],
        (0, 2): [1.6, 2.6, 2, 1, 0, 0],  # 2 weighs 1, 0 weighs 0.8: sessions {0, 1} twice 0.8, {1, 2} 1, {2, 3} 1
        (1, 2): [1.6, 3.4, 2.8, 1, 0, 0],  # both items of {1, 2} are met: 1 + 0.8
        (4,): [0, 0, 0, 0, 2**0.5, 0],
    }
    # Every session that holds anything has two distinct items, so its norm is the root of 2; 4 stands alone.
    scores = made.score([np.array(own) for own in votes])
    np.testing.assert_allclose(scores, np.array([*votes.values()]) / 2**0.5, atol=1e-6)
    # A repeated item weighs by its last place, and only recent events count.
    np.testing.assert_array_equal(made.score([np.array([1, 0, 1])]), made.score([np.array([0, 1])]))
    short = SessionNeighbours(sequences(*ROWS), recent=2)
    np.testing.assert_array_equal(short.score([np.array([4, 0, 1])]), short.score([np.array([0, 1])]))


def test_the_most_similar_vote_and_of_equal_ones_the_newest(sequences):
    given = sequences([0, 1], [0, 2], [0, 3, 4])
    # With the times turned round the first session is the newest.
    turned = replace(given, timestamps=given.timestamps[::-1].copy())
    # {0, 3, 4} is longer, {0, 1} older.
    for data, neighbours, found in ((given, 1, [0, 2]), (turned, 1, [0, 1]), (given, 2, [0, 1, 2])):
        scores = SessionNeighbours(data, neighbours=neighbours).score([np.array([0])])[0]
        assert np.flatnonzero(scores).tolist() == found
    # Only the newest sessions of an item are looked at.
    made = SessionNeighbours(sequences([0, 1], [0, 2], [0, 3]), sample=2)
    assert np.flatnonzero(made.score([np.array([0])])[0]).tolist() == [0, 2, 3]
    assert np.flatnonzero(made.score([np.array([1])])[0]).tolist() == [0, 1]

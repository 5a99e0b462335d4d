import numpy as np
from hubspoke.spokes.baselines.item_to_item import ItemToItem

# A dozen interactions: 0 with 1 twice, 1 with 2, 2 with 3; 4 alone; 5 never.
ROWS = [[0, 1], [1, 0, 0], [1, 2], [2, 3, 2], [4], [1]]


def test_similarities_by_hand(sequences):
    # Neighbours only, no shrinkage. Counts of items: 3 4 3 1 1 0.
    made = ItemToItem(sequences(*ROWS), window=1, shrinkage=0.0)
    scores = made.score([np.array([i]) for i in range(6)])
    expected = np.zeros((6, 6))
    expected[0, 1] = expected[1, 0] = 2 / 12**0.5  # (0, 1) and (1, 0); the step from 0 to 0 is no pair
    expected[1, 2] = expected[2, 1] = 1 / 12**0.5
    expected[2, 3] = expected[3, 2] = 2 / 3**0.5  # (2, 3) and (3, 2)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    # The last event weighs 1, the one before 0.8.
    np.testing.assert_allclose(made.score([np.array([0, 2])])[0], expected[2] + 0.8 * expected[0], atol=1e-6)
    # The window and the shrinkage.
    for window, expected in ((2, [0, 1 / 4, 1 / 4, 0, 0, 0]), (1, [0, 1 / 4, 0, 0, 0, 0])):
        made = ItemToItem(sequences([0, 1, 2]), window=window, shrinkage=3.0)
        np.testing.assert_allclose(made.score([np.array([0])])[0], expected, atol=1e-6)
    # A window ends with its sequence, and only recent events count.
    assert not ItemToItem(sequences([0, 1], [2, 3])).score([np.array([1])])[0, [2, 3]].any()
    short = ItemToItem(sequences(*ROWS), window=1, recent=2)
    np.testing.assert_array_equal(short.score([np.array([3, 0, 1])]), short.score([np.array([0, 1])]))

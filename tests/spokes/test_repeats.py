"""What a shopper took before: counted over the last events, and chosen where it tells what is taken next."""

import numpy as np
import pytest
from hubspoke.catalog.sequences import History
from hubspoke.spokes.repeats import REPEAT_EVENTS, taken_before


def test_every_item_of_the_last_events_counts_once_with_the_logarithm_of_how_often_it_came() -> None:
    rows, values = taken_before(np.array([4, 2, 4, 4]))
    assert rows.tolist() == [2, 4]
    assert values.tolist() == pytest.approx([np.log(2), np.log(4)])
    rows, values = taken_before(History(np.array([9, *[1] * REPEAT_EVENTS])))  # what is too far back is forgotten
    assert (rows.tolist(), values.tolist()) == ([1], pytest.approx([np.log(1 + REPEAT_EVENTS)]))
    assert [len(own) for own in taken_before(np.array([], np.int64))] == [0, 0]

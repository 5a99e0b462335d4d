from dataclasses import replace

import numpy as np
from hubspoke.catalog.parsing import DAY_US as DAY
from hubspoke.spokes.baselines.popularity import Popularity, RecentPopularity

ROWS = [[0, 1], [1, 0, 0], [1, 2], [2, 3, 2], [4], [1]]
NOBODY = [np.zeros(0, np.int64), np.array([3])]


def dated(made, *days):
    """The same sequences with each event on its day."""
    return replace(made, timestamps=(np.array(days) * DAY).astype(np.int64))


def test_the_last_days_come_first_and_all_time_breaks_their_ties(sequences):
    # Days of the events of ROWS, in their order; the last event is on day 20, so later than day 13 counts.
    given = dated(sequences(*ROWS), 1, 2, 3, 4, 4, 5, 13, 14, 20, 20, 16, 13.5)
    made = RecentPopularity(given)
    # Recent events: 2 twice and 3 once on days 14, 20 and 20, 4 on day 16 and 1 on day 13.5; the event on day 13 lies
    # outside. By (recent, all): 2 (2, 3), 1 (1, 4), 3 and 4 (1, 1), 0 (0, 3), 5 (0, 0).
    assert made.score(NOBODY).tolist() == [[1, 3, 4, 2, 2, 0]] * 2
    assert (made.name, made.note) == ("popularity-7d", None)
    # Within 30 days lies everything.
    assert np.argsort(-RecentPopularity(given, days=30).score(NOBODY)[0], kind="stable").tolist() == [1, 0, 2, 3, 4, 5]
    # An item with events never scores like one without.
    everything = dated(sequences([0, 1, 1], n_items=2), 0, 0, 0)
    assert RecentPopularity(everything).score(NOBODY[:1]).tolist() == [[1, 2]]


def test_an_order_has_no_days_so_all_time_stands_in(sequences):
    given = sequences(*ROWS)
    made = RecentPopularity(given, time_kind="order")
    assert made.score(NOBODY).tolist() == [[3, 4, 3, 1, 1, 0]] * 2
    np.testing.assert_array_equal(made.score(NOBODY), Popularity(given).score(NOBODY))  # which counts events
    assert made.note == "popularity-7d counts all events: their timestamps are an order without days"
    assert RecentPopularity(given, time_kind="day").note is None

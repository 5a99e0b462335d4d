"""Sessions in memory: bounded, one thread at a time each, followed anew by whoever answers next."""

import gc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hubspoke.catalog.shopper_events import ShopperEvent, read_event
from hubspoke.serving.sessions import LiveSessions, SessionLimits
from hubspoke.workflows.question import Question
from hubspoke.workflows.recommendations import Recommender
from hubspoke.workflows.workspace import Workspace

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def event(user: str, item: int, minute: int = 0, **told: Any) -> ShopperEvent:
    at = (NOW + timedelta(minutes=minute)).isoformat()
    return read_event({"user_id": user, "item_id": f"lamps-{item:04d}", "timestamp": at, **told}, NOW + timedelta(1))


@pytest.fixture
def recommender(shop: Workspace) -> Recommender:
    return Recommender(shop, "lamps")


def test_whoever_does_something_is_known_at_once_in_that_category(recommender: Recommender) -> None:
    sessions = LiveSessions()
    assert sessions.followed("lamps", "new", recommender) is None
    sessions.add("lamps", [event("new", 3), event("new", 3), event("other", 4)])
    followed = sessions.followed("lamps", "new", recommender)
    assert followed is not None and [recommender.item_ids[row] for row in followed.history.items] == ["lamps-0003"]
    assert sessions.followed("mugs", "new", recommender) is None
    # Of a shopper whose items nobody knows there is nothing to go by.
    sessions.add("lamps", [event("lost", 999)])
    assert sessions.followed("lamps", "lost", recommender) is None
    assert len(sessions) == 3


def test_the_newest_events_stay_and_the_shopper_that_was_seen_least_recently_goes(recommender: Recommender) -> None:
    sessions = LiveSessions(SessionLimits(shoppers=2, events=3))
    sessions.add("lamps", [event("a", item, item) for item in range(1, 6)])
    followed = sessions.followed("lamps", "a", recommender)
    assert followed is not None and [recommender.item_ids[row][-1] for row in followed.history.items] == ["3", "4", "5"]
    sessions.add("lamps", [event("b", 1)])
    sessions.followed("lamps", "a", recommender)
    sessions.add("lamps", [event("c", 1)])
    known = [user for user in "abc" if sessions.followed("lamps", user, recommender)]
    assert (known, len(sessions)) == (["a", "c"], 2)


def test_bytes_are_counted_and_kept_below_their_limit(recommender: Recommender) -> None:
    sessions = LiveSessions(SessionLimits(bytes=40_000))
    for number in range(50):
        sessions.add("lamps", [event(f"u{number}", 3)])
        sessions.followed("lamps", f"u{number}", recommender)
        assert sessions.bytes <= 40_000
    assert 2 < len(sessions) < 50
    assert sessions.followed("lamps", "u49", recommender) and not sessions.followed("lamps", "u0", recommender)
    one = LiveSessions(SessionLimits(bytes=1))  # the last one is always there
    one.add("lamps", [event("a", 3)])
    assert one.followed("lamps", "a", recommender) is not None


def test_after_a_swap_the_remembered_events_are_followed_by_the_other_release(shop: Workspace) -> None:
    first, second = Recommender(shop, "release:lamps/1"), Recommender(shop, "release:lamps/2")
    sessions, alone = LiveSessions(), LiveSessions()
    for item in (3, 7, 9):
        sessions.add("lamps", [event("new", item, item)])
        sessions.followed("lamps", "new", first)
        alone.add("lamps", [event("new", item, item)])
    before = sessions.bytes
    swapped, wanted = (own.followed("lamps", "new", second) for own in (sessions, alone))
    assert swapped is not None and wanted is not None and swapped.behaviour is not None
    np.testing.assert_allclose(swapped.behaviour, wanted.behaviour, atol=1e-5)
    assert swapped.behaviour.shape != sessions.followed("lamps", "new", first).behaviour.shape
    assert sessions.bytes > before
    # With the first recommender goes what followed for it.
    del first
    gc.collect()
    sessions.followed("lamps", "new", second)
    assert sessions.bytes == alone.bytes


def test_many_threads_tell_and_ask_of_one_shopper(recommender: Recommender) -> None:
    sessions = LiveSessions()
    events = [event("new", number % 20, number) for number in range(60)]

    def visit(own: ShopperEvent) -> None:
        sessions.add("lamps", [own])
        sessions.followed("lamps", "new", recommender)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(visit, events))
    alone = LiveSessions()
    alone.add("lamps", events)
    found, wanted = (own.followed("lamps", "new", recommender) for own in (sessions, alone))
    assert found is not None and wanted is not None
    np.testing.assert_array_equal(found.history.items, wanted.history.items)
    answers = [
        recommender.answer(Question(user="new", k=10, followed=own)).to_dict()["items"] for own in (found, wanted)
    ]
    assert [own["item_id"] for own in answers[0]] == [own["item_id"] for own in answers[1]]

"""A shopper who is followed is answered as the batch would answer the same events, at every step."""

import gc
import weakref
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hubspoke.catalog.line_log import LineLog
from hubspoke.catalog.schema import EVENT_TYPES
from hubspoke.catalog.shopper_events import ShopperEvent, read_event
from hubspoke.workflows.answers import Recommendations
from hubspoke.workflows.following import Follower
from hubspoke.workflows.question import Question, SessionEvent
from hubspoke.workflows.recommendations import Recommender
from hubspoke.workflows.workspace import Workspace

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def event(user: str, item: int | None, minute: float, **told: Any) -> ShopperEvent:
    raw = {"user_id": user, "item_id": None if item is None else f"lamps-{item:04d}", **told}
    raw["timestamp"] = (NOW + timedelta(minutes=minute)).isoformat()
    return read_event(raw, NOW + timedelta(days=1))


def same(got: Recommendations, wanted: Recommendations) -> None:
    assert [own["item_id"] for own in got.items] == [own["item_id"] for own in wanted.items]
    assert [own["score"] for own in got.items] == pytest.approx([own["score"] for own in wanted.items], abs=1e-5)
    assert [own["item_id"] for own in got.session] == [own["item_id"] for own in wanted.session]


def batch(recommender: Recommender, followed: Any, **how: Any) -> Recommendations:
    """The answer to a session of the same events."""
    history = followed.history
    assert history.timestamps is not None and history.event_types is not None
    session = [
        SessionEvent(
            recommender.item_ids[row],
            datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(time)),
            EVENT_TYPES[code - 1],
        )
        for row, time, code in zip(history.items, history.timestamps, history.event_types, strict=True)
    ]
    return recommender.answer(Question(session, **how))


CONTEXT = {"time_bias": True, "event_types": True, "dwell": True}


@pytest.fixture(scope="module", params=["plain", "context", "bert4rec", "floor"])
def recommender(request: Any, tmp_path_factory: Any, shop_template: Any, tiny_spoke: Any) -> Any:
    """Over a spoke that looks back on six events, of several kinds, and over the launch floor."""
    import shutil

    from hubspoke.workflows.workspace import open_workspace

    folder = tmp_path_factory.mktemp("follow") / "shop"
    shutil.copytree(shop_template, folder)
    with open_workspace(environ={}, cwd=folder, workspace=folder, actor="tester") as ws:
        ref = "lamps"
        if request.param == "floor":
            ref = str(ws.index.build("hub:1", domain="lamps").ref)
        else:
            shape = {"dimension": 16, "max_length": 6, **(CONTEXT if request.param == "context" else {})}
            model = {"model": "bert4rec"} if request.param == "bert4rec" else {}
            ref = str(ws.spoke.train("lamps", config={**tiny_spoke, **model, "transformer": shape}).ref)
        yield Recommender(ws, ref)


# Repeats, a search, a pause after too short a session, items that nobody knows, more than the model looks back on.
VISIT = [
    (3, 0, {}), (3, 1, {}), (7, 2, {"event_type": "cart"}), (99, 3, {}), (None, 4, {"event_type": "search"}),
    (9, 5, {}), (11, 60, {}), (12, 61, {}), (13, 62, {"event_type": "purchase"}), (3, 63, {}), (14, 64, {}),
    (15, 65, {}), (16, 66, {}),
]  # fmt: skip


@pytest.mark.parametrize("user", ["user-0003", "nobody"])
def test_every_step_is_the_answer_of_the_batch(recommender: Recommender, user: str) -> None:
    follower, events = Follower(recommender, user), []
    lengths = []
    for item, minute, told in VISIT:
        events.append(event(user, item, minute, **told))
        followed = follower.follow(recommender, events)
        lengths.append(len(followed.history))
        for how in ({"k": 40}, {"k": 5, "exclude_seen": True}):
            if lengths[-1]:
                same(
                    recommender.answer(Question(user=user, followed=followed, **how)),
                    batch(recommender, followed, **how),
                )
    recorded = lengths[0] - 1
    assert (recorded > 0) == (user != "nobody")
    # The search ends a session of two, which is too short; so is the item by itself that follows it.
    assert [length - recorded for length in lengths] == [1, 1, 2, 2, 2, 1, 1, 2, 3, 4, 5, 6, 7]
    assert followed.unknown == ["lamps-0099"]
    assert follower.nbytes > 0


def test_events_in_any_order_and_all_at_once_come_to_the_same(recommender: Recommender) -> None:
    events = [event("user-0003", item, minute, **told) for item, minute, told in VISIT]
    wanted = Follower(recommender, "user-0003").follow(recommender, events)
    late = Follower(recommender, "user-0003")
    for count in (12, 13):
        found = late.follow(recommender, [*events[6:count], *events[:6]])
    np.testing.assert_array_equal(found.history.items, wanted.history.items)
    if wanted.behaviour is not None:
        np.testing.assert_allclose(found.behaviour, wanted.behaviour, atol=1e-5)


def test_a_recommender_that_is_followed_by_nobody_is_let_go(shop: Workspace) -> None:
    recommender = Recommender(shop, "lamps")
    followers = weakref.WeakKeyDictionary({recommender: Follower(recommender, "nobody")})
    followers[recommender].follow(recommender, [event("nobody", 3, 0)])
    del recommender
    gc.collect()
    assert len(followers) == 0


def test_what_was_followed_is_what_the_next_ingest_serves(shop: Workspace) -> None:
    user, before = "user-0003", Recommender(shop, "lamps")
    events = [event(user, item, minute, **told) for item, minute, told in VISIT]
    followed = Follower(before, user).follow(before, events)
    streamed = before.answer(Question(user=user, k=10, followed=followed))
    log = LineLog(shop.settings.events_dir / "lamps")
    log.append(events)
    log.close()
    assert shop.data.ingest("lamps", from_log=True).log.added == len(events)
    after = Recommender(shop, "lamps")
    same(streamed, after.recommend(user=user, k=10))
    # The events are recorded now, and count once.
    same(streamed, after.answer(Question(user=user, k=10, followed=Follower(after, user).follow(after, events))))

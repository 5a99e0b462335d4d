"""Events over HTTP: each judged by itself, once, in the log before it is confirmed, known again after a restart."""

import errno
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hubspoke.catalog.event_log import read_segments
from hubspoke.catalog.line_log import LineLog
from hubspoke.catalog.shopper_events import read_event
from hubspoke.serving.events import MAX_EVENTS, RecentIds
from hubspoke.workflows.workspace import Workspace

EVENTS = "/v1/domains/lamps/events"
ASK = "/v1/domains/lamps/recommend"
VIEW = {"user_id": "new", "item_id": "lamps-0003", "event_id": "e1"}


def logged(shop: Workspace, domain: str = "lamps") -> list[str]:
    found = read_segments(shop.settings.events_dir / domain)
    return [own.event_id for _, events in found for own in events]


def test_one_or_several_are_taken_each_by_itself_and_each_once(client: TestClient, shop: Workspace) -> None:
    assert client.post(ASK, json={}).status_code == 200  # something serves
    answer = client.post(EVENTS, json=VIEW)
    assert answer.status_code == 202
    assert answer.json() == {
        "schema_version": 1, "domain": "lamps", "accepted": 1, "duplicates": 0, "unknown_items": 0, "refused": [],
    }  # fmt: skip
    ahead = (datetime.now(UTC) + timedelta(minutes=6)).isoformat()
    given = [
        VIEW,
        VIEW | {"event_id": "e2", "item_id": "oak"},
        VIEW | {"event_id": "e3", "user_id": 7},
        VIEW | {"event_id": "e2"},
        VIEW | {"event_id": "e4", "timestamp": ahead},
        "rose",
    ]
    found = client.post(EVENTS, json=given).json()
    assert (found["accepted"], found["duplicates"], found["unknown_items"]) == (1, 2, 1)
    assert [(own["index"], own["event_id"]) for own in found["refused"]] == [(2, "e3"), (4, "e4"), (5, None)]
    assert found["refused"][0]["reason"] == "user_id: Input should be a valid string."
    assert "minutes ahead" in found["refused"][1]["reason"]
    assert logged(shop) == ["e1", "e2"]


def test_where_all_are_refused_the_answer_says_so(client: TestClient, shop: Workspace) -> None:
    answer = client.post(EVENTS, json=[{"item_id": "lamps-0003"}])
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["detail"] == "No event could be taken; the first: user_id: Field required."
    assert [own["index"] for own in answer.json()["refused"]] == [0]
    assert client.post(EVENTS, json=[]).json()["accepted"] == 0
    assert client.post(EVENTS, json=[VIEW] * (MAX_EVENTS + 1)).status_code == 413
    assert client.post(EVENTS, content=b"{", headers={"content-type": "application/json"}).status_code == 422
    assert client.post("/v1/domains/cups/events", json=VIEW).status_code == 404
    assert logged(shop) == []


def test_a_category_that_nothing_serves_yet_is_told_of_all_the_same(serve: Any, shop: Workspace, market: Any) -> None:
    shop.domain.add("cups", market["mugs"].items)
    answer = serve().post("/v1/domains/cups/events", json=VIEW)
    assert (answer.status_code, answer.json()["unknown_items"]) == (202, None)
    assert logged(shop, "cups") == ["e1"]
    assert serve(domains=("lamps",)).post("/v1/domains/cups/events", json=VIEW).status_code == 404


def test_what_cannot_be_written_is_not_confirmed_and_may_come_again(
    client: TestClient, shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post(EVENTS, json=VIEW | {"event_id": "e0"})
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        answer = client.post(EVENTS, json=VIEW)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert client.post(EVENTS, json=VIEW).json()["accepted"] == 1
    assert logged(shop) == ["e0", "e1"]


def test_a_restart_forgets_no_session_and_no_id(serve: Any, shop: Workspace) -> None:
    killed = LineLog(shop.settings.events_dir / "lamps")
    killed.append([read_event(VIEW, datetime.now(UTC))])
    client = serve()
    service = client.app.state.service
    while len(service.sessions) == 0:
        client.get("/v2/health/live")
    assert client.post(EVENTS, json=VIEW).json()["duplicates"] == 1
    found = client.post(ASK, json={"user": "new", "k": 3}).json()
    assert [own["item_id"] for own in found["session"]] == ["lamps-0003"] and found["fallback"] is None


def test_the_stop_of_a_service_seals_its_log(shop: Workspace) -> None:
    from hubspoke.serving.app import create_app
    from hubspoke.serving.service import Service
    from hubspoke.serving.settings import ServeSettings

    with TestClient(create_app(Service(shop, ServeSettings(access_log=False)))) as client:
        client.post(EVENTS, json=VIEW)
        assert any(".open" in own.name for own in (shop.settings.events_dir / "lamps").iterdir())
    assert not any(".open" in own.name for own in (shop.settings.events_dir / "lamps").iterdir())


def test_metrics_count_events_and_sessions(client: TestClient) -> None:
    client.post(EVENTS, json=[VIEW, VIEW, 3])
    client.post(ASK, json={"user": "new"})
    text = client.get("/metrics").text
    for outcome in ("accepted", "duplicate", "refused"):
        assert f'hubspoke_events_total{{domain="lamps",outcome="{outcome}"}} 1.0' in text
    assert "hubspoke_sessions 1.0" in text


def test_only_so_many_ids_are_remembered() -> None:
    ids = RecentIds(2)
    assert [ids.add(own) for own in ("a", "b", "a", "c", "a")] == [True, True, False, True, True]
    ids.forget("a")
    ids.forget("nothing")
    assert ids.add("a")


def test_what_happened_now_and_what_is_recorded_are_one_history(client: TestClient, shop: Workspace) -> None:
    recorded = [own["item_id"] for own in shop.recommend("lamps", user="user-0003", k=1).session]
    client.post(EVENTS, json=VIEW | {"user_id": "user-0003"})
    found = client.post(ASK, json={"user": "user-0003", "k": 5}).json()
    assert [own["item_id"] for own in found["session"]] == [*recorded, "lamps-0003"]
    assert found["release"] == "release:lamps/1"


def test_every_answer_to_a_shopper_rests_on_what_happened_now(client: TestClient) -> None:
    client.post(EVENTS, json=[VIEW, VIEW | {"event_id": "e2", "item_id": "lamps-0007", "event_type": "cart"}])
    path, shopper = "/v1/domains/lamps", {"user": "new"}
    ranked = client.post(f"{path}/rank", json={**shopper, "items": ["lamps-0001", "lamps-0002"]}).json()
    explained = client.post(f"{path}/explain", json={**shopper, "k": 2}).json()
    (batched,) = client.post(f"{path}/recommend:batch", json={"requests": [{**shopper, "k": 2}]}).json()["results"]
    for answer in (ranked, explained, batched):
        assert [own["item_id"] for own in answer["session"]] == ["lamps-0003", "lamps-0007"]
    assert [own["item_id"] for own in explained["items"]] == [own["item_id"] for own in batched["items"]]

"""What the routes answer is what the workspace answers, with the release and the rest beside it."""

import base64
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hubspoke.results import SCHEMA_VERSION
from hubspoke.workflows.workspace import Workspace

OWN = ("schema_version", "ref", "recommendation_id", "fallback", "took_ms", "experiment")


def items_of(shop: Workspace, domain: str = "lamps") -> list[str]:
    return [item["item_id"] for item in shop.recommend(domain, k=40).items]


def without(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in OWN}


def test_a_recommendation_is_that_of_the_command_line_and_names_its_release(
    client: TestClient, shop: Workspace
) -> None:
    session = items_of(shop)[:2]
    answer = client.post("/v1/domains/lamps/recommend", json={"session": session, "k": 4, "exclude_seen": True})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    found, wanted = answer.json(), shop.recommend("lamps", session, k=4, exclude_seen=True).to_dict()
    assert without(found) == {name: value for name, value in wanted.items() if name not in OWN}
    assert (found["schema_version"], found["ref"], found["release"]) == (
        SCHEMA_VERSION,
        "lamps@live",
        "release:lamps/1",
    )
    assert found["took_ms"] > 0 and len(found["recommendation_id"]) == 32 and found["fallback"] is None


@pytest.mark.parametrize(
    ("body", "fallback", "unknown"),
    [
        ({}, "no session", []),
        ({"session": ["nothing", "nowhere"]}, "unknown session", ["nothing", "nowhere"]),
        ({"user": "nobody"}, "unknown user", []),
    ],
)
def test_whoever_is_unknown_is_served_all_the_same_and_told_why(client, shop, body, fallback, unknown) -> None:
    answer = client.post("/v1/domains/lamps/recommend", json=body | {"k": 3})
    assert answer.status_code == 200
    found = answer.json()
    assert (found["fallback"], found["unknown"], len(found["items"])) == (fallback, unknown, 3)
    assert found["served_by"] == "newcomer-popularity"
    assert [own["item_id"] for own in found["items"]] == items_of(shop)[:3]


def test_events_of_a_session_have_times_and_types_and_may_be_written_as_ids(
    client: TestClient, shop: Workspace
) -> None:
    first, second = items_of(shop)[:2]
    later = [{"item_id": second, "timestamp": "2024-05-01T10:05:00Z", "event_type": "cart"}]
    earlier = [{"item_id": first, "timestamp": "2024-05-01T10:00:00Z"}]
    found = client.post("/v1/domains/lamps/recommend", json={"session": [*later, *earlier]}).json()
    assert [own["item_id"] for own in found["session"]] == [first, second]
    refused = client.post("/v1/domains/lamps/recommend", json={"session": [later[0] | {"event_type": "sniff"}]})
    assert refused.status_code == 400 and "'sniff' is not known" in refused.json()["detail"]


def test_filters_and_fields_narrow_a_list(client: TestClient, shop: Workspace) -> None:
    prices = {item["item_id"]: item["price"] for item in shop.recommend("lamps", k=40).items}
    middle = sorted(prices.values())[20]
    body = {"k": 40, "fields": ["price"], "filter": {"must": [{"field": "price", "range": {"lte": middle}}]}}
    found = client.post("/v1/domains/lamps/recommend", json=body).json()
    assert {own["item_id"] for own in found["items"]} == {item for item, price in prices.items() if price <= middle}
    assert [*found["items"][0]] == ["rank", "item_id", "price"]
    for wrong, status in (
        ({"must": [{"field": "colour", "any": ["red"]}]}, 422),
        ({"must": [{"field": "price"}]}, 422),
    ):
        assert client.post("/v1/domains/lamps/recommend", json={"filter": wrong}).status_code == status
    unknown = {"must": [{"field": "attributes.sparkle", "any": ["much"]}]}
    assert client.post("/v1/domains/lamps/recommend", json={"filter": unknown}).status_code == 400


def test_an_alias_is_another_release_of_the_same_category(client: TestClient, shop: Workspace) -> None:
    session = items_of(shop)[:1]
    found = client.post("/v1/domains/lamps/recommend", json={"session": session, "alias": "candidate"}).json()
    assert (found["ref"], found["release"], found["served_by"]) == ("lamps@candidate", "release:lamps/2", "lamps:2")
    missing = client.post("/v1/domains/lamps/recommend", json={"alias": "shadow"})
    assert missing.status_code == 404 and "lamps@shadow points at no release" in missing.json()["detail"]


def test_a_bad_request_in_a_batch_is_a_problem_in_its_place(client: TestClient, shop: Workspace) -> None:
    session = items_of(shop)[:1]
    good, bad = {"session": session, "k": 2}, {"session": session, "k": 0}
    unusable = {"session": [{"item_id": session[0], "event_type": "sniff"}]}
    answer = client.post("/v1/domains/lamps/recommend:batch", json={"requests": [good, bad, 7, unusable, good]})
    assert answer.status_code == 200
    found = answer.json()["results"]
    assert [own.get("status") for own in found] == [None, 422, 422, 400, None]
    single = client.post("/v1/domains/lamps/recommend", json=good).json()
    assert without(found[0]) == without(found[4]) == without(single)
    assert answer.json()["release"] == found[0]["release"] == "release:lamps/1"
    assert client.post("/v1/domains/lamps/recommend:batch", json={"requests": [good] * 101}).status_code == 422


@pytest.mark.parametrize("ask", ["get", "post"])
def test_similar_items_are_those_of_the_command_line(client: TestClient, shop: Workspace, ask: str) -> None:
    item = items_of(shop)[0]
    path = f"/v1/domains/lamps/items/{item}/similar"
    answer = client.get(path, params={"k": 3}) if ask == "get" else client.post(path, json={"k": 3})
    wanted = shop.similar("lamps", item, k=3).to_dict()
    assert without(answer.json()) == {name: value for name, value in wanted.items() if name not in OWN}


def test_given_items_are_put_in_order_and_it_is_said_which_are_not_shown(client, shop) -> None:
    session, *items = items_of(shop)[:5]
    whole = client.post(
        "/v1/domains/lamps/recommend", json={"session": [session], "k": 40, "exclude_seen": True}
    ).json()
    places = [own["item_id"] for own in whole["items"]]
    body = {"session": [session], "items": [*items, "oak", session], "exclude_seen": True, "fields": ["score"]}
    found = client.post("/v1/domains/lamps/rank", json=body).json()
    assert [own["item_id"] for own in found["items"]] == sorted(items, key=places.index)
    assert [*found["items"][0]] == ["rank", "item_id", "score"]
    assert {own["item_id"]: own["why"] for own in found["left_out"]} == {
        "oak": "not in the catalog",
        session: "in the session",
    }
    assert client.post("/v1/domains/lamps/rank", json={"items": ["x"] * 501}).status_code == 422


def test_an_explanation_is_that_of_the_command_line(client: TestClient, shop: Workspace) -> None:
    session = items_of(shop)[:2]
    found = client.post("/v1/domains/lamps/explain", json={"session": session, "k": 2}).json()
    wanted = shop.explain("lamps", session, k=2).to_dict()
    assert without(found) == {name: value for name, value in wanted.items() if name not in OWN}
    refused = client.post("/v1/domains/lamps/explain", json={})
    assert refused.status_code == 400 and "Without a session" in refused.json()["detail"]


def test_a_search_takes_words_a_picture_or_both_and_fetches_no_address(client, shop, market) -> None:
    path, file = "/v1/domains/mugs/search", next(iter(sorted(market["mugs"].images.glob("*.png"))))
    picture = base64.b64encode(file.read_bytes()).decode()
    assert client.post(path, json={"text": "blue mug", "k": 3}).json()["items"] == list(
        shop.search("mugs", "blue mug", k=3).items
    )
    seen = client.post(path, json={"image": picture, "k": 3}).json()
    assert seen["items"] == list(shop.search("mugs", picture=str(file), k=3).items) and seen["picture"] == "given"
    assert (
        client.post(path, json={"image": f"data:image/png;base64,{picture}", "k": 3}).json()["items"] == seen["items"]
    )

    def both(share: float) -> list[str]:
        body = {"text": "blue mug", "image": picture, "image_share": share, "k": 5}
        return [own["item_id"] for own in client.post(path, json=body).json()["items"]]

    assert both(1.0) == [own["item_id"] for own in client.post(path, json={"image": picture, "k": 5}).json()["items"]]
    assert both(0.0) == [own["item_id"] for own in client.post(path, json={"text": "blue mug", "k": 5}).json()["items"]]
    fetched = client.post(path, json={"image": "http://169.254.169.254/latest"})
    assert fetched.status_code == 422 and "not fetched from addresses" in fetched.text
    for wrong in ("!!", base64.b64encode(b"no picture").decode()):
        refused = client.post(path, json={"image": wrong})
        assert refused.status_code == 422 and "cannot be read" in refused.json()["detail"]
    assert client.post(path, json={}).status_code == 400


def test_categories_are_listed_with_what_serves_them_and_what_is_in_memory(client: TestClient, shop: Workspace) -> None:
    client.post("/v1/domains/lamps/recommend", json={})
    found = {own["domain"]: own["aliases"] for own in client.get("/v1/domains").json()["domains"]}
    assert set(found) == {"lamps", "mugs"} and set(found["lamps"]) == {"candidate", "live"}
    live, candidate = found["lamps"]["live"], found["lamps"]["candidate"]
    assert (live["release"], live["serving"], live["index"], live["n_items"]) == (
        *["release:lamps/1"] * 2,
        "index:lamps/1",
        40,
    )
    assert live["bytes"] > 10_000 and live["failure"] is None and candidate["serving"] is None
    wanted = {"schema_version": 1, "domain": "lamps", "aliases": found["lamps"], "experiment": None}
    assert client.get("/v1/domains/lamps").json() == wanted


def test_one_item_is_described_with_why_it_is_in_no_list(client: TestClient, shop: Workspace) -> None:
    item = shop.recommend("lamps", k=1).items[0]
    found = client.get(f"/v1/domains/lamps/items/{item['item_id']}").json()["item"]
    assert found == {name: item[name] for name in found if name != "not_shown"} | {"not_shown": None}


def test_health_says_when_the_service_is_ready_and_metrics_count_what_was_asked(client: TestClient) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    client.post("/v1/domains/lamps/recommend", json={"user": "nobody"})
    while client.get("/v2/health/ready").status_code != 200:
        pass
    assert client.get("/v2/health/ready").json() == {"ready": True, "failed": []}
    counted = client.get("/metrics").text
    route = 'domain="lamps",route="/v1/domains/{domain}/recommend"'
    assert f'hubspoke_requests_total{{{route},status="200"}} 1.0' in counted
    assert f"hubspoke_request_seconds_count{{{route}}} 1.0" in counted
    assert 'hubspoke_fallbacks_total{domain="lamps",reason="unknown user"} 1.0' in counted
    assert "hubspoke_residents 2.0" in counted


def test_head_answers_as_get_does_without_a_body(client: TestClient) -> None:
    asked, head = client.get("/v2/health/live"), client.head("/v2/health/live")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(asked.content)))

"""Bodies, counts and rates have an end, and beyond it stands a problem."""

import pytest
from fastapi.testclient import TestClient
from hubspoke.serving import limits
from hubspoke.serving.limits import MAX_K, MAX_SESSION, RateLimiter
from hubspoke.serving.problems import ProblemError

ASK = "/v1/domains/lamps/recommend"


def test_a_body_that_is_too_large_is_refused_whether_or_not_it_says_how_large_it_is(serve) -> None:
    client: TestClient = serve(body_kb=1)
    declared = client.post(ASK, content=b" " * 1001)
    streamed = client.post(ASK, content=iter([b" " * 600, b" " * 600]))
    assert declared.status_code == streamed.status_code == 413
    assert declared.json()["detail"] == "The request has more than 1000 bytes; send less at once."
    assert client.post(ASK, content=b"{}" + b" " * 900, headers={"content-type": "application/json"}).status_code == 200


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"k": MAX_K + 1}, "body/k"),
        ({"k": 0}, "body/k"),
        ({"session": ["x"] * (MAX_SESSION + 1)}, "body/session"),
        ({"session": ["x" * 513]}, "body/session/0"),
        ({"diversity": 2}, "body/diversity"),
        ({"alias": "../live"}, "body/alias"),
        ({"wishes": 3}, "body/wishes"),
        ({"session": ["a"], "user": "b"}, "body"),
        ({"k": "3"}, "body/k"),
        ({"k": True}, "body/k"),
        ({"k": 3.0}, "body/k"),
        ({"diversity": "0.5"}, "body/diversity"),
        ({"diversity": False}, "body/diversity"),
        ({"exclude_seen": "yes"}, "body/exclude_seen"),
        ({"exclude_seen": 1}, "body/exclude_seen"),
        ({"user": 7}, "body/user"),
        ({"session": [7]}, "body/session/0"),
        ({"session": [{"item_id": "a", "timestamp": 1700000000}]}, "body/session/0"),
        ({"filter": {"must": [{"field": "price", "range": {"lte": "50"}}]}}, "body/filter/must/0/condition/range/lte"),
        ({"filter": {"must": [{"field": "available", "is": "true"}]}}, "body/filter/must/0/condition/is"),
        ({"filter": {"must": [{"field": "brand", "exists": 1}]}}, "body/filter/must/0/condition/exists"),
    ],
)
def test_what_a_request_may_hold_has_limits_and_a_fault_names_its_place(client: TestClient, body, at) -> None:
    refused = client.post(ASK, json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["at"].startswith(at), refused.json()


@pytest.mark.parametrize(
    "body",
    [
        {"k": 3, "diversity": 0, "near": 1, "exclude_seen": True, "fields": ["title"], "alias": "live"},
        {"session": [{"item_id": "lamps-0001", "timestamp": "2026-01-31T14:05:00Z"}, "lamps-0002"]},
        {
            "filter": {
                "must": [{"field": "price", "range": {"lte": 5000}}],
                "should": [{"field": "brand", "any": ["x"]}],
            }
        },
        {"filter": {"must_not": [{"field": "created_at", "range": {"gte": "2026-01-31"}}]}},
    ],
)
def test_the_types_of_json_are_taken_and_lists_and_times_as_it_writes_them(client: TestClient, body) -> None:
    assert client.post(ASK, json=body).status_code == 200
    batch = client.post(f"{ASK}:batch", json={"requests": [{"k": "3"}, {**body, "alias": "live"}, {"k": 2}]})
    first, _, last = batch.json()["results"]
    assert (first["status"], first["errors"][0]["at"], len(last["items"])) == (422, "k", 2)


def test_an_address_has_text_alone_so_that_its_numbers_are_read(client: TestClient) -> None:
    assert len(client.get("/v1/domains/lamps/items/lamps-0001/similar?k=3").json()["items"]) == 3


def test_a_caller_has_a_second_of_requests_at_once_and_no_more_than_its_rate(monkeypatch) -> None:
    moment = [100.0]
    monkeypatch.setattr(limits.time, "monotonic", lambda: moment[0])
    limiter = RateLimiter(2.0)
    limiter.spend("a")
    limiter.spend("a")
    limiter.spend("b")
    with pytest.raises(ProblemError) as refused:
        limiter.spend("a")
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
    moment[0] += 0.5  # one more has flown in
    limiter.spend("a")
    with pytest.raises(ProblemError):
        limiter.spend("a")


def test_a_service_with_a_rate_says_when_to_come_again(serve) -> None:
    client: TestClient = serve(rate=0.01)
    assert client.post(ASK, json={}).status_code == 200
    refused = client.post(ASK, json={})
    assert refused.status_code == 429 and 0 < int(refused.headers["retry-after"]) <= 100
    assert client.get("/v2/health/live").status_code == 200

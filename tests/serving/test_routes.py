"""What the routes answer is what the workspace answers, with the release and the rest beside it."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from hubspoke.results import SCHEMA_VERSION
from hubspoke.workflows.workspace import Workspace

OWN = ("schema_version", "ref", "release", "recommendation_id", "fallback", "took_ms")


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
    assert without(found) == {name: value for name, value in wanted.items() if name != "ref"}
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

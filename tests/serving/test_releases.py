"""Moving aliases over HTTP: only from where they are known to be, by whom the history names; and what led to them."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from hubspoke.results import SCHEMA_VERSION, jsonable
from hubspoke.serving.keys import add_key
from hubspoke.workflows.workspace import Workspace

LAMPS = "/v1/domains/lamps"


def etag(client: TestClient, alias: str = "live") -> str:
    return client.get(f"{LAMPS}/releases", params={"alias": alias}).headers["etag"]


def move(client: TestClient, verb: str, tag: str | None, **body: Any) -> Any:
    return client.post(f"{LAMPS}/{verb}", json=body, headers={} if tag is None else {"If-Match": tag})


def test_releases_and_history_are_those_of_the_registry(client: TestClient, shop: Workspace) -> None:
    found = client.get(f"{LAMPS}/releases")
    assert found.headers["etag"] == '"release:lamps/1"' and etag(client, "candidate") == '"release:lamps/2"'
    assert etag(client, "nowhere") == '"none"'
    assert found.json() == {
        "schema_version": SCHEMA_VERSION,
        "releases": jsonable(shop.registry.releases.list("lamps")),
        "aliases": {"candidate": "release:lamps/2", "live": "release:lamps/1"},
    }
    assert client.get(f"{LAMPS}/history").json()["history"] == jsonable(shop.history("lamps"))
    for what in ("releases", "history"):
        assert client.get(f"/v1/domains/cups/{what}").status_code == 404


def test_a_promotion_and_its_rollback(client: TestClient, shop: Workspace) -> None:
    before = etag(client)
    planned = move(client, "promote", before, ref="lamps:2", dry_run=True)
    assert (planned.status_code, planned.json()["after"], planned.headers["etag"]) == (200, "release:lamps/2", before)
    done = move(client, "promote", before, ref="lamps:2", reason="better")
    wanted = {"scope": "lamps", "alias": "live", "action": "promote", "before": "release:lamps/1"}
    assert done.status_code == 200 and wanted.items() <= done.json().items()
    assert done.headers["etag"] == etag(client) == '"release:lamps/2"'
    back = move(client, "rollback", f'"release:lamps/9", {done.headers["etag"]}', reason="worse")
    assert (back.json()["after"], back.headers["etag"]) == ("release:lamps/1", before)
    assert [own.reason for own in shop.history("lamps")][-2:] == ["better", "worse"]
    first = move(client, "promote", '"none"', ref="lamps:2", alias="shadow")
    assert (first.json()["alias"], first.json()["before"]) == ("shadow", None)


@pytest.mark.parametrize("verb", ["promote", "rollback"])
def test_an_alias_that_has_moved_stays_where_it_is(client: TestClient, shop: Workspace, verb: str) -> None:
    body = {"ref": "lamps:2"} if verb == "promote" else {}
    old = etag(client)
    shop.promote("lamps:2")
    refused = move(client, verb, old, **body)
    assert (refused.status_code, refused.headers["content-type"]) == (412, "application/problem+json")
    assert "points at release:lamps/2 now" in refused.json()["detail"]
    assert refused.headers["etag"] == '"release:lamps/2"'
    unsaid = move(client, verb, None, **body)
    assert (unsaid.status_code, unsaid.headers["etag"]) == (428, '"release:lamps/2"')
    assert shop.registry.resolve("lamps").ref == "release:lamps/2"
    assert move(client, verb, "*", **body).status_code == 200


def test_who_is_quicker_wins_even_between_looking_and_moving(
    client: TestClient, shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hubspoke.serving.routes import releases

    old, real = etag(client), releases.promote

    def late(*given: Any, **how: Any) -> Any:
        shop.promote("lamps:2")
        return real(*given, **how)

    monkeypatch.setattr(releases, "promote", late)
    refused = move(client, "promote", old, ref="lamps:1")
    assert (refused.status_code, refused.headers["etag"]) == (412, '"release:lamps/2"')


def test_what_cannot_be_promoted_is_refused_with_its_reason(client: TestClient, shop: Workspace) -> None:
    for ref, status, words in (
        ("lamps:9", 404, "lamps:9"),
        ("mugs", 400, "mugs is not of lamps"),
        ("hub:1", 400, "hub:1 is not of lamps"),
        ("snapshot:lamps/items/1", 400, "cannot serve"),
    ):
        refused = move(client, "promote", "*", ref=ref)
        assert refused.status_code == status and words in refused.json()["detail"]
    assert move(client, "rollback", "*").status_code == 404  # there is no way back from the first
    shop.gate.set("lamps", minimum={"ndcg@10": 0.999}, reason="strict")
    refused = move(client, "promote", "*", ref="lamps:2")
    assert (refused.status_code, refused.json()["error"], refused.json()["exit_code"]) == (409, "QualityGateError", 3)
    assert move(client, "promote", "*", ref="lamps:2", override=True).status_code == 400  # without a reason
    done = move(client, "promote", "*", ref="lamps:2", override=True, reason="by hand")
    assert done.status_code == 200 and "ndcg@10" in done.json()["overridden"]


def test_a_key_needs_the_scope_and_the_history_names_it(serve: Any, shop: Workspace, tmp_path: Any) -> None:
    file = tmp_path / "keys.json"
    keys = {scope: add_key(file, f"the {scope}", [scope]).key for scope in ("read", "events", "admin")}
    client = serve(keys=file)

    def status(scope: str, method: str, path: str, **how: Any) -> int:
        headers = {"X-API-Key": keys[scope], "If-Match": "*"}
        return int(client.request(method, f"{LAMPS}/{path}", headers=headers, **how).status_code)

    view = {"user_id": "new", "item_id": "lamps-0003"}
    assert [status(own, "POST", "events", json=view) for own in keys] == [403, 202, 403]
    assert [status(own, "GET", "releases") for own in keys] == [200, 403, 403]
    assert [status(own, "POST", "promote", json={"ref": "lamps:2"}) for own in keys] == [403, 403, 200]
    assert [status(own, "POST", "rollback", json={}) for own in keys] == [403, 403, 200]
    assert [own.actor for own in shop.history("lamps")][-2:] == ["key the admin"] * 2
    assert client.get("/v1/domains/cups/releases").status_code == 401  # which categories there are is told to nobody


def test_what_is_not_served_here_is_not_moved_here(serve: Any) -> None:
    client = serve(domains=("mugs",))
    refused = [
        client.get(f"{LAMPS}/releases"),
        move(client, "promote", "*", ref="lamps:2"),
        move(client, "rollback", "*"),
    ]
    assert [own.status_code for own in refused] == [404] * 3


def test_lineage_is_that_of_the_command_line(client: TestClient, shop: Workspace) -> None:
    for ref, shown in (("lamps", "lamps"), ("release:lamps/1", "release:lamps/1"), ("snapshot:lamps/items/1",) * 2):
        for view in ("upstream", "downstream"):
            found = client.get(f"/v1/lineage/{shown}", params={"view": view}).json()
            assert found == {
                "schema_version": SCHEMA_VERSION,
                **jsonable({"lineage": getattr(shop.lineage, view)(ref)}),
            }
    assert client.get("/v1/lineage/release%3Alamps%2F1").json()["lineage"]["root"]["ref"] == "release:lamps/1"
    impact = client.get("/v1/lineage/hub:1", params={"view": "impact", "live": True}).json()
    assert impact == {"schema_version": SCHEMA_VERSION, **shop.lineage.impact("hub:1", True).to_dict()}
    assert client.get("/v1/lineage/lamps:9").status_code == 404
    assert client.get("/v1/lineage/lamps", params={"view": "sideways"}).status_code == 422


def test_a_page_whose_name_leads_to_this_machine_changes_nothing(client: TestClient, shop: Workspace) -> None:
    head = {"If-Match": client.get("/v1/domains/lamps/releases").headers["etag"], "Host": "evil.example:8080"}
    refused = client.post("/v1/domains/lamps/promote", json={"ref": "lamps:2"}, headers=head)
    assert (refused.status_code, shop.registry.domains.get("lamps").live) == (403, "release:lamps/1")
    assert "on localhost alone" in refused.json()["detail"]
    assert client.get("/v1/domains", headers={"Host": "shop.example"}).status_code == 200  # a proxy's name

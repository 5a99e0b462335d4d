"""The app as a whole: its description, addresses with any id in them, a proxy in front, and a log that names nobody."""

import copy
import json
import logging
import re
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
from fastapi.testclient import TestClient
from hubspoke.serving import service as service_module
from hubspoke.serving.releases import Place
from hubspoke.serving.server import JsonLines
from hubspoke.workflows.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
STRANGE = "a/b %2F c?d#ü;e:f"


def operations(description: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_is_described_and_documented(client: TestClient) -> None:
    found = operations(client.get("/openapi.json").json())
    assert len(found) > 15
    for name, operation in found.items():
        assert f"`{name}`" in PAGE, f"{name} is not in docs/serving.md"
        assert operation["description"].strip().endswith(".") and {"4XX", "5XX"} <= set(operation["responses"])


def test_every_example_of_the_description_works(client: TestClient, shop: Workspace) -> None:
    description = client.get("/openapi.json").json()
    first, second = (item["item_id"] for item in shop.recommend("lamps", k=2).items)
    asked = 0
    for name, operation in operations(description).items():
        method, path = name.split(" ")
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        named = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        for example in copy.deepcopy(description["components"]["schemas"].get(named, {}).get("examples", [])):
            body = json.loads(json.dumps(example).replace("1041", first).replace("977", second))
            answer = client.request(method, path.format(domain="lamps", item=first), json=body)
            assert answer.status_code == 200, (name, answer.text)
            asked += 1
    assert asked >= 6


def test_an_id_may_hold_what_addresses_are_made_of(serve, shop: Workspace, market) -> None:
    items = pl.read_csv(market["mugs"].items).drop("image")
    first = items["item_id"][0]
    items = items.with_columns(item_id=pl.col("item_id").replace({first: STRANGE}))
    shop.domain.add("cups", items)
    shop.index.build("hub:1", domain="cups")
    shop.promote("index:cups/1")
    client: TestClient = serve()
    path = f"/v1/domains/cups/items/{quote(STRANGE, safe='')}"
    assert client.get(path).json()["item"]["item_id"] == STRANGE
    assert client.get(f"{path}/similar").json()["session"][0]["item_id"] == STRANGE
    listed = client.post("/v1/domains/cups/recommend", json={"session": [STRANGE], "k": 40}).json()
    assert listed["session"][0]["item_id"] == STRANGE
    assert client.post("/v1/domains/cups/recommend%3Abatch", json={"requests": [{}]}).status_code == 200


def test_behind_a_proxy_it_answers_with_and_without_the_prefix_and_describes_itself_with_it(serve) -> None:
    client: TestClient = serve(root_path="/shop/api")
    for path in ("/v1/domains", "/shop/api/v1/domains"):
        assert client.get(path).status_code == 200
    assert client.get("/openapi.json").json()["servers"] == [{"url": "/shop/api"}]
    assert '"/shop/api/openapi.json"' in client.get("/docs").text.replace("'", '"')


def test_the_log_is_json_and_names_no_shopper_no_item_and_no_address(serve, shop: Workspace, caplog) -> None:
    client: TestClient = serve(access_log=True)
    item = shop.recommend("lamps", k=1).items[0]["item_id"]
    with caplog.at_level(logging.INFO, "hubspoke.access"):
        client.post("/v1/domains/lamps/recommend", json={"user": "ann@example.org"}, headers={"X-Request-Id": "abc-1"})
        client.get(f"/v1/domains/lamps/items/{item}/similar", params={"k": 3})
        client.get("/v1/domains/nobody@example.org", headers={"X-Request-Id": "two words"})
    written = [JsonLines().format(record) for record in caplog.records if record.name == "hubspoke.access"]
    assert not re.search(rf"example\.org|{item}|testclient|two words", " ".join(written))
    first, second, third = map(json.loads, written)
    assert first | {"at": "", "ms": 0, "bytes": 0} == {
        "at": "",
        "level": "info",
        "request_id": "abc-1",
        "method": "POST",
        "route": "/v1/domains/{domain}/recommend",
        "domain": "lamps",
        "status": 200,
        "ms": 0,
        "bytes": 0,
        "key": None,
        "release": "release:lamps/1",
    }
    assert (second["route"], third["status"], third["domain"]) == (
        "/v1/domains/{domain}/items/{item}/similar",
        404,
        None,
    )


def test_a_service_of_a_category_that_does_not_exist_does_not_start(serve) -> None:
    with pytest.raises(Exception, match="There is no domain 'lamp'; did you mean lamps"):
        serve(domains=("lamp",))


def test_only_the_named_categories_are_served(serve) -> None:
    client: TestClient = serve(domains=("mugs",))
    assert [own["domain"] for own in client.get("/v1/domains").json()["domains"]] == ["mugs"]
    assert client.post("/v1/domains/lamps/recommend", json={}).status_code == 404


def test_while_a_release_is_loaded_the_service_lives_is_not_ready_and_answers_for_the_others(
    serve, monkeypatch
) -> None:
    load, go = service_module.load_resident, threading.Event()

    def slow(context: Any, place: Place, version: Any) -> Any:
        assert place.domain != "mugs" or go.wait(30)
        return load(context, place, version)

    monkeypatch.setattr(service_module, "load_resident", slow)
    client: TestClient = serve()
    assert client.post("/v1/domains/lamps/recommend", json={}).status_code == 200
    assert client.get("/v2/health/live").status_code == 200
    waiting = client.get("/v2/health/ready")
    assert (waiting.status_code, waiting.json()["ready"]) == (503, False)
    go.set()
    assert client.post("/v1/domains/mugs/recommend", json={}).status_code == 200


def test_a_release_that_is_damaged_is_told_of_and_leaves_the_others_and_the_old_one_serving(listen, shop) -> None:
    running = listen()
    artifact = shop.registry.indexes.get("index:lamps/2").artifact
    (file,) = shop.artifacts.open(artifact).glob("*.faiss")
    content = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(b"damaged")
    shop.promote("lamps:2")

    def failure() -> Any:
        return running.ask("GET", "/v1/domains/lamps")[1]["aliases"]["live"]["failure"]

    running.until(lambda: failure() is not None)
    assert running.ask("POST", "/v1/domains/lamps/recommend", {})[1]["release"] == "release:lamps/1"
    assert running.ask("GET", "/v2/health/ready") == (200, {"ready": True, "failed": ["lamps@live"]})
    file.write_bytes(content)
    running.until(lambda: running.ask("POST", "/v1/domains/lamps/recommend", {})[1]["release"] == "release:lamps/2")


def test_categories_on_one_hub_share_it(listen) -> None:
    running = listen()
    lamps, mugs = (running.service.residents.peek(Place(name)).recommender for name in ("lamps", "mugs"))
    assert lamps.complete.hub is mugs.complete.hub

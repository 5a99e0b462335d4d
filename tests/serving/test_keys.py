"""Keys are told once, kept as hashes in a private file, and good for their scopes alone."""

import stat
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hubspoke.errors import InvalidDataError, NotFoundError, UsageError
from hubspoke.serving.keys import KeyRing, add_key, list_keys, read_keys, remove_key
from hubspoke.serving.settings import ServeSettings

ASK = "/v1/domains/lamps/recommend"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_key_is_told_once_and_its_file_is_private_and_holds_a_hash(file: Path) -> None:
    made = add_key(file, "shop", ["read", "events"])
    assert made.key is not None and made.key.startswith("hsk_") and len(made.key) > 40
    assert made.key not in file.read_text() and stat.S_IMODE(file.stat().st_mode) == 0o600
    found = KeyRing(file).find(made.key)
    assert found is not None and (found.name, found.scopes) == ("shop", ("read", "events"))
    assert KeyRing(file).find(made.key + "x") is None
    assert [(key.name, key.scopes) for key in list_keys(file)] == [("shop", ("read", "events"))]


def test_a_dry_run_makes_and_removes_nothing(file: Path) -> None:
    assert add_key(file, "shop", ["read"], dry_run=True).key is None and not file.exists()
    add_key(file, "shop", ["read"])
    assert remove_key(file, "shop", dry_run=True).dry_run and len(read_keys(file)) == 1


def test_what_is_no_key_or_no_file_of_keys_is_refused(file: Path) -> None:
    with pytest.raises(NotFoundError, match="There is no file of keys"):
        read_keys(file)
    add_key(file, "shop", ["read"])
    with pytest.raises(UsageError, match="has a key 'shop' already"):
        add_key(file, "shop", ["read"])
    with pytest.raises(UsageError, match="at least one scope"):
        add_key(file, "other", [])
    with pytest.raises(NotFoundError, match=r"no key 'other'; name one of its own: shop\."):
        remove_key(file, "other")
    file.write_text("{}x")
    with pytest.raises(InvalidDataError, match="no readable file of keys"):
        read_keys(file)


def test_the_ring_follows_its_file_and_keeps_its_keys_while_the_file_is_damaged(file: Path) -> None:
    first = add_key(file, "shop", ["read"]).key
    ring = KeyRing(file)
    second = add_key(file, "app", ["read"]).key
    assert ring.find(str(second)) is None
    ring.refresh()
    assert ring.find(str(second)) is not None
    file.write_text("damaged")
    with pytest.raises(InvalidDataError):
        ring.refresh()
    assert ring.find(str(first)) is not None


def test_a_service_with_keys_asks_everybody_for_one(serve, file: Path) -> None:
    reading, telling = (str(add_key(file, name, [scope]).key) for name, scope in (("shop", "read"), ("log", "events")))
    client: TestClient = serve(keys=file)
    assert client.get("/v2/health/live").status_code == 200
    refused = client.post(ASK, json={})
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.headers["content-type"] == "application/problem+json"
    for headers in ({"X-API-Key": reading}, {"Authorization": f"Bearer {reading}"}):
        assert client.post(ASK, json={}, headers=headers).status_code == 200
    assert client.post(ASK, json={}, headers={"X-API-Key": "guess"}).status_code == 401
    lacking = client.post(ASK, json={}, headers={"X-API-Key": telling})
    assert (lacking.status_code, lacking.json()["detail"]) == (
        403,
        "The key 'log' lacks the scope 'read'; ask for one that has it.",
    )
    assert client.get("/metrics").status_code == client.get("/v1/domains").status_code == 401


def test_off_this_machine_a_service_needs_keys_unless_it_is_said_to_be_open(file: Path) -> None:
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        ServeSettings(host=host).require_safe()
    for host in ("0.0.0.0", "10.0.0.1", "::", "shop.example"):
        with pytest.raises(UsageError, match="anybody who reaches this machine"):
            ServeSettings(host=host).require_safe()
        ServeSettings(host=host, keys=file).require_safe()
        ServeSettings(host=host, open_to_all=True).require_safe()

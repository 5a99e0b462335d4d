"""Who may look and who may change something; forms of other sites, foreign names and large bodies are refused."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from hubspoke.console.access import COOKIE, Access
from hubspoke.console.app import mount_console
from hubspoke.console.desk import Desk
from hubspoke.console.pages import ROUTERS
from hubspoke.console.rendering import without_secrets
from hubspoke.console.settings import ConsoleSettings
from hubspoke.errors import UsageError
from hubspoke.serving.keys import add_key, remove_key
from hubspoke.workflows.workspace import Workspace

from .conftest import Editor, Visit

PROMOTE = "/console/categories/lamps/promote"
ASK = f"{PROMOTE}?ref=release:lamps/2"


def test_a_console_only_shows_unless_told_otherwise(looked_at: Workspace, visitor: TestClient) -> None:
    assert "This console only shows" in visitor.get(ASK).text
    refused = visitor.post(PROMOTE, data={"ref": "release:lamps/2", "reason": "x"})
    assert refused.status_code == 403
    # With a token of its own page it is refused all the same.
    access = visitor.app.state.desk.access  # type: ignore[attr-defined]
    token = access.form_token(access.visitor(visitor.cookies[COOKIE], {}))
    data = {"form_token": token, "ref": "release:lamps/2", "reason": "x"}
    refused = visitor.post(PROMOTE, data=data)
    assert refused.status_code == 403 and "--allow-changes" in refused.text
    assert looked_at.registry.domains.get("lamps").live == "release:lamps/1"


def test_the_token_signs_in_and_a_wrong_one_does_not(changed: Workspace) -> None:
    editor = Editor(changed)
    wrong = editor.send("/console/sign-in", "/console/sign-in", secret="guess")
    assert wrong.status_code == 401 and "neither a key nor the token" in wrong.text
    refused = editor.send("/console/sign-in", PROMOTE, ref="release:lamps/2", reason="x")
    assert refused.status_code == 403 and "Sign in" in refused.text
    answer = editor.send("/console/sign-in", "/console/sign-in", secret=editor.token)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/console" in cookie
    assert editor.token not in cookie and editor.token not in editor.client.get("/console/").text
    assert "Sign out" in editor.client.get("/console/").text
    assert editor.send("/console/", "/console/sign-out").status_code == 303
    assert "Sign out" not in editor.client.get("/console/").text


POSTED = sorted(
    own.path.format(domain="lamps", version=1)
    for router in ROUTERS
    for own in router.routes
    if isinstance(own, APIRoute) and "POST" in own.methods
)


def test_nothing_is_posted_without_the_token_of_a_page_of_ours(editor: Editor) -> None:
    assert len(POSTED) >= 10
    for path in POSTED:
        refused = editor.client.post(f"/console{path}", data={"reason": "x", "override": "yes"})
        assert refused.status_code == 403 and "not from a page of yours" in refused.text, path


def test_a_form_of_another_site_or_without_its_token_is_refused(editor: Editor) -> None:
    fields = {"ref": "release:lamps/2", "reason": "x", "override": "yes"}
    assert editor.client.post(PROMOTE, data=fields).status_code == 403
    assert editor.client.post(PROMOTE, data={**fields, "form_token": "0" * 64}).status_code == 403
    good = {**fields, "form_token": editor.form_token(ASK)}
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        refused = editor.client.post(PROMOTE, data=good, headers=headers)
        assert refused.status_code == 403 and "another site" in refused.text
    assert editor.workspace.registry.domains.get("lamps").live == "release:lamps/1"


def test_a_cookie_that_was_changed_or_is_of_another_process_is_nobody(looked_at: Workspace) -> None:
    access = Access(ConsoleSettings(allow_changes=True))
    assert access.token
    cookie = access.sign_in(access.token)
    assert cookie and access.visitor(cookie, {}).may_change
    text, _, signature = cookie.partition(".")
    for other in (f"{text}x.{signature}", f"{text}.{'0' * 64}", f"{text}.ü", ".", "", None):
        assert not access.visitor(other, {}).may_change
    assert not Access(ConsoleSettings(allow_changes=True)).visitor(cookie, {}).may_change


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "[::"])
def test_a_foreign_name_is_refused(visitor: TestClient, host: str) -> None:
    refused = visitor.get("/console/", headers={"host": host})
    assert refused.status_code == 421 and "--public-host" in refused.text
    assert refused.headers["content-security-policy"]


def test_names_that_were_told_are_taken(looked_at: Workspace, open_console: Visit) -> None:
    known = open_console(looked_at, public_hosts=("shop.example",))
    assert known.get("/console/", headers={"host": "shop.example:8090"}).status_code == 200
    assert known.get("/console/", headers={"host": "127.0.0.1:8090"}).status_code == 200
    assert known.get("/console/", headers={"host": "evil.example"}).status_code == 421


def test_keys_let_in_who_may_look_and_admins_change(changed: Workspace, open_console: Visit, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys = {name: add_key(file, name, scopes).key for name, scopes in (("eye", ["read"]), ("hand", ["read", "admin"]))}
    client = open_console(changed, keys=file, allow_changes=True)
    assert client.get("/console/", follow_redirects=False).headers["location"] == "/console/sign-in"
    assert client.get("/console/pictures/lamps/1/0/96", follow_redirects=False).status_code in (303, 401)
    seen = {}
    for name, key in keys.items():
        page = client.get("/console/sign-in").text
        token = page.partition('name="form_token" value="')[2].partition('"')[0]
        assert client.post("/console/sign-in", data={"form_token": token, "secret": key}).status_code == 200
        seen[name] = client.get(ASK).text
        assert f"key {name}" in seen[name] and str(key) not in seen[name]
    assert "Promote release:lamps/2</button>" in seen["hand"] and "</button>" in seen["eye"]
    assert "Promote release:lamps/2</button>" not in seen["eye"]
    remove_key(file, "hand")
    assert client.get("/console/", follow_redirects=False).status_code == 303


def test_the_user_of_a_proxy_is_taken_only_when_told_to(changed: Workspace, open_console: Visit) -> None:
    header = {"X-Forwarded-User": "ann"}
    ignoring = open_console(changed, allow_changes=True)
    assert "ann" not in ignoring.get("/console/", headers=header).text.partition("<main")[0]
    trusting = open_console(changed, allow_changes=True, user_header="X-Forwarded-User")
    assert trusting.get("/console/").status_code == 401
    page = trusting.get(ASK, headers=header).text
    token = page.partition('name="form_token" value="')[2].partition('"')[0]
    fields = {"form_token": token, "ref": "release:lamps/2", "expected": "release:lamps/1", "reason": "looks better"}
    answer = trusting.post(PROMOTE, data=fields, headers=header, follow_redirects=False)
    assert answer.status_code == 303
    move = changed.history("lamps")[-1]
    assert (move.actor, move.reason, move.to_ref) == ("ann", "looks better", "release:lamps/2")
    assert changed.actor == "tester"


def test_what_is_too_large_or_no_form_is_refused(editor: Editor) -> None:
    large = editor.client.post(PROMOTE, content=b"x" * 100_001)
    assert large.status_code == 413
    assert editor.client.post(PROMOTE, content=b"\xff\xfe=1").status_code in (400, 403)
    assert editor.client.post(PROMOTE, content="&".join(f"a{n}=1" for n in range(99))).status_code == 400
    assert editor.client.delete("/console/").status_code == 405


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0"},
        {"host": "0.0.0.0", "user_header": "X-User"},
        {"keys": Path("keys.json"), "user_header": "X-User"},
    ],
)
def test_a_console_that_anybody_could_reach_is_not_opened_by_accident(settings: dict) -> None:
    with pytest.raises(UsageError):
        ConsoleSettings(**settings).require_safe()


def test_it_is_shown_beside_another_app_and_under_a_prefix(looked_at: Workspace) -> None:
    app = FastAPI()
    mount_console(app, Desk(looked_at, ConsoleSettings()))
    client = TestClient(app, base_url="http://localhost", root_path="/shop")
    assert client.get("/shop/console", follow_redirects=False).headers["location"] == "/shop/console/"
    page = client.get("/shop/console/").text
    assert 'href="/shop/console/categories/lamps"' in page and 'href="/shop/console/static/console.css' in page


def test_secrets_of_addresses_are_taken_out_of_sentences() -> None:
    told = "postgresql+psycopg://ann:s3cret@db.example/shop cannot be reached; s3://key:secret@bucket"
    assert without_secrets(told) == "postgresql+psycopg://***@db.example/shop cannot be reached; s3://***@bucket"

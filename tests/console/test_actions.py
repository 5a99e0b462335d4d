"""What a form does is what the command does: its gate, its sentence, its history."""

import pytest
from fastapi.testclient import TestClient
from hubspoke.workflows.workspace import Workspace

from .conftest import Editor

PAGE = "/console/categories/lamps"
ASK = f"{PAGE}/promote?ref=release:lamps/2"


def live(workspace: Workspace) -> str | None:
    return workspace.registry.domains.get("lamps").live


def test_a_promotion_and_the_way_back(editor: Editor) -> None:
    text = editor.client.get(ASK).text
    assert "lamps@live points at release:lamps/1" in text and "lamps:2" in text
    fields = {"ref": "release:lamps/2", "to": "live", "expected": "release:lamps/1"}
    silent = editor.send(ASK, f"{PAGE}/promote", **fields, reason="  ")
    assert (
        silent.status_code == 400
        and "say it in a few words" in silent.text
        and live(editor.workspace) == "release:lamps/1"
    )
    done = editor.send(ASK, f"{PAGE}/promote", **fields, reason="better on <b>cold</b> items")
    assert done.status_code == 303 and live(editor.workspace) == "release:lamps/2"
    told = editor.client.get(done.headers["location"]).text
    assert "Promoted: lamps@live now points at release:lamps/2" in told
    assert "better on &lt;b&gt;cold&lt;/b&gt; items" in told
    back = editor.client.get(f"{PAGE}/rollback").text
    assert "From release:lamps/2 to release:lamps/1" in back
    done = editor.send(f"{PAGE}/rollback", f"{PAGE}/rollback", expected="release:lamps/2", reason="complaints")
    assert done.status_code == 303 and live(editor.workspace) == "release:lamps/1"
    moves = editor.workspace.history("lamps")[-2:]
    assert [(move.action, move.actor, move.reason) for move in moves] == [
        ("promote", "tester", "better on <b>cold</b> items"),
        ("rollback", "tester", "complaints"),
    ]


def test_what_has_moved_since_it_was_looked_at_is_not_moved(editor: Editor) -> None:
    fields = {"ref": "release:lamps/2", "expected": "release:lamps/2", "reason": "late"}
    late = editor.send(ASK, f"{PAGE}/promote", **fields)
    assert late.status_code == 409 and "lamps@live" in late.text and live(editor.workspace) == "release:lamps/1"


def test_the_gate_is_told_before_the_click_and_asked_at_it(editor: Editor) -> None:
    editor.workspace.gate.set("lamps", minimum={"ndcg@10": 0.99})
    text = editor.client.get(ASK).text
    assert "not met" in text and "does not hold" in text and "0.99" in text and "Overrule" in text
    fields = {"ref": "release:lamps/2", "expected": "release:lamps/1", "reason": "because"}
    refused = editor.send(ASK, f"{PAGE}/promote", **fields)
    assert refused.status_code == 409 and "does not meet the gate" in refused.text
    assert live(editor.workspace) == "release:lamps/1"
    assert editor.send(ASK, f"{PAGE}/promote", **fields, override="yes").status_code == 303
    assert live(editor.workspace) == "release:lamps/2"
    assert "gate overruled" in editor.client.get(PAGE).text
    assert "gate not met" in editor.client.get(f"{PAGE}/glance").text


def test_rules_are_looked_at_before_they_are_kept_and_kept_before_they_are_in_force(editor: Editor) -> None:
    page = f"{PAGE}/rules"
    before = editor.client.get(f"{PAGE}/list?k=10&fresh=0&session=lamps-0005").text
    first = before.partition("item?id=")[2].partition('"')[0]
    rules = {"hide_items": f"{first}\n", "pin": "lamps-0007", "max_per_brand": "3", "session": "lamps-0005"}
    seen = editor.send(page, f"{page}/preview", **rules)
    assert seen.status_code == 200 and "1 product hidden" in seen.text
    assert ">gone<" in seen.text and ">new<" in seen.text
    assert editor.workspace.rules.show("lamps").rules == []
    kept = editor.send(page, page, **rules)
    assert (
        kept.status_code == 303
        and "promote" in kept.headers["location"]
        and "rules%3Alamps%2F1" in kept.headers["location"]
    )
    assert editor.workspace.rules.show("lamps").live is None
    ask = kept.headers["location"]
    assert "rules:lamps/1" in editor.client.get(ask).text
    fields = {"ref": "lamps", "rules": "rules:lamps/1", "expected": "release:lamps/1", "reason": "a recall"}
    assert editor.send(ask, f"{PAGE}/promote", **fields).status_code == 303
    assert editor.workspace.rules.show("lamps").live == "rules:lamps/1"
    after = editor.client.get(f"{PAGE}/list?k=10&fresh=0&session=lamps-0005").text
    assert f"item?id={first}" not in after and "pinned" in after and "rules:lamps/1" in after


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"hide_items": "nothing"}, 422, "correct these names"),
        ({"max_per_brand": "many"}, 400, "give a number"),
        ({"max_per_brand": "0"}, 400, "max_per_brand"),
        ({"boost": "[1"}, 400, "correct it"),
        ({"boost": "[" * 5000}, 400, "correct it"),
        ({"hide_unknown_margin": "yes"}, 400, "min_margin"),
        ({"hide_items": "x\n" * 501}, 400, "501 lines"),
    ],
)
def test_rules_that_cannot_be_are_refused_with_the_commands_sentence(
    looked_at: Workspace, visitor: TestClient, fields: dict[str, str], status: int, says: str
) -> None:
    page = visitor.get(f"{PAGE}/rules").text
    token = page.partition('name="form_token" value="')[2].partition('"')[0]
    refused = visitor.post(f"{PAGE}/rules/preview", data={**fields, "form_token": token})
    assert (refused.status_code, says in refused.text) == (status, True), refused.text
    assert looked_at.rules.show("lamps").rules == []


def test_what_only_looks_keeps_no_rules(looked_at: Workspace, visitor: TestClient) -> None:
    token = visitor.get(f"{PAGE}/rules").text.partition('name="form_token" value="')[2].partition('"')[0]
    refused = visitor.post(f"{PAGE}/rules", data={"pin": "lamps-0001", "form_token": token})
    assert refused.status_code == 403 and looked_at.rules.show("lamps").rules == []


def test_a_judgement_is_kept_and_read(editor: Editor) -> None:
    page = f"{PAGE}/list?session=lamps-0005"
    fields = {"ref": "release:lamps/1", "session": "lamps-0005"}
    assert "Nobody has judged" in editor.client.get(f"{PAGE}/quality/judged").text
    for item, good in (("lamps-0007", "yes"), ("lamps-0009", "no")):
        kept = editor.send(page, f"{PAGE}/judge", **fields, item=item, good=good)
        assert kept.status_code == 200 and "kept" in kept.text
    assert [(own.item, own.good, own.actor) for own in editor.workspace.registry.judgements.list("lamps")] == [
        ("lamps-0007", True, "tester"),
        ("lamps-0009", False, "tester"),
    ]
    read = editor.client.get(f"{PAGE}/quality/judged").text
    assert "2 judgements, 1 of them good" in read and "lamps@live" in read and "lamps@candidate" in read
    assert editor.send(page, f"{PAGE}/judge", **(fields | {"session": ""}), item="x", good="yes").status_code == 400

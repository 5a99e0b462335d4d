"""`evaluate gate`, and `promote`, `rollback`, `history` behind one: what is shown and refused, and with which code."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hubspoke.commands.gates import thresholds
from hubspoke.errors import UsageError
from hubspoke.evaluation.protocols import Protocol
from hubspoke.registry.artifacts.local import StoredArtifact
from hubspoke.registry.records import MetricRecord, Parent
from hubspoke.registry.store import Registry

COMPARE = "hubspoke evaluate compare --domain garden --models garden:2,garden:1 --protocol leave-one-out"


def artifact(text: str) -> StoredArtifact:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return StoredArtifact(digest, "test", 1, {"data": digest})


def registry(home: Path) -> Registry:
    return Registry(f"sqlite:///{home}/.hubspoke/registry.db")


def measure(home: Path, subject: str, ndcg: float) -> None:
    with registry(home) as opened:
        opened.evaluations.add(
            "garden",
            subject,
            "snapshot:garden/events/1",
            protocol=Protocol().model_dump(mode="json"),
            n_users=1,
            metrics=[MetricRecord("all", "ndcg@10", ndcg)],
        )


@pytest.fixture
def released(garden: Any, home: Path) -> Any:
    """`run` where garden:1 is live and garden:2 is ready to be."""
    with registry(home) as opened:
        hub = opened.models.begin("hub", None, "h", {})
        opened.models.finish(hub.ref, artifact("h"), "h", {}, [Parent("snapshot:garden/items/1", "trained_on")])
        for name in ("a", "b"):
            spoke = opened.models.begin("spoke", "garden", name, {})
            opened.models.finish(spoke.ref, artifact(name), "s", {}, [Parent("hub:1", "adapted_from")])
            opened.indexes.add(
                "garden",
                spoke.ref,
                "snapshot:garden/items/1",
                fingerprint=name,
                space_fingerprint="s",
                factory="Flat",
                dimension=2,
                metric="inner_product",
                n_items=3,
                artifact=artifact(f"index {name}"),
            )
    assert garden("promote", "garden:1", "--reason", "first").code == 0
    return garden


def test_a_gate_is_set_shown_and_cleared(garden: Any) -> None:
    assert garden("evaluate", "gate", "garden").out == "garden has no gate; every version may be promoted.\n"
    conditions = ("--min", "ndcg@10=0.05", "--min", "cold:hr@10=0.02", "--max-drop", "mrr=0.005")
    planned = garden("evaluate", "gate", "garden", *conditions, "--dry-run")
    assert planned.out.startswith("The gate of garden would be:\n")
    assert garden("evaluate", "gate", "garden", "--history").out == "No gate has been set yet.\n"
    options = ("--confidence", "0.9", "--exclude-seen", "--reason", "no surprises")
    shown = garden("evaluate", "gate", "garden", *conditions, *options).out.splitlines()
    assert shown[0] == "The gate of garden:"
    assert [line.split() for line in shown[4:7]] == [
        ["ndcg@10", ">=", "0.05", "leave-one-out", "excluded", "-", "-", "-", "live"],
        ["cold:hr@10", ">=", "0.02", "leave-one-out", "excluded", "-", "-", "-", "live"],
        ["mrr", "drops", "by", "at", "most", "0.005", "leave-one-out", "excluded", "-", "-", "0.9", "live"],
    ]
    assert "no surprises" in shown[-1]
    temporal = ("--protocol", "temporal", "--test-from", "2024-05-02", "--alias", "live", "--alias", "candidate")
    told = garden("evaluate", "gate", "garden", "--min", "mrr=0.1", *temporal, "--json").json
    assert told["conditions"][0]["aliases"] == ["live", "candidate"]
    assert told["conditions"][0]["protocol"]["test_from"] == "2024-05-02T00:00:00Z"
    assert garden("evaluate", "gate", "garden", "--clear", "--reason", "enough", "--json").json["conditions"] == []
    kept = garden("evaluate", "gate", "garden", "--history").out.splitlines()[2:]
    assert [line.split()[2] for line in kept] == ["none", "mrr", "ndcg@10"]
    gates = garden("evaluate", "gate", "garden", "--history", "--json").json["gates"]
    assert [gate["reason"] for gate in gates] == ["enough", None, "no surprises"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--min", "0.05"), "--min '0.05' is no condition; write METRIC=X, as in --min ndcg@10=0.05."),
        (("--max-drop", "mrr=little"), "--max-drop 'mrr=little' is no condition"),
        (("--min", "mrr=0.1", "--min", "mrr=0.2"), "--min names mrr twice"),
        (("--min", "mrr=nan"), "The gate is not usable (value: "),
        (("--min", "mrr=0.1", "--clear"), "--clear, --min or --max-drop ask for different things"),
        (("--check", "garden:1", "--history"), "--check, --history ask for different things"),
        (("--exclude-seen",), "--exclude-seen belong to a gate that is set"),
        (("--check", "garden:1", "--protocol", "temporal"), "--protocol belong to a gate that is set"),
        (("--check", "garden:1", "--alias", "live", "--alias", "candidate"), "one alias at a time"),
        (("--history", "--dry-run"), "--dry-run belong to a gate that is set"),
        (("--min", "mrr=0.1", "--confidence", "1"), "--confidence"),
    ],
)
def test_a_call_that_contradicts_itself_is_refused(garden: Any, arguments: tuple[str, ...], told: str) -> None:
    outcome = garden("evaluate", "gate", "garden", *arguments)
    assert outcome.code == 2
    assert told in outcome.err
    assert garden("evaluate", "gate", "garden", "--history", "--json").json["gates"] == []


def test_thresholds_are_read_from_the_right() -> None:
    assert thresholds("--min", ["cold:ndcg@10=0.02", " mrr =1e-3"]) == {"cold:ndcg@10": 0.02, "mrr": 0.001}
    with pytest.raises(UsageError):
        thresholds("--min", ["=0.1"])


def test_check_says_condition_by_condition_and_ends_with_3(released: Any, home: Path) -> None:
    released("evaluate", "gate", "garden", "--min", "ndcg@10=0.25", "--max-drop", "ndcg@10=0.01")
    measure(home, "garden:2", 0.5)
    outcome = released("evaluate", "gate", "garden", "--check", "garden:2")
    assert outcome.code == 3
    lines = outcome.out.splitlines()
    assert lines[0] == "garden:2 does not pass the gate of garden@live."
    assert lines[4].split()[:5] == ["yes", "ndcg@10", "is", "0.5,", "at"]
    assert lines[5].split()[:4] == ["NO", "ndcg@10", "cannot", "be"]
    assert lines[7].startswith(f"To go on, run `{COMPARE}`, or overrule the gate with `hubspoke promote garden:2 --to")
    told = released("evaluate", "gate", "garden", "--check", "garden:2", "--json")
    assert (told.code, told.json["passes"]) == (3, False)
    assert [judged["passes"] for judged in told.json["conditions"]] == [True, False]
    assert "error" not in told.json
    passed = released("evaluate", "gate", "garden", "--check", "garden:2", "--alias", "candidate")
    assert (passed.code, passed.out) == (0, "garden:2 passes the gate of garden@candidate. There is no condition.\n")


def test_promote_is_refused_with_3_until_it_is_overruled(released: Any, home: Path) -> None:
    released("evaluate", "gate", "garden", "--min", "ndcg@10=0.25")
    measure(home, "garden:2", 0.125)
    for more in ((), ("--dry-run",)):
        refused = released("promote", "garden:2", *more, "--json")
        assert (refused.code, refused.json["error"]["type"]) == (3, "QualityGateError")
        assert "ndcg@10 is 0.125, below 0.25 (evaluation:garden/1)" in refused.err
    bare = released("promote", "garden:2", "--override")
    assert (bare.code, bare.err) == (
        2,
        "Error: Overruling a gate needs a reason, which the history keeps; give --reason TEXT.\n",
    )
    shown = released("promote", "garden:2", "--override", "--reason", "sale")
    assert shown.code == 0
    assert "overridden  ndcg@10 is 0.125, below 0.25 (evaluation:garden/1)" in shown.out
    assert released("rollback", "garden", "--reason", "worse").code == 0
    lines = released("history", "garden").out.splitlines()
    assert lines[0].split() == ["when", "alias", "action", "from", "to", "by", "why", "overridden"]
    assert "ndcg@10 is 0.125, below 0.25" in lines[3]
    moves = released("history", "garden", "--json").json["history"]
    assert [(m["action"], m["reason"], m["overridden"] is None) for m in moves] == [
        ("promote", "first", True),
        ("promote", "sale", False),
        ("rollback", "worse", True),
    ]
    assert released("evaluate", "gate", "garden", "--clear").code == 0
    assert released("promote", "garden:2").code == 0


def test_rules_go_along_and_come_back_with_the_release(released: Any, home: Path) -> None:
    with registry(home) as opened:
        opened.rules.add("garden", {"hide": ["pot"]})
    moved = released("promote", "garden:1", "--rules", "rules:garden/1", "--json").json
    assert (moved["rules"], moved["after"]) == ("rules:garden/1", "release:garden/2")
    assert "rules   rules:garden/1" in released("promote", "garden:2").out
    assert released("promote", "garden:2", "--rules", "none", "--json").json["rules"] is None
    assert released("rollback", "garden", "--json").json["rules"] == "rules:garden/1"
    assert released("promote", "hub:1", "--rules", "rules:garden/1").code == 2
    assert released("promote", "garden:2", "--rules", "rules:garden/9").code == 5

"""`gate`, and `promote`, `rollback`, `history` behind one: what is shown and refused, and with which code."""

import re
from pathlib import Path
from typing import Any

import pytest
from hubspoke.evaluation.protocols import Protocol
from hubspoke.registry.records import MetricRecord
from hubspoke.registry.store import Registry
from hubspoke.registry.stores.evaluations import NewEvaluation

COMPARE = "hubspoke evaluate compare --domain garden --models garden:2,garden:1 --protocol leave-one-out"


def registry(home: Path) -> Registry:
    return Registry(f"sqlite:///{home}/.hubspoke/registry.db")


def measure(home: Path, subject: str, ndcg: float) -> None:
    metrics = [MetricRecord("all", "ndcg@10", ndcg)]
    protocol = Protocol().model_dump(mode="json")
    with registry(home) as opened:
        opened.evaluations.add(NewEvaluation("garden", subject, "snapshot:garden/events/1", protocol, 1, metrics))


def assess(home: Path, protocol: dict[str, str], metric: MetricRecord) -> None:
    """An assessment of garden:2 with one number."""
    with registry(home) as opened:
        new = NewEvaluation("garden", "garden:2", "snapshot:garden/events/1", protocol, 0, [metric])
        opened.evaluations.add(new)


@pytest.fixture
def released(two_spokes: Any) -> Any:
    """`run` where garden:1 is live and garden:2 is ready to be."""
    assert two_spokes("promote", "garden:1", "--reason", "first").code == 0
    return two_spokes


def test_a_gate_is_set_shown_and_cleared(garden: Any) -> None:
    assert garden("gate", "show", "garden").out == "garden has no gate; every version may be promoted.\n"
    conditions = ("--min", "ndcg@10=0.05", "--min", " cold:hr@10 =2e-2", "--max-drop", "mrr=0.005")
    planned = garden("gate", "set", "garden", *conditions, "--dry-run")
    assert planned.out.startswith("The gate of garden would be:\n")
    assert garden("gate", "history", "garden").out == "No gate has been set yet.\n"
    options = ("--confidence", "0.9", "--exclude-seen", "--reason", "no surprises")
    shown = garden("gate", "set", "garden", *conditions, *options).out
    for fact in ("ndcg@10 >= 0.05", "cold:hr@10 >= 0.02", "mrr drops by at most 0.005", "excluded", "no surprises"):
        assert fact in shown
    assert garden("gate", "show", "garden").out == shown
    temporal = ("--protocol", "temporal", "--test-from", "2024-05-02", "--alias", "live", "--alias", "candidate")
    told = garden("gate", "set", "garden", "--min", "mrr=0.1", *temporal, "--json").json
    assert told["conditions"][0]["aliases"] == ["live", "candidate"]
    assert told["conditions"][0]["protocol"]["test_from"] == "2024-05-02T00:00:00Z"
    assert garden("gate", "clear", "garden", "--reason", "enough", "--json").json["conditions"] == []
    gates = garden("gate", "history", "garden", "--json").json["gates"]
    assert [gate["reason"] for gate in gates] == ["enough", None, "no surprises"]
    listed = garden("gate", "history", "garden").out
    assert all(words in listed for words in ("none", "mrr >= 0.1", "cold:hr@10 >= 0.02"))


UNUSABLE = (
    ((), "guards nothing; give --min, --max or --max-drop, or remove it with `hubspoke gate clear garden`."),
    (("--min", "0.05"), "--min '0.05' is no condition; write METRIC=X, as in --min ndcg@10=0.05."),
    (("--min", "=0.1"), "--min '=0.1' is no condition"),
    (("--max-drop", "mrr=little"), "--max-drop 'mrr=little' is no condition"),
    (("--min", "mrr=0.1", "--min", "mrr=0.2"), "--min names mrr twice"),
    (("--min", "mrr=nan"), "--min 'mrr=nan' is no condition"),
    (("--min", "mrr=0.1", "--protocol", "temporal"), "the temporal protocol needs test_from"),
    (("--min", "mrr=0.1", "--test-from", "2024-05-02"), "leave-one-out takes no dates"),
    (("--min", "mrr=0.1", "--confidence", "1"), "--confidence"),
)


def test_a_gate_that_is_not_usable_is_refused(garden: Any) -> None:
    for arguments, told in UNUSABLE:
        outcome = garden("gate", "set", "garden", *arguments, "--json")
        assert (outcome.code, outcome.json["error"]["type"], told in outcome.err) == (2, "UsageError", True), told
    assert garden("gate", "history", "garden", "--json").json["gates"] == []


def test_check_says_condition_by_condition_and_ends_with_3(released: Any, home: Path) -> None:
    released("gate", "set", "garden", "--min", "ndcg@10=0.25", "--max-drop", "ndcg@10=0.01")
    measure(home, "garden:2", 0.5)
    outcome = released("gate", "check", "garden", "garden:2")
    assert outcome.code == 3
    assert outcome.out.startswith("garden:2 does not pass the gate of garden@live.\n")
    assert re.search(r"^yes +ndcg@10 is 0.5, at least 0.25", outcome.out, re.MULTILINE)
    assert re.search(r"^NO +ndcg@10 cannot be judged", outcome.out, re.MULTILINE)
    assert f"To go on, run `{COMPARE}`, or overrule the gate with `hubspoke promote garden:2 --to" in outcome.out
    told = released("gate", "check", "garden", "garden:2", "--json")
    assert (told.code, told.json["passes"]) == (3, False)
    assert [judged["passes"] for judged in told.json["conditions"]] == [True, False]
    assert "error" not in told.json
    passed = released("gate", "check", "garden", "garden:2", "--alias", "candidate")
    assert (passed.code, passed.out) == (0, "garden:2 passes the gate of garden@candidate. There is no condition.\n")


def test_promote_is_refused_with_3_until_it_is_overruled(released: Any, home: Path) -> None:
    released("gate", "set", "garden", "--min", "ndcg@10=0.25")
    measure(home, "garden:2", 0.125)
    for more in ((), ("--dry-run",)):
        refused = released("promote", "garden:2", *more, "--json")
        assert (refused.code, refused.json["error"]["type"]) == (3, "QualityGateError")
        assert "ndcg@10 is 0.125, below 0.25 (evaluation:garden/1)" in refused.err
    bare = released("promote", "garden:2", "--override")
    told = "Error: Overruling a gate needs a reason, which the history keeps; give --reason TEXT.\n"
    assert (bare.code, bare.err) == (2, told)
    shown = released("promote", "garden:2", "--override", "--reason", "sale")
    assert shown.code == 0
    assert "overridden  ndcg@10 is 0.125, below 0.25 (evaluation:garden/1)" in shown.out
    assert released("rollback", "garden", "--reason", "worse").code == 0
    assert "ndcg@10 is 0.125, below 0.25" in released("history", "garden").out
    moves = released("history", "garden", "--json").json["history"]
    made = [(move["action"], move["reason"], move["overridden"] is None) for move in moves]
    assert made == [("promote", "first", True), ("promote", "sale", False), ("rollback", "worse", True)]
    assert released("gate", "clear", "garden").code == 0
    assert released("promote", "garden:2").code == 0


def test_a_release_is_refused_for_its_hubs_and_for_its_drift(released: Any, home: Path) -> None:
    shown = released("gate", "set", "garden", "--max", "hubness=2", "--max", "drift=0.1").out
    assert re.search(r"^hubness <= 2 +assessment ", shown, re.MULTILINE) and "drift <= 0.1" in shown
    unjudged = released("promote", "garden:2")
    assert unjudged.code == 3
    for command in ("hubspoke evaluate quality garden:2", "hubspoke evaluate drift garden:1 garden:2"):
        assert f"run `{command}`" in unjudged.err
    assess(home, {"name": "quality"}, MetricRecord("all", "hubness", 2.5))
    assess(home, {"name": "drift", "against": "garden:1"}, MetricRecord("all", "drift", 0.4))
    refused = released("promote", "garden:2", "--json")
    assert (refused.code, refused.json["error"]["type"]) == (3, "QualityGateError")
    assert "hubness is 2.5, above 2 (evaluation:garden/1); drift is 0.4, above 0.1 (evaluation:garden/2)" in refused.err
    assess(home, {"name": "quality"}, MetricRecord("all", "hubness", 1.5))
    assess(home, {"name": "drift", "against": "garden:1"}, MetricRecord("all", "drift", 0.05))
    checked = released("gate", "check", "garden", "garden:2", "--json")
    assert (checked.code, [judged["protocol"] for judged in checked.json["conditions"]]) == (0, ["assessment"] * 2)
    assert released("promote", "garden:2").code == 0


def impressions(home: Path, name: str, targets: tuple[float, float]) -> str:
    """A log of 200 shoppers; the seller of every second one is beyond the 1,000 largest."""
    turns = (("4", "1000", targets[0]), ("2", "1001", targets[1]))
    rows = [f"u{n},{turns[n % 2][0]},0.4,{turns[n % 2][2]},{turns[n % 2][1]}" for n in range(200)]
    (home / name).write_text("\n".join(["user_id,revenue,logged,target,seller_rank", *rows, ""]))
    return name


def test_a_release_is_refused_for_the_revenue_of_the_long_tail(released: Any, home: Path) -> None:
    released("gate", "set", "garden", "--min", "tail_revenue_share=0.3")
    unjudged = released("promote", "garden:2")
    assert unjudged.code == 3 and "run `hubspoke evaluate business garden:2 --log FILE`" in unjudged.err
    # 0.5 x 2 of 1.5 x 4 + 0.5 x 2, and 1.5 x 2 of 0.5 x 4 + 1.5 x 2 where the target is the other way round.
    poor, rich = impressions(home, "poor.csv", (0.6, 0.2)), impressions(home, "rich.csv", (0.2, 0.6))
    assert released("evaluate", "business", "garden:2", "--log", poor).code == 0
    refused = released("promote", "garden:2", "--json")
    assert (refused.code, refused.json["error"]["type"]) == (3, "QualityGateError")
    assert "tail_revenue_share is 0.142857, below 0.3 (evaluation:garden/1)" in refused.err
    # No drop is as little: it takes the number of what is live, by the same shoppers.
    released("gate", "set", "garden", "--max-drop", "tail_revenue_share=0.1")
    unjudged = released("promote", "garden:2")
    assert unjudged.code == 3 and "run `hubspoke evaluate business garden:1 --log FILE`" in unjudged.err
    assert released("evaluate", "business", "garden:1", "--log", rich).code == 0
    refused = released("promote", "garden:2")
    assert (refused.code, "tail_revenue_share differs from that of garden:1 by -0.4571 [" in refused.err) == (3, True)
    assert "which does not rule out a drop of more than 0.1 (evaluation:garden/1, evaluation:garden/2)" in refused.err
    assert released("evaluate", "business", "garden:2", "--log", rich).code == 0
    released("gate", "set", "garden", "--min", "tail_revenue_share=0.3", "--max-drop", "tail_revenue_share=0.2")
    checked = released("gate", "check", "garden", "garden:2", "--json")
    assert checked.code == 0, checked.out
    assert [judged["measured"] for judged in checked.json["conditions"]] == [pytest.approx(0.6), 0.0]
    assert released("promote", "garden:2").code == 0


def test_a_metric_is_asked_for_from_the_side_that_is_worse(garden: Any) -> None:
    for asked, told in (
        (("--min", "hubness=2"), "lower is better for hubness, so it is asked for with --max"),
        (("--max", "ndcg@10=0.5"), "higher is better for ndcg@10, so it is asked for with --min"),
        (("--max", "hubris=2"), "there is no metric 'hubris'"),
    ):
        outcome = garden("gate", "set", "garden", *asked)
        assert (outcome.code, told in outcome.err) == (2, True), outcome.err


def test_rules_go_along_with_a_release(released: Any, home: Path) -> None:
    with registry(home) as opened:
        opened.rules.add("garden", {"hide": ["pot"]})
    assert "rules   rules:garden/1" in released("promote", "garden:1", "--rules", "rules:garden/1").out
    assert released("promote", "garden:2", "--rules", "none", "--json").json["rules"] is None
    assert released("promote", "garden:2", "--rules", "rules:garden/9").code == 5

"""Quality gates: which evaluations count, how each condition is judged, and what is refused, overruled or let pass."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hubspoke.errors import NotFoundError, QualityGateError, UsageError
from hubspoke.evaluation.bootstrap import paired_difference
from hubspoke.evaluation.evaluate import SliceResult
from hubspoke.evaluation.protocols import Protocol
from hubspoke.evaluation.user_values import FILE, write_user_values
from hubspoke.progress import Progress
from hubspoke.registry.records import MetricRecord, Parent
from hubspoke.registry.stores.evaluations import NewEvaluation
from hubspoke.workflows import releases
from hubspoke.workflows.conditions import parse_conditions
from hubspoke.workflows.gates import GateCheck
from hubspoke.workflows.verdicts import Verdict
from hubspoke.workflows.workspace import Workspace

CUT = datetime(2024, 5, 2, tzinfo=UTC)
FROM_CUT = Protocol(name="temporal", test_from=CUT)
SNAPSHOT, NEWER = "snapshot:garden/events/1", "snapshot:garden/events/2"
LIVE = "release:garden/1"


def measure(ws: Any, subject: str, ndcg: Any, slice_: str = "all", k: int = 10, keep: bool = True, **given: Any) -> str:
    """Record an evaluation in which the users got these values."""
    events, items = given.pop("events", SNAPSHOT), given.pop("items", "snapshot:garden/items/1")
    users, values = given.pop("users", map(str, range(len(ndcg)))), np.array(ndcg, dtype=np.float64)
    metric = given.pop("metric", f"ndcg@{k}")
    measured = Protocol(**given)
    part = SliceResult(tuple(users), {metric: values}, len(values), 1.0)
    with ws.stage() as staged:
        write_user_values(staged / FILE, {slice_: part})
        artifact = ws.commit(staged, "evaluation")
    about = measured.model_dump(mode="json") | {"description": measured.describe()}
    metrics, parents = [MetricRecord(slice_, metric, values.mean())], [Parent(items, "evaluated_on", "items")]
    made: Any = {"protocol": about, "n_users": len(values), "artifact": artifact if keep else None}
    new = NewEvaluation("garden", subject, events, metrics=metrics, parents=parents, **made)
    return ws.registry.evaluations.add(new).ref


@pytest.fixture
def two(two_spokes: Workspace) -> Workspace:
    """garden:1 is live, garden:2 is not, and both have an index."""
    two_spokes.promote("garden:1", reason="first")
    return two_spokes


def check(ws: Workspace) -> GateCheck:
    return ws.gate.check("garden", "garden:2")


def verdict(ws: Workspace) -> Verdict:
    """How the first condition is judged."""
    return check(ws).conditions[0]


def test_a_gate_is_set_shown_kept_and_cleared(each_ws: Workspace, refused: Any) -> None:
    each_ws.domain.add("garden")
    gate = each_ws.gate
    assert (gate.show("garden").conditions, gate.history("garden")) == ((), [])
    for ask in (gate.show, lambda domain: gate.set(domain, {"mrr": 0.1})):
        refused(NotFoundError, "no domain 'nowhere'", ask, "nowhere")
    planned = gate.set("garden", {"ndcg@10": 0.05}, dry_run=True)
    assert (planned.dry_run, gate.history("garden")) == (True, [])
    made = gate.set("garden", {"cold:ndcg@10": 0.02}, {"mrr": 0.005}, confidence=0.9, reason="no surprises")
    assert (made.actor, made.reason, made.cached) == ("tester", "no surprises", False)
    protocol = {"name": "leave-one-out", "exclude_seen": False, "test_from": None, "test_until": None}
    shared = {"protocol": protocol, "aliases": ["live"]}
    assert [dict(condition) for condition in gate.show("garden").conditions] == [
        {"metric": "ndcg@10", "slice": "cold", "kind": "minimum", "value": 0.02, **shared},
        {"metric": "mrr", "slice": "all", "kind": "max_drop", "value": 0.005, "confidence": 0.9, **shared},
    ]
    again = gate.set("garden", {"cold:ndcg@10": 0.02}, {"mrr": 0.005}, confidence=0.9, reason="again")
    assert (again.cached, again.reason) == (True, "no surprises")
    timed = gate.set("garden", {"hr@10": 0.1}, protocol=FROM_CUT, aliases=("live", "candidate"))
    assert timed.conditions[0]["protocol"]["test_from"] == "2024-05-02T00:00:00Z"
    assert gate.clear("garden", dry_run=True).conditions == []
    assert gate.clear("garden", reason="enough").conditions == ()
    assert gate.clear("garden").cached
    assert [len(kept.conditions) for kept in gate.history("garden")] == [0, 1, 2]


def test_a_gate_that_is_not_usable_is_refused(ws: Workspace, refused: Any) -> None:
    ws.domain.add("garden")
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "guards nothing"),
        ({"minimum": {"ndgc@10": 0.1}}, "metric: there is no metric 'ndgc@10'"),
        ({"minimum": {"lukewarm:ndcg@10": 0.1}}, "there is no slice 'lukewarm' of ndcg@10; name one of all, cold"),
        ({"minimum": {"image:ndcg@10": 0.1}}, "there is no slice 'image' of ndcg@10"),
        ({"maximum": {"brand:x:hubness": 2.0}}, "there is no slice 'brand:x' of hubness; name one of all, behaviour"),
        ({"minimum": {"ndcg@10": 1.5}}, r"ndcg@10 goes from 0 to 1, not to 1\.5"),
        ({"minimum": {"hubness": 2.0}}, "lower is better for hubness, so it is asked for with --max"),
        ({"maximum": {"ndcg@10": 0.5}}, "higher is better for ndcg@10, so it is asked for with --min"),
        ({"max_drop": {"ndcg@10": -0.1}}, "value: Input should be greater than or equal to 0"),
        ({"max_drop": {"ndcg@10": 1.5}}, r"ndcg@10 cannot differ by 1\.5"),
        ({"max_drop": {"hubness": 0.1}}, "hubness is no metric of single users"),
        ({"max_drop": {"coverage@100": 0.1}}, "no metric of single users"),
        ({"max_drop": {"ndcg@10": 0.1}, "confidence": 1.0}, "confidence: Input should be less than 1"),
        ({"minimum": {"ndcg@10": 0.1, "all:ndcg@10": 0.2}}, "minimum of ndcg@10 is given twice"),
        ({"minimum": {"ndcg@10": 0.1}, "protocol": Protocol(part="validation")}, "a gate goes by exclude_seen"),
        ({"minimum": {"ndcg@10": 0.1}, "aliases": ("Live!",)}, "'Live!' cannot be an alias"),
    ]
    for options, told in cases:
        refused(UsageError, told, ws.gate.set, "garden", **options)
    assert ws.gate.history("garden") == []
    with pytest.raises(UsageError, match="extra: Extra inputs are not permitted"):
        parse_conditions([{"kind": "minimum", "metric": "mrr", "value": 0.1, "extra": 1}])


def test_without_evidence_the_refusal_names_the_command_that_makes_it(two: Workspace, files: Any, refused: Any) -> None:
    two.gate.set("garden", {"ndcg@10": 0.25}, {"ndcg@10": 0.01, "mrr": 0.01})
    with pytest.raises(QualityGateError) as caught:
        two.promote("garden:2")
    alone, both = "no evaluation of garden:2", "no evaluations of garden:2 and garden:1 on the same events and users"
    lacking = [
        f"{metric} cannot be judged, since the registry has {what} by leave-one-out with seen items ranked"
        for metric, what in (("ndcg@10", alone), ("ndcg@10", both), ("mrr", both))
    ]
    assert str(caught.value) == (
        f"garden:2 does not meet the gate of garden@live: {'; '.join(lacking)}; run `hubspoke evaluate compare "
        "--domain garden --models garden:2,garden:1 --protocol leave-one-out`, or overrule the gate with `hubspoke "
        "promote garden:2 --to live --override --reason TEXT`."
    )
    refused(QualityGateError, "", two.promote, "garden:2", dry_run=True)
    assert ([release.ref for release in two.registry.releases.list()], len(two.history("garden"))) == ([LIVE], 1)
    # The command has the gate's settings, and the events that were trained on.
    two.data.ingest("garden", events=files.events, until=CUT)
    window = FROM_CUT.model_copy(update={"test_until": datetime(2024, 5, 3, 12, tzinfo=UTC)})
    dates = "--test-from 2024-05-02T00:00:00Z --test-until 2024-05-03T12:00:00Z"
    for metric, protocol, options in (
        ("ndcg@5", Protocol(exclude_seen=True), f"leave-one-out --exclude-seen --k 5,10,20,100 --events {SNAPSHOT}"),
        ("mrr", window, f"temporal {dates}"),
    ):
        two.gate.set("garden", {metric: 0.1}, protocol=protocol)
        command = f"run `hubspoke evaluate run --domain garden --model garden:2 --protocol {options}`"
        assert check(two).remedy.startswith(command)


def test_a_minimum_is_met_by_the_mean(two: Workspace) -> None:
    two.gate.set("garden", {"ndcg@10": 0.375})
    evaluation = measure(two, "garden:2", [0.25, 0.5])
    found = check(two)
    assert (found.passes, found.remedy, found.conditions[0].measured) == (True, "", 0.375)
    assert found.conditions[0].evidence == (evaluation,)
    assert found.conditions[0].says == "ndcg@10 is 0.375, at least 0.375 (evaluation:garden/1)"
    assert two.promote("garden:2").overridden is None
    measure(two, "garden:1", [0.25, 0.25])
    with pytest.raises(QualityGateError, match=r"ndcg@10 is 0\.25, below 0\.375 \(evaluation:garden/2\); promote a"):
        two.promote("garden:1")


def test_only_evaluations_under_the_protocol_of_the_gate_count(two: Workspace, files: Any) -> None:
    two.gate.set("garden", {"ndcg@10": 0.5})
    others: list[dict[str, Any]] = [{"exclude_seen": True}, {"part": "validation"}, {"max_history": 10}]
    for other in (*others, {"name": "temporal", "test_from": CUT}, {"cold_threshold": 2}):
        measure(two, "garden:2", [0.75], **other)
    assert verdict(two).measured is None
    # Other list lengths, and validation events trained on after the choice, are the same protocol.
    measure(two, "garden:2", [0.75], ks=(10,), refit=True)
    assert check(two).passes
    # The moment of a cut is the same in any zone.
    elsewhere = Protocol(name="temporal", test_from=datetime.fromisoformat("2024-05-02T02:00+02:00"))
    two.gate.set("garden", {"ndcg@10": 0.5}, protocol=elsewhere)
    assert verdict(two).evidence == ("evaluation:garden/4",)
    # The newest events count, and on them the newest evaluation.
    two.gate.set("garden", {"ndcg@10": 0.5})
    two.data.ingest("garden", events=files.events, until=CUT)
    measure(two, "garden:2", [0.25], events=NEWER)
    measure(two, "garden:2", [0.75])
    assert not check(two).passes
    measure(two, "garden:2", [0.5], events=NEWER)
    assert (check(two).passes, verdict(two).evidence) == (True, ("evaluation:garden/9",))


def test_a_slice_is_judged_by_its_own_numbers(two: Workspace) -> None:
    two.gate.set("garden", {"cold:ndcg@10": 0.5}, {"cold:ndcg@10": 0.0})
    for subject in ("garden:2", "garden:1"):
        measure(two, subject, [0.75])
    with pytest.raises(QualityGateError, match="no target is in that slice; leave that slice out of the gate, or over"):
        two.promote("garden:2")
    measure(two, "garden:2", [0.75, 0.5], "cold")
    measure(two, "garden:1", [0.5, 0.5], "cold")
    found = check(two)
    assert (found.passes, [judged.measured for judged in found.conditions]) == (True, [0.625, 0.125])
    assert found.conditions[0].says.startswith("ndcg@10 on cold is 0.625")


def test_a_drop_is_paired_by_user_and_the_confidence_decides(two: Workspace) -> None:
    # Everybody got 0.25 less, so the interval is a point, and the bound itself passes.
    measure(two, "garden:1", [0.75, 0.5, 0.25])
    measure(two, "garden:2", [0.5, 0.25, 0.0])
    two.gate.set("garden", max_drop={"ndcg@10": 0.25})
    judged = verdict(two)
    assert (judged.measured, judged.low, judged.high, judged.passes) == (-0.25, -0.25, -0.25, True)
    assert judged.evidence == ("evaluation:garden/2", "evaluation:garden/1")
    two.gate.set("garden", max_drop={"ndcg@10": 0.2})
    with pytest.raises(QualityGateError) as caught:
        two.promote("garden:2")
    assert (
        "ndcg@10 differs from that of garden:1 by -0.25 [-0.25, -0.25] at 95 % confidence over 3 users, which does not "
        "rule out a drop of more than 0.2 (evaluation:garden/2, evaluation:garden/1); promote a version that does"
    ) in str(caught.value)
    theirs, ours = np.random.default_rng(0).random((2, 200))
    measure(two, "garden:1", theirs.tolist())
    measure(two, "garden:2", ours.tolist())
    wide, narrow = (paired_difference(ours, theirs, level=level) for level in (0.99, 0.5))
    for confidence, interval in ((0.99, wide), (0.5, narrow)):
        two.gate.set("garden", max_drop={"ndcg@10": -(wide.low + narrow.low) / 2}, confidence=confidence)
        judged = verdict(two)
        assert (judged.low, judged.high, judged.passes) == (interval.low, interval.high, confidence == 0.5)


def test_only_evaluations_alike_are_paired(two: Workspace, files: Any) -> None:
    two.data.ingest("garden", events=files.events, until=CUT)
    same_bytes = two.artifacts.read(two.registry.snapshots.get("snapshot:garden/items/1").artifact)
    two.registry.snapshots.add("garden", "items", "another catalog", 4, same_bytes)
    two.gate.set("garden", max_drop={"ndcg@10": 0.5})
    measure(two, "garden:2", [0.5])
    others = {"events": NEWER, "items": "snapshot:garden/items/2", "refit": True, "users": ["somebody else"]}
    for name, value in (others | {"keep": False, "k": 20}).items():
        measure(two, "garden:1", [0.5], **{name: value})
    assert verdict(two).evidence == ()
    measure(two, "garden:1", [0.5], ks=(5, 10))
    assert verdict(two).evidence == ("evaluation:garden/1", "evaluation:garden/8")
    measure(two, "garden:2", [0.5], events=NEWER)
    assert verdict(two).evidence == ("evaluation:garden/9", "evaluation:garden/2")
    # Values that the store has lost are no evidence.
    for digest in {str(record.artifact) for record in two.registry.evaluations.list("garden", "garden:2")}:
        two.artifacts.delete(digest, datetime.now(UTC).replace(year=2999))
    assert "hubspoke evaluate compare" in check(two).remedy


def test_a_drop_needs_something_else_in_service(garden: Workspace, models: Any) -> None:
    models.hub()
    models.index(models.spoke("hub:1").ref)
    garden.gate.set("garden", max_drop={"ndcg@10": 0.0})
    assert "nothing is in service yet" in garden.gate.check("garden", "garden:1").conditions[0].says
    garden.promote("garden:1")
    newer = models.index("garden:1")
    assert "is the version in service itself" in garden.gate.check("garden", newer.ref).conditions[0].says
    assert garden.promote(newer.ref).after == "release:garden/2"


@pytest.fixture
def trained(models: Any) -> Callable[..., None]:
    """Makes a spoke of hub:1 with an index, that says this of its training."""
    models.hub()

    def make(held_out: str | None, **split: Any) -> None:
        split = {"name": "leave-one-out", "refit": False, **split}
        models.index(models.spoke("hub:1", training_end=0, split=split, held_out=held_out).ref)

    return make


def test_a_version_that_has_seen_the_test_is_told_apart(garden: Workspace, trained: Any) -> None:
    trained(None, name="all")
    trained("x")
    garden.gate.set("garden", {"ndcg@10": 0.1}, {"ndcg@10": 0.1})
    found = garden.gate.check("garden", "garden:1")
    assert "garden:1 was trained with --split all and has seen the test events" in found.failed
    assert "train one with `hubspoke spoke train garden --split leave-one-out`, or overrule" in found.remedy
    garden.promote("garden:1", override=True, reason="nothing else yet")
    # What is live cannot be measured: the candidate's own number is asked for, and only overruling helps with the rest.
    run = "run `hubspoke evaluate run --domain garden --model garden:2 --protocol leave-one-out"
    assert check(garden).remedy.startswith(run)
    measure(garden, "garden:2", [0.5])
    found = check(garden)
    assert [judged.passes for judged in found.conditions] == [True, False]
    assert found.remedy.startswith("overrule the gate with `hubspoke promote garden:2 ")
    # It was trained on events before the cut, so the other protocol can test it.
    garden.gate.set("garden", max_drop={"ndcg@10": 0.1}, protocol=FROM_CUT)
    assert "hubspoke evaluate compare" in check(garden).remedy
    early = Protocol(name="temporal", test_from=datetime(1960, 1, 1, tzinfo=UTC))
    garden.gate.set("garden", {"ndcg@10": 0.1}, protocol=early)
    train = "`hubspoke spoke train garden --split temporal --test-from 1960-01-01T00:00:00Z`"
    assert train in check(garden).remedy


def test_versions_that_cannot_be_compared_are_named(garden: Workspace, trained: Any, refused: Any) -> None:
    trained("x")
    trained("x", refit=True)
    trained("y")
    garden.promote("garden:1")
    garden.gate.set("garden", max_drop={"ndcg@10": 0.1})
    for ref, told in (
        ("garden:2", "of garden:2 and garden:1 only one was trained with --refit; train both alike, or"),
        ("garden:3", "trained on different data and keep different test events; set a gate with --protocol temp"),
    ):
        refused(QualityGateError, told, garden.promote, ref)


def test_overruling_needs_a_reason_and_is_kept(two: Workspace, refused: Any) -> None:
    two.gate.set("garden", {"ndcg@10": 0.5})
    # What is there already does not move, so it needs no evidence.
    assert two.promote("garden:1").cached
    measure(two, "garden:2", [0.25])
    for reason in (None, " "):
        refused(UsageError, "needs a reason", two.promote, "garden:2", override=True, reason=reason)
    words = "ndcg@10 is 0.25, below 0.5 (evaluation:garden/1)"
    planned = two.promote("garden:2", override=True, reason="sale", dry_run=True)
    assert (planned.overridden, planned.after) == (words, None)
    moved = two.promote("garden:2", override=True, reason="sale")
    assert (moved.overridden, moved.before, moved.after) == (words, LIVE, "release:garden/2")
    assert [(m.reason, m.overridden) for m in two.history("garden")] == [("first", None), ("sale", words)]
    # Back needs nobody's leave; forward again does.
    assert two.rollback("garden").after == LIVE
    refused(QualityGateError, "", two.promote, "release:garden/2")
    measure(two, "garden:2", [0.75])
    assert two.promote("release:garden/2", override=True, reason="for nothing").overridden is None


def test_a_gate_guards_the_aliases_that_it_names(two: Workspace) -> None:
    two.gate.set("garden", {"ndcg@10": 0.5})
    assert two.promote("garden:2", to="candidate").after == "release:garden/2"
    two.gate.set("garden", {"ndcg@10": 0.5}, aliases=("candidate",))
    assert two.gate.check("garden", "garden:1").conditions == ()
    assert not two.gate.check("garden", "garden:1", "candidate").passes
    with pytest.raises(QualityGateError, match=r"garden@candidate: .*`hubspoke promote garden:1 --to candidate --over"):
        two.promote("garden:1", to="candidate")
    assert two.promote("garden:2").alias == "live"
    two.gate.clear("garden")
    assert two.promote("garden:1", to="candidate").after == "release:garden/1"


def test_the_hub_alone_is_judged_by_its_own_evaluations_and_its_alias_by_none(two: Workspace, models: Any) -> None:
    floor = models.index("hub:1", space="calibrated")
    two.gate.set("garden", {"ndcg@10": 0.5}, {"ndcg@10": 0.0})
    assert two.promote("hub:1").scope == "hub"
    with pytest.raises(QualityGateError, match="compare --domain garden --models hub:1,garden:1 "):
        two.promote(floor.ref)
    measure(two, "hub:1", [0.75])
    measure(two, "garden:1", [0.5])
    assert two.promote(floor.ref).hub == "hub:1"
    assert check(two).live == "hub:1"
    # Only what could serve the domain is asked for.
    for ref, error in (("hub:1", UsageError), ("snapshot:garden/items/1", UsageError), ("garden:9", NotFoundError)):
        with pytest.raises(error):
            two.gate.check("garden", ref)


@pytest.fixture
def noted(shop: Workspace, market: Any) -> Workspace:
    """The shop with a second category, mugs, without a release; its remarks are kept in `texts`."""
    shop.progress = Progress()
    shop.progress.texts = texts = []
    shop.progress.note = texts.append
    shop.domain.add("mugs", market["mugs"].items, market["mugs"].events)
    return shop


def test_what_may_not_be_promoted_is_kept(noted: Any, market: Any, tiny_spoke: Any, refused: Any) -> None:
    for domain in ("lamps", "mugs"):
        noted.gate.set(domain, {"ndcg@10": 0.99})
    # A launch leaves in service what the gate would have kept.
    launched = noted.launch("lamps", market["lamps"].items, events=market["lamps"].events, config=tiny_spoke)
    assert (launched.release, launched.mode) == ("release:lamps/1", "trained")
    assert any("lamps:2 is stored but not promoted" in text for text in noted.progress.texts)
    assert [step["ref"] for step in launched.steps if step["step"] == "spoke"] == ["lamps:2"]
    refused(QualityGateError, "hub:1 does not meet the gate of mugs@live", noted.launch, "mugs", market["mugs"].items)
    again = {**tiny_spoke, "seed": 5}
    with pytest.raises(QualityGateError, match=r"lamps:3 is stored with index:lamps/3 but not promoted: lamps:3 does"):
        noted.spoke.train("lamps", config=again, promote=True)
    assert noted.spoke.show("lamps:3").status == "ready"
    assert noted.registry.domains.get("lamps").live == "release:lamps/1"
    assert noted.spoke.train("lamps", config=again).cached
    # The first release, which nobody asked for, is left out with a note; with nothing to compare, a drop is none.
    noted.gate.set("mugs", {"ndcg@10": 0.001}, {"ndcg@10": 0.0})
    made = noted.spoke.train("mugs", config=tiny_spoke)
    assert (made.ref, made.index, made.release) == ("mugs:1", "index:mugs/2", None)
    assert "mugs:1 is stored with index:mugs/2 but not promoted" in [t.split(": ")[0] for t in noted.progress.texts]
    noted.gate.set("mugs", max_drop={"ndcg@10": 0.0})
    assert noted.spoke.train("mugs", config=tiny_spoke).release == "release:mugs/1"


def test_a_first_release_made_by_another_meanwhile_stays(noted: Any, tiny_spoke: Any, monkeypatch: Any) -> None:
    real = releases.promote

    def meanwhile(*args: Any, **options: Any) -> Any:
        real(noted, noted.index.build("hub:1", domain="mugs").ref or "", reason="by somebody else")
        return real(*args, **options)

    monkeypatch.setattr(releases, "promote", meanwhile)
    made = noted.spoke.train("mugs", config=tiny_spoke)
    assert (made.ref, made.release) == ("mugs:1", None)
    assert [move.reason for move in noted.history("mugs")] == ["by somebody else"]
    assert any("points at release:mugs/1, no longer at nothing" in text for text in noted.progress.texts)


PROBE = """
import atexit, sys
from hubspoke.cli import cli
heavy = ("torch", "polars", "numpy", "pydantic")
atexit.register(lambda: print([name for name in heavy if name in sys.modules], file=sys.stderr))
cli.main(sys.argv[1:])
"""


def test_without_a_gate_nothing_heavy_is_loaded(two: Workspace) -> None:
    call = [sys.executable, "-c", PROBE, "promote", "garden:2", "--quiet", "--workspace", str(two.settings.workspace)]
    ended = subprocess.run(call, capture_output=True, text=True, check=True)
    assert ended.stderr.splitlines()[-1] == "[]"

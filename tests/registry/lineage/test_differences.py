"""Differences between two versions: every section with values worked out by hand, and what cannot be compared."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.registry.lineage.differences import flatten
from hubspoke.registry.records import MetricRecord, ModelPart, ModelRecord, Parent

EVENTS = "snapshot:garden/events/1"
ITEMS = "snapshot:garden/items/1"


@pytest.fixture
def spoke(garden, stored):
    """Train a spoke of garden, or of another domain, with a config."""

    def train(name: str, config, parents, parts=(), seed=7, domain="garden", code="1.0") -> ModelRecord:
        begun = garden.registry.models.begin("spoke", domain, name, config, seed, {"torch": "2.11"}, code)
        return garden.registry.models.finish(begun.ref, stored(name), f"space {name}", {}, parents, parts)

    return train


def evaluate(garden, subject: str, value: float, split: str = "leave-one-out", events: str = EVENTS) -> str:
    metrics = [MetricRecord("all", "ndcg@10", value), MetricRecord("cold", "hr@10", value / 2)]
    made = garden.registry.evaluations.add(
        "garden", subject, events, protocol={"split": split, "k": [10]}, n_users=3, metrics=metrics
    )
    return made.ref


def test_two_spokes(garden, spoke, stored) -> None:
    registry = garden.registry
    trained = [Parent("hub:1", "adapted_from", "fusion"), Parent(ITEMS, "trained_on", "items")]
    adapter = ModelPart("adapter", "aaa", 100, 25)
    text = ModelPart("text", "ttt", 400, 100, "hub:1")
    config = {"layers": 1, "training": {"lr": 0.1, "epochs": 3}}
    spoke("one", config, [*trained, Parent(EVENTS, "trained_on", "events")], [adapter, text])
    later, _ = registry.snapshots.add(
        "garden", "events", "more", 25, stored("more events"), as_of=datetime(2026, 3, 1, tzinfo=UTC)
    )
    spoke(
        "two",
        {"layers": 2, "training": {"lr": 0.1, "epochs": 3, "warm": True}},
        [*trained, Parent(later.ref, "trained_on", "events"), Parent("garden:1", "warm_started_from")],
        [ModelPart("adapter", "bbb", 100, 25), text, ModelPart("order", "ooo", 8, 2)],
        seed=8,
        code="1.1",
    )
    found = registry.lineage.diff("garden:1", "garden:2")
    assert (found.a.ref, found.b.ref, found.kind, found.same) == ("garden:1", "garden:2", "spoke", False)
    items, events = (next(d for d in found.data if d.name == name) for name in ("items", "events"))
    assert items.same and items.a == items.b
    assert not events.same and events.a is not None and events.b is not None
    assert (events.a.rows, events.b.rows, events.b.content_hash) == (10, 25, "more")
    assert events.b.as_of == datetime(2026, 3, 1, tzinfo=UTC)
    assert {(v.key, v.a, v.b, v.same) for v in found.config} == {
        ("layers", 1, 2, False),
        ("training.lr", 0.1, 0.1, True),
        ("training.epochs", 3, 3, True),
        ("training.warm", None, True, False),
    }
    assert {(v.key, v.a, v.b) for v in found.code if not v.same} == {("code_version", "1.0", "1.1"), ("seed", 7, 8)}
    assert ("environment.torch", "2.11", "2.11") in {(v.key, v.a, v.b) for v in found.code}
    parents = {(p.relation, p.part): (p.a, p.b, p.same) for p in found.parents}
    assert parents["adapted_from", "fusion"] == (("hub:1",), ("hub:1",), True)
    assert parents["trained_on", "events"] == ((EVENTS,), (later.ref,), False)
    assert parents["warm_started_from", None] == ((), ("garden:1",), False)
    parts = {p.name: (p.a, p.b, p.same) for p in found.parts}
    assert parts["text"] == (text, text, True)
    assert parts["adapter"][0] == adapter and not parts["adapter"][2]
    assert parts["order"] == (None, ModelPart("order", "ooo", 8, 2), False)
    assert ("space_fingerprint", "space one", "space two") in {(v.key, v.a, v.b) for v in found.outcome}
    assert found.metrics == ()
    back = registry.lineage.diff("garden:2", "garden:1")
    assert [(p.a, p.b) for p in back.parts] == [(p.b, p.a) for p in found.parts]
    assert found.to_dict()["parts"][0]["a"]["fingerprint"] == "aaa"


def test_metrics_are_of_the_same_protocol_and_events_and_the_newest(garden, spoke) -> None:
    for name in ("one", "two"):
        spoke(name, {}, [Parent("hub:1", "adapted_from")])
    garden.snapshot("events", "b")
    evaluate(garden, "garden:1", 0.2)
    first, second = evaluate(garden, "garden:1", 0.25), evaluate(garden, "garden:2", 0.5)
    evaluate(garden, "garden:1", 0.9, split="temporal")
    evaluate(garden, "garden:2", 0.8, events="snapshot:garden/events/2")
    metrics = garden.registry.lineage.diff("garden:1", "garden:2").metrics
    assert [(m.name, m.slice, m.a, m.b, m.difference) for m in metrics] == [
        ("ndcg@10", "all", 0.25, 0.5, 0.25),
        ("hr@10", "cold", 0.125, 0.25, 0.125),
    ]
    assert {(m.events, m.evaluations) for m in metrics} == {(EVENTS, (first, second))}


def test_a_version_does_not_differ_from_itself_nor_from_its_like(garden, spoke) -> None:
    garden.release()
    for ref in ("hub:1", "garden:1", "index:garden/1", "release:garden/1", ITEMS):
        assert garden.registry.lineage.diff(ref, ref).same
    for name in ("like", "alike"):
        spoke(name, {"layers": 1}, [Parent("hub:1", "adapted_from")])
    found = garden.registry.lineage.diff("garden:2", "garden:3")
    # What they were made of is the same; what came out is told apart.
    assert all(one.same for section in (found.data, found.config, found.code, found.parents) for one in section)
    assert not found.same


def test_spokes_of_two_domains_have_their_data_side_by_side(garden, spoke, stored) -> None:
    registry = garden.registry
    registry.domains.add("attic")
    attic, _ = registry.snapshots.add("attic", "items", "x", 4, stored("attic"))
    spoke("one", {}, [Parent(ITEMS, "trained_on")])
    spoke("two", {}, [Parent(attic.ref, "trained_on"), Parent(ITEMS, "trained_on", "more")], domain="attic")
    data = {d.name: (d.a and d.a.ref, d.b and d.b.ref) for d in registry.lineage.diff("garden:1", "attic:1").data}
    assert data == {"items": (ITEMS, attic.ref), "garden/items": (None, ITEMS)}


def test_hubs_indexes_releases_and_snapshots(garden) -> None:
    registry = garden.registry
    garden.release()
    later = garden.snapshot("items", "b")
    garden.hub()
    rules, _ = registry.rules.add("garden", {"boost": []})
    garden.release(boost=[])
    hubs = registry.lineage.diff("hub:1", "hub:2")
    assert [(d.name, d.a and d.a.ref, d.b and d.b.ref) for d in hubs.data] == [("garden/items", ITEMS, later.ref)]
    indexes = registry.lineage.diff("index:garden/1", "index:garden/2")
    assert [(p.relation, p.a, p.b) for p in indexes.parents if p.relation == "embeds"] == [
        ("embeds", (ITEMS,), (later.ref,))
    ]
    assert {v.key: v.a for v in indexes.config} == {"factory": "Flat", "metric": "inner_product"}
    releases = registry.lineage.diff("release:garden/1", "release:garden/2")
    assert [(p.name, p.a, p.b, p.same) for p in releases.parts] == [
        ("hub", "hub:1", "hub:1", True),
        ("index", "index:garden/1", "index:garden/2", False),
        ("rules", None, rules.ref, False),
        ("spoke", "garden:1", "garden:2", False),
    ]
    snapshots = registry.lineage.diff(ITEMS, later.ref)
    assert [(d.name, d.same) for d in snapshots.data] == [("items", False)]


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("hub:1", ITEMS, "hub:1 is of kind hub, snapshot:garden/items/1 of kind item snapshot; name two versions"),
        (ITEMS, EVENTS, "name two versions of one kind"),
        ("domain:garden", "domain:garden", "domain:garden is of kind domain, which has nothing to compare"),
        ("hub:1", "domain:garden", "which has nothing to compare"),
    ],
)
def test_what_cannot_be_compared_is_refused(garden, a: str, b: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        garden.registry.lineage.diff(a, b)
    with pytest.raises(NotFoundError):
        garden.registry.lineage.diff(a, "garden:9")


def test_nested_settings_become_dotted_keys() -> None:
    nested = {"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": {}, "g": None}
    assert flatten(nested) == {"a.b.c": 1, "a.d": [1, {"e": 2}], "f": {}, "g": None}

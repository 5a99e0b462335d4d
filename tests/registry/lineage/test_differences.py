"""Differences between two versions: every section with values worked out by hand, and what cannot be compared."""

from datetime import UTC, datetime

import pytest
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.registry.lineage.differences import flatten
from hubspoke.registry.records import ModelPart, Parent

EVENTS = "snapshot:garden/events/1"
ITEMS = "snapshot:garden/items/1"


def test_two_spokes(garden) -> None:
    trained = [Parent("hub:1", "adapted_from", "fusion"), Parent(ITEMS, "trained_on", "items")]
    text, order = ModelPart("text", "ttt", 400, 100, "hub:1"), ModelPart("order", "ooo", 8, 2)
    made = {"environment": {"torch": "2.11"}, "code_version": "1.0"}
    training = {"lr": 0.1, "epochs": 3}
    adapters = [ModelPart("adapter", print_, 100, 25) for print_ in ("aaa", "bbb")]
    day = datetime(2026, 3, 1, tzinfo=UTC)
    later = garden.snapshot("events", "more", as_of=day).ref
    parents, parts = [*trained, Parent(EVENTS, "trained_on", "events")], [adapters[0], text]
    garden.model("spoke", parents, "space one", config={"layers": 1, "training": training}, parts=parts, **made)
    parents = [*trained, Parent(later, "trained_on", "events"), Parent("garden:1", "warm_started_from")]
    made |= {"code_version": "1.1", "seed": 8, "parts": [adapters[1], text, order]}
    garden.model("spoke", parents, "space two", config={"layers": 2, "training": {**training, "warm": True}}, **made)
    found = garden.registry.lineage.diff("garden:1", "garden:2")
    assert (found.a.ref, found.b.ref, found.kind, found.same) == ("garden:1", "garden:2", "spoke", False)
    items, events = (next(d for d in found.data if d.name == name) for name in ("items", "events"))
    assert items.same and items.a == items.b and not events.same
    assert (events.a.content_hash, events.b.content_hash, events.b.rows, events.b.as_of) == ("a", "more", 10, day)
    assert [(v.key, v.a, v.b, v.same) for v in found.config] == [
        ("layers", 1, 2, False),
        ("training.epochs", 3, 3, True),
        ("training.lr", 0.1, 0.1, True),
        ("training.warm", None, True, False),
    ]
    code = [("code_version", "1.0", "1.1"), ("environment.torch", "2.11", "2.11"), ("seed", 7, 8)]
    assert [(v.key, v.a, v.b) for v in found.code] == code
    parents = {(p.relation, p.part): (p.a, p.b, p.same) for p in found.parents}
    assert parents["adapted_from", "fusion"] == (("hub:1",), ("hub:1",), True)
    assert parents["trained_on", "events"] == ((EVENTS,), (later,), False)
    assert parents["warm_started_from", None] == ((), ("garden:1",), False)
    parts = {"text": (text, text, True), "adapter": (*adapters, False), "order": (None, order, False)}
    assert {p.name: (p.a, p.b, p.same) for p in found.parts} == parts
    assert ("space_fingerprint", "space one", "space two") in {(v.key, v.a, v.b) for v in found.outcome}
    assert found.metrics == ()
    back = garden.registry.lineage.diff("garden:2", "garden:1")
    assert [(p.a, p.b) for p in back.parts] == [(p.b, p.a) for p in found.parts]
    assert found.to_dict()["parts"][0]["a"]["fingerprint"] == "aaa"


def test_metrics_are_of_the_same_protocol_and_events_and_the_newest(garden) -> None:
    for _ in range(2):
        garden.spoke()
    garden.snapshot("events", "b")

    def measure(subject: str, value: float, **given) -> str:
        return garden.measure(subject, ("all", "ndcg@10", value), ("cold", "hr@10", value / 2), **given).ref

    measure("garden:1", 0.2)
    first, second = measure("garden:1", 0.25), measure("garden:2", 0.5)
    measure("garden:1", 0.9, protocol={"name": "temporal"})
    measure("garden:2", 0.8, events="snapshot:garden/events/2")
    metrics = garden.registry.lineage.diff("garden:1", "garden:2").metrics
    expected = [("ndcg@10", "all", 0.25, 0.5, 0.25), ("hr@10", "cold", 0.125, 0.25, 0.125)]
    assert [(m.name, m.slice, m.a, m.b, m.difference) for m in metrics] == expected
    assert {(m.events, m.evaluations) for m in metrics} == {(EVENTS, (first, second))}


def test_a_version_does_not_differ_from_itself_nor_from_its_like(garden) -> None:
    garden.promote()
    for ref in ("hub:1", "garden:1", "index:garden/1", "release:garden/1", ITEMS):
        assert garden.registry.lineage.diff(ref, ref).same
    garden.spoke()
    found = garden.registry.lineage.diff("garden:1", "garden:2")
    # What they were made of is the same; what came out is another artifact.
    assert all(one.same for section in (found.data, found.config, found.code, found.parents) for one in section)
    assert not found.same


def test_spokes_of_two_domains_have_their_data_side_by_side(garden) -> None:
    garden.registry.domains.add("attic")
    attic = garden.snapshot("items", "x", "attic").ref
    garden.model("spoke", [Parent(ITEMS, "trained_on")])
    garden.model("spoke", [Parent(attic, "trained_on"), Parent(ITEMS, "trained_on", "more")], domain="attic")
    found = garden.registry.lineage.diff("garden:1", "attic:1").data
    sides = {d.name: (d.a and d.a.ref, d.b and d.b.ref) for d in found}
    assert sides == {"items": (ITEMS, attic), "garden/items": (None, ITEMS)}


def test_hubs_indexes_releases_and_snapshots(garden) -> None:
    diff = garden.registry.lineage.diff
    garden.promote()
    later = garden.snapshot("items", "b").ref
    garden.hub()
    rules, _ = garden.registry.rules.add("garden", {"boost": []})
    garden.promote(garden.parts(rules.ref))
    hubs, indexes = diff("hub:1", "hub:2"), diff("index:garden/1", "index:garden/2")
    assert [(d.name, d.a and d.a.ref, d.b and d.b.ref) for d in hubs.data] == [("garden/items", ITEMS, later)]
    assert ("embeds", (ITEMS,), (later,)) in {(p.relation, p.a, p.b) for p in indexes.parents}
    assert {v.key: v.a for v in indexes.config} == {"factory": "Flat", "metric": "inner_product"}
    assert [(p.name, p.a, p.b, p.same) for p in diff("release:garden/1", "release:garden/2").parts] == [
        ("hub", "hub:1", "hub:1", True),
        ("index", "index:garden/1", "index:garden/2", False),
        ("rules", None, rules.ref, False),
        ("spoke", "garden:1", "garden:2", False),
    ]
    assert [(d.name, d.same) for d in diff(ITEMS, later).data] == [("items", False)]


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

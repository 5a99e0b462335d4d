"""Impact: which steps follow from a change, in which order, with what they cost; what is no step is counted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import networkx as nx
import pytest
from hubspoke.errors import NotFoundError
from hubspoke.registry.lineage.impact import Impact
from hubspoke.registry.records import Parent
from hubspoke.registry.rows import find_node, now
from hubspoke.registry.schema import Model, Node
from hubspoke.registry.store import Registry
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

EVENTS = "snapshot:garden/events/1"


def steps(impact: Impact) -> list[tuple[str, str]]:
    return [(step.action, step.ref) for step in impact.steps]


def took(registry: Registry, ref: str, seconds: float) -> None:
    with registry.database.write() as session:
        model = session.get_one(Model, find_node(session, ref).id)
        model.started_at = datetime(2026, 1, 1, tzinfo=UTC)
        model.finished_at = model.started_at + timedelta(seconds=seconds)


@pytest.fixture
def served(garden):
    """Two releases of garden on hub:1, the second live; the first spoke also has a failed successor."""
    registry = garden.registry
    garden.promote()
    garden.promote()
    failed = registry.models.begin("spoke", "garden", "x", {})
    registry.lineage.add_edge(failed.ref, Parent("garden:1", "warm_started_from"))
    registry.models.fail(failed.ref, "no memory")
    registry.models.begin("spoke", "garden", "y", {})
    registry.lineage.add_edge("garden:4", Parent("hub:1", "adapted_from"))
    garden.measure("garden:2", ("all", "hr@10", 0.5))
    took(registry, "garden:1", 60)
    took(registry, "garden:2", 90.5)
    return garden


def test_a_hub_lists_its_spokes_indexes_and_what_is_served_from_them(served) -> None:
    impact = served.registry.lineage.impact("hub:1")
    models = [("retrain", "garden:1"), ("retrain", "garden:2")]
    indexes = [("rebuild", "index:garden/1"), ("rebuild", "index:garden/2")]
    assert steps(impact) == [*models, *indexes, ("re-release", "release:garden/2")]
    assert (impact.root.ref, [step.order for step in impact.steps]) == ("hub:1", [1, 2, 3, 4, 5])
    needs = [step.depends_on for step in impact.steps]
    assert needs == [(), (), ("garden:1",), ("garden:2",), ("garden:2", "index:garden/2")]
    assert impact.steps[-1].aliases == ("garden@live",)
    assert [step.serves for step in impact.steps] == [False, True, False, True, True]
    # Spokes of this garden are trained on events alone, so how many items they saw is unknown.
    assert [step.n_items for step in impact.steps] == [None, None, 10, 10, 10]
    assert [step.seconds for step in impact.steps] == [60, 90.5, 1.5, 1.5, None]
    totals = impact.totals
    assert totals.actions == {"retrain": 2, "rebuild": 2, "re-release": 1}
    assert (totals.live_releases, totals.old_releases, totals.rule_sets) == (1, 1, 0)
    assert (totals.seconds, totals.evaluations) == (153.5, 1)


def test_what_follows_from_other_causes_and_only_from_what_serves(served) -> None:
    impact = served.registry.lineage.impact
    live = impact("hub:1", live=True)
    assert steps(live) == [("retrain", "garden:2"), ("rebuild", "index:garden/2"), ("re-release", "release:garden/2")]
    assert (live.totals.seconds, live.totals.evaluations, live.totals.old_releases) == (92.0, 1, 1)
    assert impact("garden:1", live=True).steps == ()
    # A shopper asked to be forgotten.
    events = impact(EVENTS)
    assert [step.ref for step in events.steps if step.action == "retrain"] == ["garden:1", "garden:2"]
    # The hub saw the items alone; through them, it is the first thing to train again.
    items = impact("snapshot:garden/items/1").steps
    assert (items[0].ref, items[0].n_items, items[0].domain) == ("hub:1", 10, None)
    assert len(items) == len(events.steps) + 1
    served.snapshot("events", "b")
    assert impact("snapshot:garden/events/2").steps == ()
    assert impact(EVENTS).to_dict() == events.to_dict()
    # An index, a release, a domain.
    assert steps(impact("index:garden/2")) == [("re-release", "release:garden/2")]
    old = impact("index:garden/1")
    assert (old.steps, old.totals.old_releases, impact("garden").steps) == ((), 1, ())
    whole = steps(impact("domain:garden"))
    assert (whole[0], len(whole)) == (("retrain", "hub:1"), 6)
    with pytest.raises(NotFoundError):
        impact("garden:9")


def test_aliases_rerankers_and_rules(garden) -> None:
    registry = garden.registry
    rules, _ = registry.rules.add("garden", {"boost": []})
    parts = garden.parts(rules.ref)
    reranker = garden.reranker("garden:1")
    for alias in ("live", "candidate"):
        release = garden.promote(replace(parts, reranker=reranker.ref), alias)
    garden.promote("hub:1", scope="hub")
    impact = registry.lineage.impact("domain:garden")
    by_ref = {step.ref: step for step in impact.steps}
    assert by_ref["hub:1"].aliases == ("hub@live",)
    assert by_ref[release].aliases == ("garden@candidate", "garden@live")
    assert (by_ref[reranker.ref].action, by_ref[reranker.ref].serves) == ("retrain", True)
    assert rules.ref not in by_ref
    assert (impact.totals.rule_sets, impact.totals.live_releases) == (1, 1)
    assert steps(registry.lineage.impact(rules.ref)) == [("re-release", release)]


def test_versions_are_ordered_by_number_and_a_domain_is_finished_before_the_next(garden) -> None:
    for _ in range(10):
        garden.spoke()
    garden.index("garden:10")
    garden.registry.domains.add("attic")
    garden.model("spoke", [Parent("hub:1", "adapted_from")], domain="attic")
    order = [step.ref for step in garden.registry.lineage.impact("hub:1").steps]
    assert order[:4] == ["attic:1", "garden:1", "garden:2", "garden:3"]
    assert order.index("garden:9") < order.index("garden:10") < order.index("index:garden/1")


def check(registry: Registry, n: int, pairs: list[tuple[int, int]], broken: set[int]) -> None:
    """Models joined from lower to higher numbers, the broken ones failed: every step comes after those it needs."""
    names = [registry.models.begin("hub", None, f"{now().timestamp()}{i}", {}).ref for i in range(n)]
    graph = nx.DiGraph()
    graph.add_nodes_from(names)
    for a, b in pairs:
        registry.lineage.add_edge(names[b], Parent(names[a], "warm_started_from"))
        graph.add_edge(names[a], names[b])
    with registry.database.write() as session:
        for model in session.scalars(select(Model).join(Node, Node.id == Model.id).where(Node.ref.in_(names))):
            model.status = "failed" if names.index(session.get_one(Node, model.id).ref) in broken else "ready"
    whole = {name for i, name in enumerate(names) if i not in broken}
    for name in names:
        impact = registry.lineage.impact(name)
        order = [step.ref for step in impact.steps]
        assert set(order) == nx.descendants(graph, name) & whole
        place = {ref: i for i, ref in enumerate(order)}
        for step in impact.steps:
            before = {ref for ref in order if ref in nx.ancestors(graph, step.ref)}
            assert all(place[ref] < place[step.ref] for ref in before)
            # The nearest steps above: each reaches this one by a way on which no other step of this impact lies.
            through = {
                ref: nx.has_path(graph.subgraph({ref, step.ref, *(set(graph) - set(order))} - {name}), ref, step.ref)
                for ref in before
            }
            assert set(step.depends_on) == {ref for ref, near in through.items() if near}


def graph_of(n: int) -> st.SearchStrategy[tuple[int, list[tuple[int, int]], set[int]]]:
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda pair: pair[0] < pair[1])
    return st.tuples(st.just(n), st.lists(pairs, max_size=16, unique=True), st.sets(st.integers(0, n - 1), max_size=3))


@settings(max_examples=20)
@given(drawn=st.integers(2, 8).flatmap(graph_of))
def test_the_steps_of_any_graph_come_in_an_order_that_can_be_done(sqlite_registry: Registry, drawn) -> None:
    check(sqlite_registry, *drawn)


def test_the_steps_of_one_graph_do_so_on_both_databases(registry: Registry) -> None:
    check(registry, 7, [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (1, 4), (2, 5), (5, 6), (4, 6)], {3})

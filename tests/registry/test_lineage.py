from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.registry.lineage import Lineage, LineageTree
from hubspoke.registry.migrate import upgrade
from hubspoke.registry.records import EdgeRecord, Parent
from hubspoke.registry.rows import now
from hubspoke.registry.schema import Edge, Node
from hubspoke.registry.store import Registry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

DAGS = st.integers(1, 9).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.sets(st.sampled_from(list(itertools.combinations(range(n), 2)) or [None])).map(lambda s: s - {None}),
    )
)


def refs(lineage: Lineage) -> set[str]:
    return set(lineage.refs)


def test_upstream_and_downstream_of_a_release(garden) -> None:
    release = garden.release()
    items, events, domain = "snapshot:garden/items/1", "snapshot:garden/events/1", "domain:garden"
    up = garden.registry.upstream(release.ref)
    assert refs(up) == {"hub:1", "garden:1", "index:garden/1", items, events, domain}
    assert up.root.ref == release.ref
    assert {reached.ref: reached.depth for reached in up.nodes} == {
        release.ref: 0,
        "hub:1": 1,
        "garden:1": 1,
        "index:garden/1": 1,
        items: 2,
        events: 2,
        domain: 3,
    }
    assert EdgeRecord("hub:1", "garden:1", "inherits", "text", "language transfers") in up.edges
    down = garden.registry.downstream(events)
    assert refs(down) == {"garden:1", "index:garden/1", release.ref}
    assert refs(garden.registry.downstream(release.ref)) == set()
    assert refs(garden.registry.upstream("domain:garden")) == set()
    with pytest.raises(NotFoundError):
        garden.registry.upstream("garden:9")


def test_each_question_is_one_query(garden) -> None:
    release = garden.release()
    statements: list[str] = []

    def note(_connection, _cursor, statement: str, *_rest) -> None:
        statements.append(statement)

    event.listen(garden.registry.database.engine, "before_cursor_execute", note)
    garden.registry.upstream(release.ref)
    asked = [s for s in statements if s.lstrip().upper().startswith(("SELECT", "WITH"))]
    assert len(asked) == 2  # the reference, then the whole lineage
    assert "RECURSIVE" in asked[1]


def lines(tree: LineageTree, depth: int = 0) -> Iterator[tuple[int, str, bool]]:
    yield depth, tree.node.ref, tree.repeated
    for child in tree.children:
        yield from lines(child, depth + 1)


def test_a_tree_unfolds_each_node_once(garden) -> None:
    spoke = garden.spoke("hub:1")
    index = garden.index(spoke.ref)
    assert list(lines(garden.registry.tree(index.ref))) == [
        (0, "index:garden/1", False),
        (1, "snapshot:garden/items/1", False),
        (1, "garden:1", False),
        (2, "snapshot:garden/events/1", False),
        (2, "hub:1", False),
        (3, "snapshot:garden/items/1", False),
    ]
    hub = garden.registry.tree(index.ref).children[1].children[1]
    assert [edge.relation for edge in hub.edges] == ["adapted_from", "inherits"]
    with_domains = list(lines(garden.registry.tree(index.ref, domains=True)))
    assert with_domains.count((2, "domain:garden", False)) == 1
    assert (3, "snapshot:garden/items/1", True) in with_domains
    downstream = [line[:2] for line in lines(garden.registry.tree("hub:1", "downstream"))]
    assert downstream == [(0, "hub:1"), (1, "garden:1"), (2, "index:garden/1")]
    told = garden.registry.tree(index.ref).to_dict()
    assert told["node"]["ref"] == "index:garden/1"
    assert [(line["depth"], line["ref"]) for line in told["lines"]][:3] == [
        (0, "index:garden/1"),
        (1, "snapshot:garden/items/1"),
        (1, "garden:1"),
    ]


def test_an_edge_that_closes_a_cycle_is_refused(garden) -> None:
    spoke = garden.spoke("hub:1")
    for child, parent in (("hub:1", spoke.ref), ("hub:1", "hub:1"), ("domain:garden", spoke.ref)):
        with pytest.raises(UsageError, match="which itself came from"):
            garden.registry.add_edge(child, Parent(parent, "warm_started_from"))
    garden.registry.add_edge(spoke.ref, Parent("hub:1", "inherits", "image"))
    before = garden.registry.upstream(spoke.ref).edges
    garden.registry.add_edge(spoke.ref, Parent("hub:1", "inherits", "image"))
    assert garden.registry.upstream(spoke.ref).edges == before


def test_parents_cannot_be_deleted_under_their_children(garden) -> None:
    garden.spoke("hub:1")
    with pytest.raises(Exception, match=r"(?i)foreign key"), garden.registry.database.write() as session:
        session.delete(session.query(Node).filter_by(ref="hub:1").one())
    assert garden.registry.get_model("hub:1").status == "ready"


def closure(edges: set[tuple[int, int]], start: int) -> dict[int, int]:
    """Shortest distances from `start` along (from, to) pairs, by plain breadth-first search."""
    distance, frontier = {start: 0}, [start]
    while frontier:
        frontier = [b for a in frontier for x, b in edges if x == a and b not in distance]
        distance |= {b: 1 + max(distance.values()) for b in frontier}
        frontier = list(dict.fromkeys(frontier))
    return distance


def draw_graph(registry: Registry, n: int, edges: set[tuple[int, int]]) -> list[int]:
    with registry.database.write() as session:
        session.query(Edge).delete()
        session.query(Node).delete()
        nodes = [Node(kind="hub", ref=f"hub:{i + 1}", label="", created_at=now()) for i in range(n)]
        session.add_all(nodes)
        session.flush()
        for a, b in edges:
            session.add(Edge(parent_id=nodes[a].id, child_id=nodes[b].id, relation="warm_started_from", part=""))
        return [node.id for node in nodes]


def check_graph(registry: Registry, n: int, edges: set[tuple[int, int]]) -> None:
    draw_graph(registry, n, edges)
    for i in range(n):
        for lineage, pairs in (
            (registry.downstream(f"hub:{i + 1}"), edges),
            (registry.upstream(f"hub:{i + 1}"), {(b, a) for a, b in edges}),
        ):
            expected = closure(pairs, i)
            assert {int(r.ref[4:]) - 1: r.depth for r in lineage.nodes} == expected
            within = {(f"hub:{a + 1}", f"hub:{b + 1}") for a, b in edges if a in expected and b in expected}
            assert {(e.parent, e.child) for e in lineage.edges} == within
    for a, b in itertools.combinations(range(n), 2):
        if b in closure(edges, a) and a != b:
            with pytest.raises(UsageError):
                registry.add_edge(f"hub:{a + 1}", Parent(f"hub:{b + 1}", "warm_started_from"))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def graph_registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('graphs') / 'registry.db'}"
        upgrade(url)
    else:
        url = request.getfixturevalue("postgres").create()
        upgrade(url)
    with Registry(url) as registry:
        yield registry


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(dag=DAGS)
def test_any_graph_is_answered_as_plain_python_answers_it(graph_registry, dag) -> None:
    check_graph(graph_registry, *dag)


def test_a_long_chain_and_a_wide_diamond_stay_cheap(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    upgrade(url)
    layers, width = 12, 4  # 4 ** 12 paths, which only a walk that forgets paths survives
    edges = {
        (layer * width + a, (layer + 1) * width + b)
        for layer in range(layers - 1)
        for a in range(width)
        for b in range(width)
    }
    with Registry(url) as registry:
        draw_graph(registry, layers * width, edges)
        assert len(registry.upstream(f"hub:{layers * width}").nodes) == (layers - 1) * width + 1
        assert len(registry.tree(f"hub:{layers * width}").children) == width

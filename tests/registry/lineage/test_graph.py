import itertools
import sys
from typing import Any

import networkx as nx
import pytest
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.registry.lineage.graph import Lineage, LineageTree, keep_to_indexes
from hubspoke.registry.records import EdgeRecord, MetricRecord, Parent
from hubspoke.registry.rows import now
from hubspoke.registry.schema import Edge, Node
from hubspoke.registry.store import Registry
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError


def refs(lineage: Lineage) -> set[str]:
    return set(lineage.refs)


def test_upstream_and_downstream_of_a_release(garden) -> None:
    release, lineage = garden.promote(), garden.registry.lineage
    items, events, domain = "snapshot:garden/items/1", "snapshot:garden/events/1", "domain:garden"
    up = lineage.upstream(release)
    # Nearest first, and of equally near ones the older first.
    assert up.refs == ("hub:1", "garden:1", "index:garden/1", items, events, domain)
    depths = {release: 0, "hub:1": 1, "garden:1": 1, "index:garden/1": 1, items: 2, events: 2, domain: 3}
    assert (up.root.ref, {reached.ref: reached.depth for reached in up.nodes}) == (release, depths)
    assert EdgeRecord("hub:1", "garden:1", "inherits", "text", "language transfers") in up.edges
    assert refs(lineage.downstream(events)) == {"garden:1", "index:garden/1", release}
    assert refs(lineage.downstream(release)) == refs(lineage.upstream("domain:garden")) == set()
    with pytest.raises(NotFoundError):
        lineage.upstream("garden:9")
    # How each was reached: the hub is a parent of the spoke too, but the shortest way is the release's own edge.
    nearest = {ref: {(e.child, e.relation) for e in edges} for ref, edges in up.nearest().items()}
    assert nearest["hub:1"] == {(release, "released_as")}
    assert nearest[items] == {("hub:1", "trained_on"), ("index:garden/1", "embeds")}
    plain = {node["ref"]: node for node in up.to_dict()["nodes"]}
    assert plain[items]["relations"] == ["embeds", "trained_on"]
    assert (plain[release]["relations"], plain[release]["kind"], plain[release]["depth"]) == ([], "release", 0)
    near = up.within(depth=1)
    assert refs(near) == {"hub:1", "garden:1", "index:garden/1"}
    edges = {("hub:1", "garden:1"), ("garden:1", "index:garden/1"), *((part, release) for part in near.refs)}
    assert {(e.parent, e.child) for e in near.edges} == edges
    assert domain not in refs(up.within(domains=False))
    assert lineage.downstream(domain).within(domains=False).root.ref == domain


def asked(registry: Registry, question: Any) -> list[str]:
    statements: list[str] = []

    def note(_connection, _cursor, statement: str, *_rest) -> None:
        statements.append(statement)

    event.listen(registry.database.engine, "before_cursor_execute", note)
    question()
    event.remove(registry.database.engine, "before_cursor_execute", note)
    return [s for s in statements if s.lstrip().upper().startswith(("SELECT", "WITH"))]


def test_each_question_is_one_query(garden) -> None:
    release, lineage = garden.promote(), garden.registry.lineage
    reference, whole = asked(garden.registry, lambda: lineage.upstream(release))
    assert "RECURSIVE" in whole and "RECURSIVE" not in reference
    # A tree asks for the metrics too.
    assert len(asked(garden.registry, lambda: lineage.show(release))) == 3


def test_a_walk_keeps_postgresql_to_its_indexes_and_no_longer_than_that(garden) -> None:
    if garden.registry.database.is_sqlite:
        pytest.skip("SQLite joins by nested loops alone")
    with garden.registry.database.read() as session:
        keep_to_indexes(session)
        assert [session.scalar(text(f"SHOW enable_{way}")) for way in ("hashjoin", "mergejoin")] == ["off", "off"]
    with garden.registry.database.read() as session:
        assert session.scalar(text("SHOW enable_hashjoin")) == "on"


def lines(tree: LineageTree) -> list[tuple[int, str, bool]]:
    return [(line.depth, line.node.ref, line.repeated) for line in tree.lines]


def test_a_tree_unfolds_each_node_once(garden) -> None:
    index = garden.index(garden.spoke().ref)
    shown = garden.registry.lineage.show(index.ref)
    assert lines(shown) == [
        (0, "index:garden/1", False),
        (1, "snapshot:garden/items/1", False),
        (1, "garden:1", False),
        (2, "snapshot:garden/events/1", False),
        (2, "hub:1", False),
        (3, "snapshot:garden/items/1", False),
    ]
    assert [edge.relation for edge in shown.lines[4].edges] == ["adapted_from", "inherits"]
    with_domains = lines(garden.registry.lineage.show(index.ref, domains=True))
    assert with_domains.count((2, "domain:garden", False)) == 1
    assert (3, "snapshot:garden/items/1", True) in with_domains
    downstream = [line[:2] for line in lines(garden.registry.lineage.show("hub:1", "downstream"))]
    assert downstream == [(0, "hub:1"), (1, "garden:1"), (2, "index:garden/1")]
    plain = shown.to_dict()
    assert (plain["node"]["ref"], plain["lines"][4]["ref"], plain["lines"][4]["depth"]) == (index.ref, "hub:1", 2)
    assert plain["lines"][4]["edges"][1]["reason"] == "language transfers"


def test_a_tree_cut_short_unfolds_what_it_meets_again_nearer(garden) -> None:
    release = garden.promote()
    tree = garden.registry.lineage.show(release, depth=1)
    below = [(1, ref, True) for ref in ("hub:1", "garden:1", "index:garden/1")]
    assert [(line.depth, line.node.ref, line.cut) for line in tree.lines] == [(0, release, False), *below]
    two = garden.registry.lineage.show(release, depth=2)
    assert (2, "garden:1", True) in lines(two)  # under the index, unfolded above it
    assert max(line.depth for line in two.lines) == 2


def test_versions_show_the_headline_metric_of_their_newest_evaluation(garden) -> None:
    release = garden.promote()
    for value in (0.05, 0.078):
        garden.measure("garden:1", ("all", "ndcg@10", value, 0.01, 0.1), ("cold", "ndcg@10", 0.5))
    metrics = {line.node.ref: line.metric for line in garden.registry.lineage.show(release).lines}
    assert metrics["garden:1"] == MetricRecord("all", "ndcg@10", 0.078, 0.01, 0.1)
    assert metrics["hub:1"] is None
    down = {line.node.ref: line.metric for line in garden.registry.lineage.show("garden:1", "downstream").lines}
    assert down["evaluation:garden/1"] == MetricRecord("all", "ndcg@10", 0.05, 0.01, 0.1)


def test_an_edge_that_closes_a_cycle_is_refused(garden) -> None:
    spoke = garden.spoke("hub:1")
    for child, parent in (("hub:1", spoke.ref), ("hub:1", "hub:1"), ("domain:garden", spoke.ref)):
        with pytest.raises(UsageError, match="which itself came from"):
            garden.registry.lineage.add_edge(child, Parent(parent, "warm_started_from"))
    garden.registry.lineage.add_edge(spoke.ref, Parent("hub:1", "inherits", "image"))
    before = garden.registry.lineage.upstream(spoke.ref).edges
    garden.registry.lineage.add_edge(spoke.ref, Parent("hub:1", "inherits", "image"))
    assert garden.registry.lineage.upstream(spoke.ref).edges == before


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM nodes WHERE ref = 'hub:1'",
        "DELETE FROM nodes WHERE ref = 'snapshot:garden/items/1'",
        "DELETE FROM models WHERE version = 1 AND kind = 'hub'",
        "DELETE FROM snapshots WHERE kind = 'items'",
        "DELETE FROM index_versions",
        "DELETE FROM artifacts",
        "DELETE FROM domains",
        "UPDATE nodes SET id = id + 1000 WHERE ref = 'hub:1'",
        "INSERT INTO edges (parent_id, child_id, relation, part) SELECT id, id, 'embeds', '' FROM nodes",
        "INSERT INTO edges (parent_id, child_id, relation, part) SELECT id, id + 10000, 'embeds', '' FROM nodes",
    ],
)
def test_the_database_itself_refuses_to_tear_a_child_from_its_parents(garden, statement: str) -> None:
    release = garden.promote()
    before = garden.registry.lineage.upstream(release)
    with pytest.raises(IntegrityError), garden.registry.database.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    assert garden.registry.lineage.upstream(release) == before


def pair_of(n: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))


PAIRS = st.integers(2, 8).flatmap(lambda n: st.tuples(st.just(n), st.lists(pair_of(n), max_size=20, unique=True)))


def join(registry: Registry, n: int, pairs: list[tuple[int, int]]) -> nx.DiGraph:
    """Join n new models by pairs (parent, child) one by one; refused is what would close a cycle by networkx."""
    names = [registry.models.begin("hub", None, f"{now().timestamp()}{i}", {}).ref for i in range(n)]
    graph = nx.DiGraph()
    graph.add_nodes_from(names)
    for parent, child in ((names[a], names[b]) for a, b in pairs):
        graph.add_edge(parent, child)
        if nx.is_directed_acyclic_graph(graph):
            registry.lineage.add_edge(child, Parent(parent, "warm_started_from"))
        else:
            graph.remove_edge(parent, child)
            with pytest.raises(UsageError, match="which itself came from"):
                registry.lineage.add_edge(child, Parent(parent, "warm_started_from"))
    return graph


def check(registry: Registry, graph: nx.DiGraph) -> None:
    for name in graph:
        for lineage, around, pairs in (
            (registry.lineage.downstream(name), nx.descendants(graph, name), graph),
            (registry.lineage.upstream(name), nx.ancestors(graph, name), graph.reverse()),
        ):
            assert refs(lineage) == around
            assert {n.ref: n.depth for n in lineage.nodes} == nx.single_source_shortest_path_length(pairs, name)
            within = graph.subgraph({*around, name})
            assert {(e.parent, e.child) for e in lineage.edges} == set(within.edges)
        lines = registry.lineage.show(name, "downstream").lines
        assert {line.node.ref for line in lines} == {*nx.descendants(graph, name), name}
        unfolded = [line.node.ref for line, after in itertools.pairwise(lines) if after.depth > line.depth]
        assert len(unfolded) == len(set(unfolded))
        hung = [(edge.parent, edge.child) for line in lines for edge in line.edges]
        assert sorted(hung) == sorted(graph.subgraph({*nx.descendants(graph, name), name}).edges)


@settings(max_examples=25)
@given(drawn=PAIRS)
def test_any_graph_is_answered_as_networkx_answers_it(
    sqlite_registry: Registry, drawn: tuple[int, list[tuple[int, int]]]
) -> None:
    check(sqlite_registry, join(sqlite_registry, *drawn))


def test_one_graph_is_answered_so_on_both_databases(registry: Registry) -> None:
    pairs = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (4, 0), (1, 4), (5, 4), (4, 5), (2, 2), (3, 6), (6, 1)]
    check(registry, join(registry, 7, pairs))


def draw_graph(registry: Registry, n: int, edges: set[tuple[int, int]]) -> None:
    with registry.database.write() as session:
        nodes = [Node(kind="hub", ref=f"hub:{i + 1}", label="", created_at=now()) for i in range(n)]
        session.add_all(nodes)
        session.flush()
        for a, b in edges:
            session.add(Edge(parent_id=nodes[a].id, child_id=nodes[b].id, relation="warm_started_from", part=""))


def test_a_wide_diamond_stays_cheap(registry: Registry) -> None:
    layers, width = 12, 4  # 4 ** 12 paths, which only a walk that forgets paths survives
    steps = itertools.product(range(0, (layers - 1) * width, width), range(width), range(width, 2 * width))
    edges = {(layer + a, layer + b) for layer, a, b in steps}
    draw_graph(registry, layers * width, edges)
    assert len(registry.lineage.upstream(f"hub:{layers * width}").nodes) == (layers - 1) * width + 1
    assert sum(line.depth == 1 for line in registry.lineage.show(f"hub:{layers * width}").lines) == width


def test_a_chain_longer_than_the_recursion_limit(registry: Registry) -> None:
    n = 5 * sys.getrecursionlimit()
    draw_graph(registry, n, {(i, i + 1) for i in range(n - 1)})
    up = registry.lineage.upstream(f"hub:{n}")
    assert (len(up.nodes), up.nodes[-1].ref, up.nodes[-1].depth) == (n, "hub:1", n - 1)
    tree = registry.lineage.show("hub:1", "downstream")
    assert [line["depth"] for line in tree.to_dict()["lines"]] == list(range(n))

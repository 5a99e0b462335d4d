"""Lineage: what a node came from and what came from it, each answered by one recursive query over ids.

The database walks the graph and visits each node once; how far a node is, is counted here over the edges it returns.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import CTE, CompoundSelect, Select, null, select, union_all
from sqlalchemy.orm import Session

from ...results import Record
from ..kinds import NodeKind
from ..records import EdgeRecord, MetricRecord, NodeRecord
from ..schema import Domain, Edge, Evaluation, Metric, Node

Direction = Literal["upstream", "downstream"]
HEADLINE = ("all", "ndcg@10")  # slice and metric that a printed tree shows beside a version
Compound: TypeAlias = "CompoundSelect[*tuple[Any, ...]]"


@dataclass(frozen=True)
class LineageNode(Record):
    """A node reached; `depth` is the length of the shortest way to it, 0 for the one asked about."""

    node: NodeRecord
    depth: int

    @property
    def ref(self) -> str:
        """The node's reference."""
        return self.node.ref

    def to_dict(self) -> dict[str, Any]:
        """The node's own fields and its depth, side by side."""
        return {**self.node.to_dict(), "depth": self.depth}


@dataclass(frozen=True)
class Lineage(Record):
    """Everything on one side of `root`: nodes by depth and age, `root` first, and every edge between them."""

    root: NodeRecord
    direction: Direction
    nodes: tuple[LineageNode, ...]
    edges: tuple[EdgeRecord, ...]

    @property
    def refs(self) -> tuple[str, ...]:
        """References of all nodes but the root, nearest first."""
        return tuple(reached.ref for reached in self.nodes[1:])

    def ends(self, edge: EdgeRecord) -> tuple[str, str]:
        """The ends of an edge: the one on the root's side, then the other."""
        return (edge.child, edge.parent) if self.direction == "upstream" else (edge.parent, edge.child)

    def nearest(self) -> dict[str, tuple[EdgeRecord, ...]]:
        """Reference of each node but the root to the edges that the shortest ways to it end with."""
        depths = {reached.ref: reached.depth for reached in self.nodes}
        found: dict[str, list[EdgeRecord]] = {}
        for edge in self.edges:
            near, far = self.ends(edge)
            if depths[near] == depths[far] - 1:
                found.setdefault(far, []).append(edge)
        return {ref: tuple(edges) for ref, edges in found.items()}

    def to_dict(self) -> dict[str, Any]:
        """The lineage as JSON's types; each node with the relations that the shortest ways to it end with."""
        nearest = self.nearest()
        relations = {ref: sorted({edge.relation for edge in edges}) for ref, edges in nearest.items()}
        return {
            "root": self.root.to_dict(),
            "direction": self.direction,
            "nodes": [{**reached.to_dict(), "relations": relations.get(reached.ref, [])} for reached in self.nodes],
            "edges": [edge.to_dict() for edge in self.edges],
        }

    def within(self, depth: int | None = None, domains: bool = True) -> Lineage:
        """The part not farther away than `depth`, and without domains (but for the root) if so asked."""
        kept = [n for n in self.nodes if n.depth == 0 or (domains or n.node.kind != NodeKind.DOMAIN)]
        kept = [n for n in kept if depth is None or n.depth <= depth]
        refs = {reached.ref for reached in kept}
        edges = tuple(edge for edge in self.edges if edge.parent in refs and edge.child in refs)
        return Lineage(self.root, self.direction, tuple(kept), edges)


@dataclass(frozen=True)
class TreeLine(Record):
    """One line of a printed tree."""

    depth: int  # how far the line stands in
    node: NodeRecord  # what it names
    edges: tuple[EdgeRecord, ...]  # how it hangs on the nearest line above that stands less far in; empty at the root
    repeated: bool  # its children were printed where it appeared first
    cut: bool  # its children lie deeper than was asked for
    metric: MetricRecord | None  # the headline metric of its newest evaluation, None where there is none

    def to_dict(self) -> dict[str, Any]:
        """The node's own fields, then the line's."""
        own = super().to_dict()
        return {**own.pop("node"), **own}


@dataclass(frozen=True)
class LineageTree(Record):
    """A printed tree from the root down; flat, since a chain of versions has no natural end."""

    node: NodeRecord
    lines: tuple[TreeLine, ...]


def walk_from(root_id: int, direction: Direction) -> CTE:
    """Ids of a node and of all that is reachable from it, each once (UNION forgets what it has seen)."""
    near, far = _ends(direction)
    walk = select(Node.id.label("id")).where(Node.id == root_id).cte("walk", recursive=True)
    return walk.union(select(far).join(walk, near == walk.c.id))


def _ends(direction: Direction) -> tuple[Any, Any]:
    """The columns of an edge: the end on the root's side, and the far one."""
    return (Edge.child_id, Edge.parent_id) if direction == "upstream" else (Edge.parent_id, Edge.child_id)


def keep_to_indexes(session: Session) -> None:
    """Have PostgreSQL look the rows of a walk up one by one, for the rest of the transaction.

    The planner cannot know how far a recursive query will go and guesses high, where reading whole tables looks cheap.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.connection().exec_driver_sql("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")


def nodes_and_edges(walk: CTE, direction: Direction, nodes: Select[Any], of_edge: Sequence[Any]) -> Compound:
    """`nodes`, a row per node of a walk with its `id` first, then a row per edge between them, in one query.

    A row of an edge has its near end as `id`, nulls for what nodes have, and then the columns `of_edge`, which are null
    in the row of a node. Ask for no more of them than needed: what an index holds alone is read much faster.
    """
    own = len(nodes.selected_columns) - 1
    nodes = nodes.add_columns(*(null().label(column.key) for column in of_edge))
    edges = select(walk.c.id, *(null() for _ in range(own)), *of_edge).join(Edge, _ends(direction)[0] == walk.c.id)
    return union_all(nodes, edges)


def closure(session: Session, root: int, direction: Direction) -> Lineage:
    """All that a node came from, or that came from it."""
    walk = walk_from(root, direction)
    found = (
        select(walk.c.id, Node.kind, Node.ref, Node.label, Node.created_at, Domain.name.label("domain"))
        .join(Node, Node.id == walk.c.id)
        .outerjoin(Domain, Domain.id == Node.domain_id)
    )
    of_edge = (Edge.parent_id, Edge.child_id, Edge.relation, Edge.part, Edge.reason)
    keep_to_indexes(session)
    nodes: dict[int, NodeRecord] = {}
    after: dict[int, list[int]] = {}
    between = []
    for row in session.execute(nodes_and_edges(walk, direction, found, of_edge)):
        if row.kind is None:
            between.append(row)
            after.setdefault(row.id, []).append(row.parent_id if direction == "upstream" else row.child_id)
        else:
            nodes[row.id] = NodeRecord(row.ref, row.kind, row.domain, row.label, row.created_at)
    edges = [
        EdgeRecord(nodes[row.parent_id].ref, nodes[row.child_id].ref, row.relation, row.part or None, row.reason)
        for row in between
    ]
    # Length of the shortest way to each node.
    away, ahead = {root: 0}, deque([root])
    while ahead:
        here = ahead.popleft()
        for end in after.get(here, ()):
            if end not in away:
                away[end] = away[here] + 1
                ahead.append(end)
    reached = sorted(nodes, key=lambda key: (away[key], key))
    edges.sort(key=lambda edge: (edge.child, edge.parent, edge.relation, edge.part or ""))
    return Lineage(nodes[root], direction, tuple(LineageNode(nodes[key], away[key]) for key in reached), tuple(edges))


def parents_first(parents: Mapping[int, Collection[int]], rank: Callable[[int], Any]) -> list[int]:
    """All nodes, each after its parents; of those that could come next, the one of the lowest rank."""
    children: dict[int, list[int]] = {}
    for key, above in parents.items():
        for parent in above:
            children.setdefault(parent, []).append(key)
    waiting = {key: len(above) for key, above in parents.items()}
    ready = [(rank(key), key) for key, count in waiting.items() if not count]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        _, key = heapq.heappop(ready)
        order.append(key)
        for child in children.get(key, ()):
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(ready, (rank(child), child))
    return order


def tree(session: Session, root: int, direction: Direction, domains: bool, deepest: int | None) -> LineageTree:
    """The lineage of a node as indented lines; a node that hangs in several places is unfolded at the first."""
    lineage = closure(session, root, direction).within(domains=domains)
    metrics = _headlines(session, root, direction)
    nodes = {reached.ref: reached.node for reached in lineage.nodes}
    below: dict[str, dict[str, list[EdgeRecord]]] = {}
    for edge in lineage.edges:
        near, far = lineage.ends(edge)
        below.setdefault(near, {}).setdefault(far, []).append(edge)
    lines: list[TreeLine] = []
    unfolded: set[str] = set()
    stack: list[tuple[int, str, list[EdgeRecord]]] = [(0, lineage.root.ref, [])]
    while stack:
        depth, ref, edges = stack.pop()
        children = below.get(ref, {})
        repeated = bool(children) and ref in unfolded
        cut = bool(children) and not repeated and depth == deepest
        lines.append(TreeLine(depth, nodes[ref], tuple(edges), repeated, cut, metrics.get(ref)))
        if children and not repeated and not cut:
            unfolded.add(ref)
            youngest_first = sorted(children, key=lambda far: (nodes[far].created_at, far), reverse=True)
            stack.extend((depth + 1, far, children[far]) for far in youngest_first)
    return LineageTree(lineage.root, tuple(lines))


def _headlines(session: Session, root: int, direction: Direction) -> dict[str, MetricRecord]:
    """The headline metric of each node's newest evaluation, and of each evaluation itself, by reference."""
    walk = walk_from(root, direction)
    slice_, name = HEADLINE
    wanted = (Metric.slice == slice_) & (Metric.name == name)
    columns = select(Node.ref, Metric.evaluation_id, Metric.value, Metric.low, Metric.high).select_from(walk)
    of_subjects = columns.join(Evaluation, Evaluation.subject_id == walk.c.id).join(
        Metric, (Metric.evaluation_id == Evaluation.id) & wanted
    )
    of_themselves = columns.join(Metric, (Metric.evaluation_id == walk.c.id) & wanted)
    query = union_all(*(part.join(Node, Node.id == walk.c.id) for part in (of_subjects, of_themselves)))
    rows = sorted(session.execute(query).all(), key=lambda row: row.evaluation_id)
    return {row.ref: MetricRecord(slice_, name, row.value, row.low, row.high) for row in rows}

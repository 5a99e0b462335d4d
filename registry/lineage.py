"""Lineage: what a node came from and what came from it, each answered by one recursive query."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, literal, select
from sqlalchemy.orm import Session

from .database import Database
from .kinds import NodeKind
from .records import EdgeRecord, NodeRecord, Parent, Record
from .references import Reference
from .rows import Joined, add_edge, find_node, node_record
from .schema import Domain, Edge, Node

Direction = Literal["upstream", "downstream"]


@dataclass(frozen=True)
class LineageNode(Record):
    """A node reached; `depth` is the length of the shortest way to it, 0 for the one asked about."""

    node: NodeRecord
    depth: int

    @property
    def ref(self) -> str:
        """The node's reference."""
        return self.node.ref


@dataclass(frozen=True)
class Lineage(Record):
    """Everything on one side of `root`: nodes by depth and reference, `root` first, and every edge between them."""

    root: NodeRecord
    direction: Direction
    nodes: tuple[LineageNode, ...]
    edges: tuple[EdgeRecord, ...]

    @property
    def refs(self) -> tuple[str, ...]:
        """References of all nodes but the root, nearest first."""
        return tuple(reached.ref for reached in self.nodes[1:])


@dataclass(frozen=True)
class LineageTree(Record):
    """One line of a printed tree.

    Attributes:
        node: what the line names.
        edges: how it hangs on the line above; empty at the root.
        children: the lines under it, in order of age.
        repeated: its children were printed where it appeared first.
    """

    node: NodeRecord
    edges: tuple[EdgeRecord, ...]
    children: tuple[LineageTree, ...]
    repeated: bool = False


class LineageStore:
    """Lineage questions to a registry."""

    database: Database

    def upstream(self, ref: str | Reference) -> Lineage:
        """What made this: every node that the one referred to came from.

        Raises:
            NotFoundError: the reference points at nothing.
        """
        with self.database.read() as session:
            return _closure(session, find_node(session, ref), "upstream")

    def downstream(self, ref: str | Reference) -> Lineage:
        """What was made from this: every node that came from the one referred to.

        Raises:
            NotFoundError: the reference points at nothing.
        """
        with self.database.read() as session:
            return _closure(session, find_node(session, ref), "downstream")

    def tree(self, ref: str | Reference, direction: Direction = "upstream", domains: bool = False) -> LineageTree:
        """Lineage as nested lines for a printer; a node that hangs in several places is unfolded at the first.

        Args:
            ref: the root.
            direction: which way to walk.
            domains: show the domain under every snapshot too.

        Raises:
            NotFoundError: the reference points at nothing.
        """
        with self.database.read() as session:
            lineage = _closure(session, find_node(session, ref), direction)
        return _fold(lineage, domains)

    def add_edge(self, child: str, parent: Parent) -> None:
        """Record one more parent of an existing node.

        Raises:
            NotFoundError: either points at nothing.
            UsageError: the edge would close a cycle.
        """
        with self.database.write() as session:
            add_edge(session, find_node(session, parent.ref), find_node(session, child), parent)


def closure_query(root_id: int, direction: Direction) -> Joined:
    """One recursive query for all that is reachable: (node, depth, domain name, edge to a nearer side or null).

    An edge comes with the node that it leads away from: upstream with its child, downstream with its parent.
    """
    near, far = (Edge.child_id, Edge.parent_id) if direction == "upstream" else (Edge.parent_id, Edge.child_id)
    start = select(Node.id.label("id"), literal(0).label("depth")).where(Node.id == root_id)
    walk = start.cte("walk", recursive=True)
    walk = walk.union(select(far, walk.c.depth + 1).join(walk, near == walk.c.id))
    reached = select(walk.c.id, func.min(walk.c.depth).label("depth")).group_by(walk.c.id).subquery("reached")
    return (
        select(Node, reached.c.depth, Domain.name, Edge)
        .join(reached, reached.c.id == Node.id)
        .outerjoin(Domain, Domain.id == Node.domain_id)
        .outerjoin(Edge, near == Node.id)
        .order_by(reached.c.depth, Node.id)
    )


def _closure(session: Session, root: Node, direction: Direction) -> Lineage:
    rows = session.execute(closure_query(root.id, direction)).all()
    nodes = {row[0].id: LineageNode(node_record(row[0], row[2]), row[1]) for row in rows}
    refs = {key: reached.ref for key, reached in nodes.items()}
    edges = [_edge_record(refs, row[3]) for row in rows if row[3] is not None]
    edges.sort(key=lambda edge: (edge.child, edge.parent, edge.relation, edge.part or ""))
    return Lineage(nodes[root.id].node, direction, tuple(nodes.values()), tuple(edges))


def _edge_record(refs: dict[int, str], edge: Edge) -> EdgeRecord:
    return EdgeRecord(refs[edge.parent_id], refs[edge.child_id], edge.relation, edge.part or None, edge.reason)


def _fold(lineage: Lineage, domains: bool) -> LineageTree:
    nodes = {reached.ref: reached.node for reached in lineage.nodes}
    below: dict[str, dict[str, list[EdgeRecord]]] = {}
    for edge in lineage.edges:
        near, far = (edge.child, edge.parent) if lineage.direction == "upstream" else (edge.parent, edge.child)
        if domains or nodes[far].kind != NodeKind.DOMAIN:
            below.setdefault(near, {}).setdefault(far, []).append(edge)
    unfolded: set[str] = set()

    def line(ref: str, edges: Iterable[EdgeRecord]) -> LineageTree:
        hanging = below.get(ref, {})
        if ref in unfolded:
            return LineageTree(nodes[ref], tuple(edges), (), repeated=bool(hanging))
        unfolded.add(ref)
        oldest_first = sorted(hanging, key=lambda far: (nodes[far].created_at, far))
        return LineageTree(nodes[ref], tuple(edges), tuple(line(far, hanging[far]) for far in oldest_first))

    return line(lineage.root.ref, ())

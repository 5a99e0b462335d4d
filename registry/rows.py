"""What every noun's store does to rows: make a node with its edges, look one up by reference, take a version number."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from ..errors import NotFoundError, UsageError
from .artifacts.manifests import StoredArtifact
from .database import Database
from .kinds import NodeKind, Relation, choice
from .records import NodeRecord, Parent
from .references import Reference, parse
from .schema import Alias, Artifact, Domain, Edge, Node

# SQLite of old takes no more than 999 values in one statement.
_AT_ONCE = 500
# Rows of several tables joined; each store's `_record` gives the columns their types.
Joined: TypeAlias = "Select[*tuple[Any, ...]]"


class Store:
    """One noun's door to an open registry; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database


def now() -> datetime:
    """This moment in UTC."""
    return datetime.now(UTC)


def domain_row(session: Session, name: str) -> Domain:
    """The domain of that name.

    Raises:
        NotFoundError: there is none; the sentence names the nearest names that exist.
    """
    row = session.scalar(select(Domain).where(Domain.name == name))
    if row is None:
        raise NotFoundError(_unknown_domain(session, name))
    return row


def _unknown_domain(session: Session, name: str) -> str:
    names = list(session.scalars(select(Domain.name).order_by(Domain.name)))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"There is no domain {name!r}; did you mean {' or '.join(near)}?"
    if names:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        return f"There is no domain {name!r} among {shown}; add it with `hubspoke domain add {name}`."
    return f"There is no domain {name!r}, nor any other yet; add it with `hubspoke domain add {name}`."


def batches(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Sorted values in lists that fit into one statement."""
    ordered = sorted(values)
    for start in range(0, len(ordered), _AT_ONCE):
        yield ordered[start : start + _AT_ONCE]


def new_node(session: Session, reference: Reference, domain_id: int | None, label: str) -> Node:
    """A node with its id."""
    node = Node(kind=reference.kind, domain_id=domain_id, ref=str(reference), label=label, created_at=now())
    session.add(node)
    session.flush()
    return node


def next_version(session: Session, column: InstrumentedAttribute[int], *where: ColumnElement[bool]) -> int:
    """One more than the highest version so far; numbers may have gaps, none is given twice."""
    highest = session.scalar(select(func.max(column)).where(*where))
    return (highest or 0) + 1


def put_artifact(session: Session, stored: StoredArtifact) -> str:
    """Record an artifact where it is not yet; its digest."""
    if session.get(Artifact, stored.digest) is None:
        session.add(
            Artifact(
                digest=stored.digest,
                kind=stored.kind,
                bytes=stored.bytes,
                files=dict(stored.files),
                created_at=now(),
            )
        )
        session.flush()
    return stored.digest


def find_node(session: Session, ref: str | Reference) -> Node:
    """The node that a reference points at, aliases and `latest` followed.

    Raises:
        UsageError: the reference is malformed.
        NotFoundError: it points at nothing.
    """
    reference = parse(ref) if isinstance(ref, str) else ref
    node = session.scalar(_pointed_at(session, reference))
    if node is None:
        raise NotFoundError(_points_at_nothing(session, reference))
    return node


def _pointed_at(session: Session, reference: Reference) -> Select[Node]:
    if reference.alias is not None:
        joined = select(Node).join(Alias, Alias.node_id == Node.id)
        return joined.where(Alias.scope == reference.scope, Alias.name == reference.alias)
    if reference.kind is NodeKind.DOMAIN or reference.version is not None:
        return select(Node).where(Node.ref == str(reference))
    domain = domain_row(session, reference.scope)
    newest = select(Node).where(Node.domain_id == domain.id, Node.kind == reference.kind)
    return newest.order_by(Node.id.desc()).limit(1)


def _points_at_nothing(session: Session, reference: Reference) -> str:
    if reference.domain is not None:
        domain_row(session, reference.domain)
    if reference.alias is not None:
        return f"{reference} points at nothing yet; promote a version to {reference.alias} first."
    newest = session.scalar(_siblings(session, reference).order_by(Node.id.desc()).limit(1))
    if newest is None:
        return f"There is no {reference}, nor any other {_noun(reference)} yet; make the first one."
    return f"There is no {reference}; the newest {_noun(reference)} is {newest}."


def _siblings(session: Session, reference: Reference) -> Select[str]:
    query = select(Node.ref).where(Node.kind == reference.kind)
    if reference.domain is None:
        return query.where(Node.domain_id.is_(None))
    return query.where(Node.domain_id == domain_row(session, reference.domain).id)


def _noun(reference: Reference) -> str:
    noun = reference.kind.replace("_", " ")
    return f"{noun} of {reference.domain}" if reference.domain else f"{noun} version"


def expect_kind(node: Node, *kinds: NodeKind) -> Node:
    """The node itself.

    Raises:
        UsageError: it is of another kind.
    """
    if node.kind not in kinds:
        wanted = " or ".join(kind.replace("_", " ") for kind in kinds)
        raise UsageError(f"{node.ref} is of kind {node.kind.replace('_', ' ')}; name a {wanted} here.")
    return node


def add_edges(session: Session, child: Node, parents: Sequence[Parent]) -> None:
    """Record where a node came from; an edge that exists already is left as it is.

    Raises:
        NotFoundError: a parent does not exist.
        UsageError: an edge would close a cycle.
    """
    for parent in parents:
        add_edge(session, find_node(session, parent.ref), child, parent)


def add_edge(session: Session, parent: Node, child: Node, said: Parent) -> None:
    """Record one edge; what `said.ref` names is `parent`.

    Raises:
        UsageError: the edge would close a cycle.
    """
    relation = choice(Relation, said.relation, "relation")
    if session.get(Edge, (parent.id, child.id, relation, said.part or "")) is not None:
        return
    if parent.id == child.id or _reaches(session, child.id, parent.id):
        raise UsageError(
            f"{child.ref} cannot be {relation.replace('_', ' ')} {parent.ref}, which itself came from {child.ref}; "
            "name a parent that is older."
        )
    edge = Edge(parent_id=parent.id, child_id=child.id, relation=relation, part=said.part or "", reason=said.reason)
    session.add(edge)
    session.flush()


def _reaches(session: Session, start: int, target: int) -> bool:
    walk = select(Edge.child_id.label("id")).where(Edge.parent_id == start).cte("walk", recursive=True)
    walk = walk.union(select(Edge.child_id).join(walk, Edge.parent_id == walk.c.id))
    return session.scalar(select(walk.c.id).where(walk.c.id == target).limit(1)) is not None


def node_record(node: Node, domain: str | None) -> NodeRecord:
    """The record of a node; `domain` is the name behind its `domain_id`."""
    return NodeRecord(ref=node.ref, kind=node.kind, domain=domain, label=node.label, created_at=node.created_at)


def read_node(session: Session, node: Node) -> NodeRecord:
    """The record of a node, its domain's name looked up."""
    if node.domain_id is None:
        return node_record(node, None)
    return node_record(node, session.scalar(select(Domain.name).where(Domain.id == node.domain_id)))

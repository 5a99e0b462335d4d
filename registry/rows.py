"""What every noun's store does to rows: make a node with its edges, look one up by reference, take a version number."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from ..errors import NotFoundError, UsageError
from ..results import Record
from .artifacts.manifests import StoredArtifact
from .database import Database
from .kinds import NodeKind, Relation, choice, in_words, with_article
from .records import NodeRecord, Parent
from .references import Reference, is_domain_name, parse
from .schema import Alias, Artifact, Base, Domain, Edge, Node

R = TypeVar("R", bound=Record)
# SQLite of old takes no more than 999 values in one statement.
_AT_ONCE = 500
# Rows of several tables joined.
Joined: TypeAlias = "Select[*tuple[Any, ...]]"


class Store:
    """One noun's door to an open registry; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database


class NodeStore(Store, Generic[R]):
    """A store of what has a node of its own.

    A subclass says what kinds of node it reads from which table into which record, and joins to the query one labelled
    column for each field of the record that is neither a column of the table nor of the node.
    """

    kinds: ClassVar[tuple[NodeKind, ...]]
    table: ClassVar[type[Any]]
    record: type[R]
    # The field, if any, that is made of rows of another table, and its value where there are none.
    inner: ClassVar[tuple[str, Any] | None] = None

    @classmethod
    def _query(cls) -> Joined:
        query: Joined = select(cls.table, Node, Domain.name.label("domain")).join(Node, Node.id == cls.table.id)
        return query.outerjoin(Domain, Domain.id == cls.table.domain_id)

    @classmethod
    def _inner_values(cls, session: Session, query: Joined) -> Mapping[int, Any]:
        raise NotImplementedError

    @classmethod
    def records(cls, session: Session, query: Joined) -> list[R]:
        """The records that a query gives, in its order."""
        values = cls._inner_values(session, query) if cls.inner else {}
        found = []
        for row in session.execute(query):
            own, node, *_ = row
            known = {"ref": node.ref, "created_at": node.created_at, **row._mapping}
            if cls.inner:
                field, default = cls.inner
                known[field] = values.get(own.id, default)
            found.append(fill(cls.record, own, known))
        return found

    @classmethod
    def read(cls, session: Session, node: Node) -> R:
        """The record of a node; one of another kind is a UsageError."""
        expect_kind(node, *cls.kinds)
        return cls.records(session, cls._query().where(Node.id == node.id))[0]

    @classmethod
    def _new(
        cls, session: Session, kind: NodeKind, owner: Domain | None, label: str, columns: Mapping[str, Any]
    ) -> Node:
        """A node with the next version number of its kind and domain, and its row.

        Numbers may have gaps, none is given twice. `{}` in the label stands for the number.
        """
        table, (domain_id, name) = cls.table, (None, None) if owner is None else (owner.id, owner.name)
        mine = select(table.id).join(Node, Node.id == table.id).where(Node.domain_id == domain_id, Node.kind == kind)
        version = (session.scalar(mine.with_only_columns(func.max(table.version))) or 0) + 1
        node = new_node(session, Reference(kind, name, version), domain_id, label.format(version))
        session.add(table(id=node.id, domain_id=domain_id, version=version, **columns))
        session.flush()
        return node

    def get(self, ref: str) -> R:
        """The version that a reference points at."""
        with self.database.read() as session:
            return self.read(session, find_node(session, ref))

    def _list(self, domain: str | None, *where: ColumnElement[bool]) -> list[R]:
        """Records, oldest first, of one domain if asked."""
        query = self._query().where(*where).order_by(Node.id)
        with self.database.read() as session:
            if domain is not None:
                query = query.where(Node.domain_id == domain_row(session, domain).id)
            return self.records(session, query)


def fill(kind: type[R], row: Base, known: Mapping[str, Any]) -> R:
    """A record of what is known, and of the row's columns for its other fields."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # every record is a dataclass
    return kind(**{name: known[name] if name in known else getattr(row, name) for name in names})


def domain_row(session: Session, name: str) -> Domain:
    """The domain of that name; where there is none, a NotFoundError with the nearest names that exist."""
    row = session.scalar(select(Domain).where(Domain.name == name))
    if row is not None:
        return row
    names = list(session.scalars(select(Domain.name).order_by(Domain.name)))
    if near := difflib.get_close_matches(name, names, n=3, cutoff=0.5):
        raise NotFoundError(f"There is no domain {name!r}; did you mean {' or '.join(near)}?")
    others = f" among {', '.join(names[:5])}{', ...' if names[5:] else ''}" if names else ", nor any other yet"
    remedy = f"add it with `hubspoke domain add {name}`" if is_domain_name(name) else "correct the name"
    raise NotFoundError(f"There is no domain {name!r}{others}; {remedy}.")


def now() -> datetime:
    """This moment in UTC."""
    return datetime.now(UTC)


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


def put_artifact(session: Session, stored: StoredArtifact) -> str:
    """Record an artifact where it is not yet; its digest."""
    if session.get(Artifact, stored.digest) is None:
        row = Artifact(digest=stored.digest, kind=stored.kind, bytes=stored.bytes, files=dict(stored.files))
        row.created_at = now()
        session.add(row)
        session.flush()
    return stored.digest


def find_node(session: Session, ref: str | Reference) -> Node:
    """The node that a reference points at, aliases and `latest` followed."""
    reference = parse(ref) if isinstance(ref, str) else ref
    query = select(Node).where(Node.ref == str(reference))
    if reference.alias is not None:
        query = select(Node).join(Alias, Alias.node_id == Node.id)
        query = query.where(Alias.scope == reference.scope, Alias.name == reference.alias)
    elif reference.kind is not NodeKind.DOMAIN and reference.version is None:
        query = _newest(session, reference)
    node = session.scalar(query)
    if node is not None:
        return node
    newest = session.scalar(_newest(session, reference))  # first of all names a domain that does not exist
    if reference.alias is not None:
        raise NotFoundError(f"{reference} points at nothing yet; promote a version to {reference.alias} first.")
    noun = in_words(reference.kind)
    noun = f"{noun} of {reference.domain}" if reference.domain else f"{noun} version"
    if newest is None:
        raise NotFoundError(f"There is no {reference}, nor any other {noun} yet; make the first one.")
    raise NotFoundError(f"There is no {reference}; the newest {noun} is {newest.ref}.")


def _newest(session: Session, reference: Reference) -> Select[Node]:
    domain_id = None if reference.domain is None else domain_row(session, reference.domain).id
    same = select(Node).where(Node.kind == reference.kind, Node.domain_id == domain_id)
    return same.order_by(Node.id.desc()).limit(1)


def expect_kind(node: Node, *kinds: NodeKind) -> Node:
    """The node itself; one of another kind is a UsageError."""
    if node.kind not in kinds:
        wanted = " or ".join(map(with_article, kinds))
        raise UsageError(f"{node.ref} is of kind {in_words(node.kind)}; name {wanted} here.")
    return node


def read_node(session: Session, node: Node) -> NodeRecord:
    """The record of a node, its domain's name looked up."""
    domain = session.scalar(select(Domain.name).where(Domain.id == node.domain_id)) if node.domain_id else None
    return NodeRecord(node.ref, node.kind, domain, node.label, node.created_at)


def add_edges(session: Session, child: Node, parents: Sequence[Parent]) -> None:
    """Record where a node came from; an edge that exists already is left as it is."""
    for edge in parents:
        parent, part = find_node(session, edge.ref), edge.part or ""
        relation = choice(Relation, edge.relation, "relation")
        if session.get(Edge, (parent.id, child.id, relation, part)) is not None:
            continue
        below = select(Edge.child_id.label("id")).where(Edge.parent_id == child.id).cte("walk", recursive=True)
        below = below.union(select(Edge.child_id).join(below, Edge.parent_id == below.c.id))
        cycle = select(below.c.id).where(below.c.id == parent.id).limit(1)
        if parent.id == child.id or session.scalar(cycle) is not None:
            raise UsageError(
                f"{child.ref} cannot be {in_words(relation)} {parent.ref}, which itself came from {child.ref}; "
                "name a parent that is older."
            )
        session.add(Edge(parent_id=parent.id, child_id=child.id, relation=relation, part=part, reason=edge.reason))
        session.flush()

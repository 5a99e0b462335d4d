"""Moving a node with all its lineage from one registry to another: its rows out of the one, into the other.

A node keeps its uid and its times; its number too, unless that is taken where it comes to.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from ...errors import InvalidDataError, UsageError
from ...results import Record
from ..kinds import ModelStatus, NodeKind
from ..lineage.graph import keep_to_indexes, parents_first, walk_from
from ..records import PARTS, ReleaseParts
from ..references import Reference, parse
from ..rows import Store, batches, find_node
from ..schema import Artifact, Domain, Evaluation, Node, Release, RuleSet, Snapshot
from ..stores.releases import fitting_parts, same_release
from .bundle_rows import (
    DETAILS,
    OWNERS,
    BundleRows,
    Row,
    columns_of,
    names_artifact,
    node_target,
    table_of,
    to_plain,
    to_values,
)


@dataclass(frozen=True)
class Placement(Record):
    """Where the rows of a bundle are in a registry, or would be."""

    root: str  # reference here of the node that the bundle was made for
    refs: Mapping[str, str]  # reference of every node in the bundle to its reference here
    created: tuple[str, ...]  # references here of the nodes that are new
    artifacts: frozenset[str]  # digests of the bundle's artifacts that nodes here refer to


class BundleStore(Store):
    """Bundles out of and into a registry."""

    def rows(self, ref: str) -> BundleRows:
        """A node's rows, with those of everything that it came from and of the evaluations of all these.

        The evaluations of what serves come with the data that they were measured on, as evidence for a gate; any other
        where its subject and all that it was measured on come anyway. A model among them that is not ready is a
        UsageError.
        """
        with self.database.read() as session:
            if session.get_bind().dialect.name == "postgresql":
                # All queries of the transaction see one moment, as SQLite's do anyway.
                session.connection().exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            keep_to_indexes(session)
            root = find_node(session, ref)
            # What a gate measures is the version that serves: the root itself, or a release's spoke or hub.
            release = session.get(Release, root.id)
            serves = root.id if release is None else release.spoke_id or release.hub_id
            measured = select(Evaluation.id).where(Evaluation.subject_id == serves)
            evidence = session.scalars(measured.where(Evaluation.domain_id == root.domain_id))
            ids = _with_parents(session, {root.id, *evidence})
            of_these = [select(Evaluation.id).where(Evaluation.subject_id.in_(some)) for some in batches(ids)]
            evaluations = {key for measured in of_these for key in session.scalars(measured)}
            foreign = {child for parent, child in _pointers(session, evaluations) if parent not in ids}
            ids |= evaluations - foreign
            parents: dict[int, set[int]] = {key: set() for key in ids}
            for parent, child in _pointers(session, ids):
                parents[child].add(parent)
            return _read(session, root, parents_first(parents, rank=int))  # else by age

    def place(self, rows: BundleRows, rehearse: bool = False) -> Placement:
        """Make the rows' nodes nodes of this registry, in one transaction; those here already stay as they are.

        Domains are the same by name, snapshots and rules by content, releases by parts, everything else by uid; a node
        that is here with another content is an InvalidDataError. A rehearsal does it all, and takes it back.
        """
        with self.database.write() as session:
            try:
                placement = _Placing(session, rows).place()
            except UsageError as error:
                raise InvalidDataError(f"The bundle does not fit this registry: {error}") from error
            if rehearse:
                session.rollback()
            return placement


# ---- out of a registry ----


def _with_parents(session: Session, ids: set[int]) -> set[int]:
    """These nodes with all that they came from, and all that their rows point at."""
    found: set[int] = set()
    ahead = ids
    while ahead:
        for start in sorted(ahead):
            if start not in found:
                found |= set(session.scalars(select(walk_from(start, "upstream").c.id)))
        ahead = {parent for parent, _ in _pointers(session, found)} - found
    return found


def _pointers(session: Session, ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(node pointed at, node) for every edge and row of these nodes."""
    for name, owner in OWNERS.items():
        table = table_of(name)
        key = table.c["id"] if name == "nodes" else table.c[owner]
        for column in columns_of(name):
            if node_target(column) is not None and column is not key:
                for some in batches(ids):
                    pairs = select(column, key).where(key.in_(some), column.is_not(None))
                    yield from ((parent, child) for parent, child in session.execute(pairs))


def _read(session: Session, root: Node, order: list[int]) -> BundleRows:
    nodes = {row["id"]: row for row in _rows(session, "nodes", "id", order)}
    uids = {key: row["uid"] for key, row in nodes.items()}
    place = {uids[key]: number for number, key in enumerate(order)}
    tables: dict[str, list[Row]] = {"artifacts": []}
    for name, owner in OWNERS.items():
        if name != "artifacts":
            found = nodes.values() if name == "nodes" else _rows(session, name, owner, order)
            plain = [to_plain(name, row, uids) for row in found]
            keys = [column.name for column in table_of(name).primary_key if (name, column.name) != ("nodes", "id")]
            # By their nodes, parents first, then by their other keys: the same in every registry.
            tables[name] = sorted(plain, key=lambda row: (place[row[owner]], [row[key] for key in keys]))
    for row in tables["models"]:
        if row["status"] != ModelStatus.READY:
            ref = next(node["ref"] for node in tables["nodes"] if node["uid"] == row["id"])
            raise UsageError(f"{ref} is {row['status']}; bundle what is made of ready models, or train it again.")
    digests = {digest for name in DETAILS.values() for row in tables[name] for digest in _digests(name, row)}
    stored = _rows(session, "artifacts", "digest", sorted(digests))
    tables["artifacts"] = sorted((to_plain("artifacts", row, uids) for row in stored), key=lambda row: row["digest"])
    return BundleRows(root.ref, tables)


def _rows(session: Session, name: str, column: str, values: Iterable[Any]) -> list[Row]:
    table = table_of(name)
    found = (session.execute(select(table).where(table.c[column].in_(some))) for some in batches(values))
    return [dict(row) for result in found for row in result.mappings()]


# ---- into a registry ----


class _Placing:
    """One bundle on its way into a registry, inside the caller's transaction."""

    def __init__(self, session: Session, rows: BundleRows) -> None:
        self._session = session
        self._rows = rows
        self._ids: dict[str, int] = {}  # uid in the bundle to row id here
        self._refs: dict[str, str] = {}
        self._created: dict[str, str] = {}  # uid to reference here
        self._artifacts: set[str] = set()
        self._stored = {row["digest"]: row for row in rows.tables["artifacts"]}

    def place(self) -> Placement:
        """Every node, parents first, then what hangs on those that are new."""
        for node in self._rows.tables["nodes"]:
            kind, row = NodeKind(node["kind"]), self._rows.details[node["uid"]]
            # The node's own row id is not known yet.
            values = to_values(DETAILS[kind], row, ChainMap({row["id"]: 0}, self._ids))
            here = self._known(node, kind, values) or self._insert(node, kind, values)
            self._ids[node["uid"]] = here.id
            self._refs[node["ref"]] = here.ref
            # A snapshot of equal content may have been written here by another library, to other bytes.
            table = table_of(DETAILS[kind])
            for digest, column in _digests(DETAILS[kind], row).items():
                if self._session.scalar(select(table.c[column]).where(table.c.id == here.id)) == digest:
                    self._artifacts.add(digest)
        self._hang()
        root = self._refs[self._rows.root]
        return Placement(root, self._refs, tuple(self._created.values()), frozenset(self._artifacts))

    # ---- nodes that are here already ----

    def _known(self, node: Row, kind: NodeKind, values: Row) -> Node | None:
        same = select(Node).where(Node.kind == kind)
        if kind is NodeKind.DOMAIN:
            return self._session.scalar(same.join(Domain, Domain.id == Node.id).where(Domain.name == values["name"]))
        known = self._session.scalar(select(Node).where(Node.uid == node["uid"]))
        if known is not None:
            self._check_same(node, values, known)
            return known
        # A node of other origin and the same content, for the kinds of which there is one of a content.
        if kind is NodeKind.RELEASE:
            row = self._rows.details[node["uid"]]
            own = {name: row[f"{name}_id"] for name in PARTS if row[f"{name}_id"] is not None}
            parts = ReleaseParts(**{name: self._refs[self._rows.nodes[uid]["ref"]] for name, uid in own.items()})
            owner = self._session.get_one(Domain, self._ids[row["domain_id"]])
            return same_release(self._session, owner, fitting_parts(self._session, owner, parts))
        same = same.where(Node.domain_id == values["domain_id"])
        if kind is NodeKind.RULES:
            same = same.join(RuleSet, RuleSet.id == Node.id).where(RuleSet.fingerprint == values["fingerprint"])
        elif DETAILS[kind] == "snapshots":
            same = same.join(Snapshot, Snapshot.id == Node.id).where(Snapshot.content_hash == values["content_hash"])
        else:
            return None
        return self._session.scalar(same)

    def _check_same(self, node: Row, values: Row, known: Node) -> None:
        """Whatever has a uid never changes, so every column must agree but the number."""
        table = table_of(DETAILS[NodeKind(node["kind"])])
        here = self._session.execute(select(table).where(table.c.id == known.id)).mappings().first()
        wanted = {key: value for key, value in values.items() if key not in ("id", "version")}
        differing = [key for key, value in wanted.items() if here is None or here[key] != value]
        if known.kind != node["kind"] or differing:
            raise InvalidDataError(
                f"{node['ref']} of the bundle is {known.ref} here, but has another {[*differing, 'kind'][0]}; "
                "one of the two was changed, so export it once more or restore a backup."
            )

    # ---- nodes that are new ----

    def _insert(self, node: Row, kind: NodeKind, values: Row) -> Node:
        own = self._free_reference(node, values)
        if own.version is not None:
            values["version"] = own.version
        # Whatever else has a uid has been looked up by it; a domain by its name.
        holder = self._session.scalar(select(Node.ref).where(Node.uid == node["uid"]))
        if holder is not None:
            raise InvalidDataError(f"{node['ref']} of the bundle is {holder} here; export it once more.")
        for digest in _digests(DETAILS[kind], values):
            if self._session.get(Artifact, digest) is None:
                self._session.add(Artifact(**to_values("artifacts", self._stored[digest], {})))
                self._session.flush()
        # The label gets the number that the node has here.
        old, label = parse(node["ref"]).version, node["label"]
        label = label if old is None else re.sub(rf"\b{old}$", str(own.version), label)
        here = Node(**to_values("nodes", node, self._ids) | {"ref": str(own), "label": label})
        self._session.add(here)
        self._session.flush()
        self._session.execute(insert(table_of(DETAILS[kind])).values(values | {"id": here.id}))
        self._created[node["uid"]] = here.ref
        return here

    def _free_reference(self, node: Row, values: Row) -> Reference:
        """Its own reference where that is free here, else the next number of its kind and domain."""
        own = parse(node["ref"])
        if self._session.scalar(select(Node.id).where(Node.ref == str(own))) is None:
            return own
        table = table_of(DETAILS[own.kind])
        highest = select(func.max(table.c.version)).where(
            table.c.domain_id.is_not_distinct_from(values["domain_id"]),
            *(table.c[key] == values[key] for key in ("kind",) if key in table.c),
        )
        return replace(own, version=(self._session.scalar(highest) or 0) + 1)

    def _hang(self) -> None:
        """Parts, metrics and edges of the new nodes; what a node of old came from is told by this registry alone."""
        for name in ("model_parts", "metrics", "edges"):
            keys = [column.name for column in table_of(name).primary_key]
            new = [row for row in self._rows.tables[name] if row[OWNERS[name]] in self._created]
            rows = [to_values(name, row, self._ids) for row in new]
            # Two parents of the bundle may be one here.
            distinct = {tuple(row[key] for key in keys): row for row in rows}
            for some in batches(distinct):
                self._session.execute(insert(table_of(name)), [distinct[key] for key in some])


def _digests(table: str, row: Row) -> dict[str, str]:
    """Digest of each artifact that a row of a table names, to the column that names it."""
    return {row[c.name]: c.name for c in columns_of(table) if names_artifact(c) and row[c.name] is not None}

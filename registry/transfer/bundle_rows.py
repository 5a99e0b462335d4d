"""The rows of a bundle as plain JSON: which tables travel, uids in the place of row ids, and every check on reading.

What is read is taken for hostile: rows that pass `read_rows` agree with each other, whoever wrote them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any, Final, TypeAlias

from sqlalchemy import JSON, BigInteger, Column, Double, Integer, String, Table

from ...errors import InvalidDataError, UsageError
from ..kinds import DomainStatus, ModelKind, ModelStatus, NodeKind, Relation, SnapshotKind
from ..references import Reference, parse
from ..schema import Artifact, Base, UtcDateTime

Row: TypeAlias = dict[str, Any]

# The table that holds what is particular to a node of each kind.
DETAILS: Final[Mapping[NodeKind, str]] = {
    NodeKind.DOMAIN: "domains",
    NodeKind.ITEM_SNAPSHOT: "snapshots",
    NodeKind.EVENT_SNAPSHOT: "snapshots",
    NodeKind.HUB: "models",
    NodeKind.SPOKE: "models",
    NodeKind.RERANKER: "models",
    NodeKind.INDEX: "index_versions",
    NodeKind.EVALUATION: "evaluations",
    NodeKind.RULES: "rule_sets",
    NodeKind.RELEASE: "releases",
}
# Every table that travels, with the column that says of which node (or artifact) a row is.
OWNERS: Final[Mapping[str, str]] = {
    "artifacts": "digest",
    "nodes": "uid",
    **dict.fromkeys(DETAILS.values(), "id"),
    "model_parts": "model_id",
    "metrics": "evaluation_id",
    "edges": "child_id",
}
# Which versions serve, since when and on what condition is each registry's own, and so is how a launch went there, what
# people there think of it, what its shoppers are shown and which artifact stores are its own.
LEFT_BEHIND: Final = frozenset(
    {"aliases", "alias_changes", "experiments", "gates", "judgements", "launch_reports", "store_stamps"}
)
_KINDS_OF_PARENTS = {
    ("index_versions", "items_id"): {NodeKind.ITEM_SNAPSHOT},
    # A category without events is assessed by its catalog.
    ("evaluations", "events_id"): {NodeKind.EVENT_SNAPSHOT, NodeKind.ITEM_SNAPSHOT},
}
_NODE_KINDS: Mapping[str, NodeKind] = {own: own.node_kind for own in (*SnapshotKind, *ModelKind)}
_UID = re.compile(r"[0-9a-f]{32}")


def table_of(name: str) -> Table:
    """A table of the registry by its name."""
    return Base.metadata.tables[name]


@cache
def columns_of(name: str) -> tuple[Column[Any], ...]:
    """The columns of a table that travel: all but the row ids of nodes."""
    return tuple(column for column in table_of(name).columns if (name, column.name) != ("nodes", "id"))


@cache
def node_target(column: Column[Any]) -> str | None:
    """The table whose nodes a column points at, None where it points at no node."""
    return next((key.column.table.name for key in column.foreign_keys if key.column.name == "id"), None)


def names_artifact(column: Column[Any]) -> bool:
    """Whether a column holds digests of artifacts."""
    return any(key.column is Artifact.__table__.c.digest for key in column.foreign_keys)


@dataclass(frozen=True)
class BundleRows:
    """The rows of a node (`root`) and of everything that it came from; each comes after those that it points at.

    In `tables` lie the rows of every travelling table by its name: columns that point at nodes hold uids, times are
    ISO 8601 in UTC.
    """

    root: str
    tables: Mapping[str, Sequence[Row]]

    @cached_property
    def nodes(self) -> Mapping[str, Row]:
        """Rows of all nodes by uid, parents first."""
        return {row["uid"]: row for row in self.tables["nodes"]}

    @cached_property
    def details(self) -> Mapping[str, Row]:
        """By uid what is particular to each node."""
        names = dict.fromkeys(DETAILS.values())
        return {row["id"]: row for name in names for row in self.tables[name]}

    @property
    def counts(self) -> dict[str, int]:
        """How many nodes there are of each kind, by kind."""
        return dict(sorted(Counter(row["kind"] for row in self.tables["nodes"]).items()))

    @property
    def created_at(self) -> str:
        """When the root was made."""
        return next(str(row["created_at"]) for row in self.tables["nodes"] if row["ref"] == self.root)


def to_plain(name: str, row: Mapping[str, Any], uids: Mapping[int, str]) -> Row:
    """One row of the database as JSON's types; `uids` says what the row ids of nodes stand for."""

    def plain(column: Column[Any]) -> Any:
        value = row[column.name]
        if value is not None and node_target(column) is not None:
            return uids[value]
        return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value

    return {column.name: plain(column) for column in columns_of(name)}


def to_values(name: str, row: Row, ids: Mapping[str, int]) -> dict[str, Any]:
    """The reverse of `to_plain`, for a row that has been checked."""

    def value(column: Column[Any]) -> Any:
        plain = row[column.name]
        if plain is not None and node_target(column) is not None:
            return ids[plain]
        return datetime.fromisoformat(plain) if plain and isinstance(column.type, UtcDateTime) else plain

    return {column.name: value(column) for column in columns_of(name)}


def read_rows(root: Any, tables: Any) -> BundleRows:
    """The rows that plain JSON holds, checked one by one and against each other (InvalidDataError where they fail)."""
    _require(isinstance(tables, dict) and tables.keys() == OWNERS.keys(), "its tables are not those of a registry")
    for name, rows in tables.items():
        _require(isinstance(rows, list), f"{name} is no list of rows")
        columns = {column.name: column for column in columns_of(name)}
        for row in rows:
            _require(isinstance(row, dict) and row.keys() == columns.keys(), f"a row of {name} has other columns")
            for key, column in columns.items():
                fits = bool(column.nullable) if row[key] is None else _fits(column, row[key])
                _require(fits, f"{key} of a row of {name} is {str(row[key])[:60]!r}")
        keys = ["uid"] if name == "nodes" else [column.name for column in table_of(name).primary_key]
        _require(len({tuple(row[key] for key in keys) for row in rows}) == len(rows), f"a row of {name} is there twice")
    _require(isinstance(root, str), "its root is no reference")
    found = BundleRows(root, tables)
    for node in tables["nodes"]:
        _require(node["kind"] in set(NodeKind), f"{node['kind']} is no kind of node")
    _check_pointers(found)
    n_details = sum(len(tables[name]) for name in dict.fromkeys(DETAILS.values()))
    _require(n_details == len(found.nodes) == len(found.details), "a node is there in part")
    for node in found.nodes.values():
        _check_details(found, node)
    refs = Counter(node["ref"] for node in tables["nodes"])
    _require(all(count == 1 for count in refs.values()), "two nodes have one reference")
    _require(root in refs, f"its root {root} is not in it")
    for edge in tables["edges"]:
        _require(edge["relation"] in set(Relation), f"{edge['relation']} is no relation")
    return found


def contradiction(text: str) -> InvalidDataError:
    """The error of a bundle whose content cannot be."""
    return InvalidDataError(f"The bundle contradicts itself ({text}); export it once more.")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise contradiction(otherwise)


# ---- one row by itself ----


def _fits(column: Column[Any], value: Any) -> bool:
    """Whether both databases can keep a value in a column."""
    if node_target(column) is not None or column.name == "uid":
        return isinstance(value, str) and _UID.fullmatch(value) is not None
    kind = column.type
    if isinstance(kind, UtcDateTime):
        with suppress(ValueError):
            moment = datetime.fromisoformat(value) if isinstance(value, str) else None
            return moment is not None and moment.tzinfo == UTC and moment.isoformat() == value
        return False
    if isinstance(kind, JSON):
        return isinstance(value, dict)
    if isinstance(kind, Integer):
        bound = 1 << (63 if isinstance(kind, BigInteger) else 31)
        return type(value) is int and -bound <= value < bound
    if isinstance(kind, Double):
        return type(value) in (int, float)
    if isinstance(kind, String):
        # PostgreSQL knows no text with a zero character.
        return isinstance(value, str) and len(value) <= (kind.length or len(value)) and "\0" not in value
    raise TypeError(f"no check for {column}")


# ---- rows against each other ----


def _check_pointers(rows: BundleRows) -> None:
    position = {uid: place for place, uid in enumerate(rows.nodes)}
    named: set[str] = set()
    for name, own in rows.tables.items():
        to_nodes = [(column.name, target) for column in columns_of(name) if (target := node_target(column))]
        to_artifacts = [column.name for column in columns_of(name) if names_artifact(column)]
        for row in own:
            named |= {row[column] for column in to_artifacts if row[column] is not None}
            for column, target in to_nodes:
                uid = row[column]
                if uid is None:
                    continue
                _require(uid in position, f"{column} of a row of {name} points outside")
                kind = NodeKind(rows.nodes[uid]["kind"])
                fits = target in ("nodes", DETAILS[kind]) and kind in _KINDS_OF_PARENTS.get((name, column), {kind})
                _require(fits, f"{column} in {name} points at a {kind}")
                # Parents come first, so that there can be no cycle.
                if column != OWNERS[name]:
                    later = position[uid] >= position.get(row[OWNERS[name]], -1)
                    _require(not later, f"{column} in {name} points at a later node")
    digests = {row["digest"] for row in rows.tables["artifacts"]}
    _require(named == digests, "its artifacts are not those that its rows name")


def _check_details(rows: BundleRows, node: Row) -> None:
    kind, ref, domain = NodeKind(node["kind"]), node["ref"], node["domain_id"]
    _require(node["uid"] in rows.details, f"{ref} is there in part")
    row, name = rows.details[node["uid"]], None
    if kind is NodeKind.DOMAIN:
        _require(domain is None and row["status"] in set(DomainStatus), f"{ref} is no domain")
        own = Reference(kind, row["name"])
    else:
        _require(domain == row["domain_id"], f"{ref} is of two domains")
        _require("kind" not in row or _NODE_KINDS.get(row["kind"]) == kind, f"{ref} is of two kinds")
        hub = kind is NodeKind.HUB
        _require((domain is None) == hub, f"{ref} has {'a' if hub else 'no'} domain")
        if domain is not None:
            _require(rows.nodes[domain]["kind"] == NodeKind.DOMAIN, f"{ref} has no domain")
            name = str(rows.details[domain]["name"])
        own = Reference(kind, name, row["version"])
    plain = False
    with suppress(UsageError):
        plain = str(parse(ref)) == ref
    _require(plain, f"{ref} is no reference")
    _require(str(own) == ref, f"{ref} is called {own}")
    if DETAILS[kind] == "models":
        ready = row["status"] == ModelStatus.READY and row["artifact"] and row["finished_at"]
        _require(bool(ready), f"{ref} is {row['status']}, not ready")

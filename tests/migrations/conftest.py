"""Rows of every table as schema 0001 holds them, and ways to look at a database whatever its schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hubspoke.registry.database import Database
from sqlalchemy import MetaData, inspect, text

START = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
PIN = {"pin": ["rose"], "max_per_brand": 3}
ARTIFACT = "a" * 64
# Id, kind, domain, reference.
NODES = (
    (1, "domain", None, "domain:garden"),
    (2, "domain", None, "domain:pets"),
    (3, "item_snapshot", 1, "snapshot:garden/items/1"),
    (4, "event_snapshot", 1, "snapshot:garden/events/1"),
    (5, "hub", None, "hub:1"),
    (6, "hub", None, "hub:2"),
    (7, "spoke", 1, "garden:1"),
    (8, "spoke", 1, "garden:2"),
    (9, "index", 1, "index:garden/1"),
    (10, "index", 1, "index:garden/2"),
    (11, "release", 1, "release:garden/1"),
    (12, "release", 1, "release:garden/2"),
    (13, "release", 1, "release:garden/3"),
    (14, "evaluation", 1, "evaluation:garden/1"),
    (15, "evaluation", 1, "evaluation:garden/2"),
    (16, "item_snapshot", 2, "snapshot:pets/items/1"),
    (17, "index", 2, "index:pets/1"),
    (18, "release", 2, "release:pets/1"),
)
REFS = {key: ref for key, _, _, ref in NODES}
# Parent, child, relation, part.
EDGES = (
    (3, 5, "trained_on", ""),
    (5, 7, "adapted_from", ""),
    (5, 7, "inherits", "text"),
    (4, 7, "trained_on", ""),
    (7, 9, "built_from", ""),
    (3, 9, "embeds", ""),
    (5, 11, "released_as", "hub"),
    (7, 11, "released_as", "spoke"),
    (9, 11, "released_as", "index"),
    (7, 14, "built_from", ""),
    (4, 14, "evaluated_on", ""),
)
Rows = dict[str, list[dict[str, Any]]]


def at(key: int) -> datetime:
    return START + timedelta(days=key)


def fingerprint(hub: int, spoke: int | None, index: int, rules: dict[str, Any]) -> str:
    """A release's fingerprint as the code of schema 0001 took it."""
    parts: dict[str, Any] = {"hub": REFS[hub], "index": REFS[index], "rules": rules}
    if spoke is not None:
        parts["spoke"] = REFS[spoke]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def release(
    key: int, version: int, domain: int, hub: int, spoke: int | None, index: int, **rules: Any
) -> dict[str, Any]:
    return {
        "id": key,
        "domain_id": domain,
        "version": version,
        "fingerprint": fingerprint(hub, spoke, index, rules),
        "hub_id": hub,
        "spoke_id": spoke,
        "index_id": index,
        "rules": rules,
    }


def model(key: int, kind: str, domain: int | None, version: int, status: str = "ready") -> dict[str, Any]:
    ready = status == "ready"
    return {
        "id": key,
        "kind": kind,
        "domain_id": domain,
        "version": version,
        "status": status,
        "fingerprint": f"f{key}",
        "space_fingerprint": "space" if ready else None,
        "config": {"layers": 1, "rate": 0.001},
        "summary": {"parameters": 2**40},
        "code_version": "0.1.0",
        "seed": 2**40 if kind == "hub" else None,
        "environment": {},
        "artifact": ARTIFACT if ready else None,
        "started_at": START,
        "finished_at": START + timedelta(seconds=90),
        "error": None if ready else "disk full",
    }


def snapshot(key: int, domain: int, kind: str, as_of: datetime | None) -> dict[str, Any]:
    return {
        "id": key,
        "domain_id": domain,
        "kind": kind,
        "version": 1,
        "content_hash": f"h{key}",
        "rows": 3_000_000_000,
        "artifact": ARTIFACT,
        "as_of": as_of,
        "details": {"columns": ["item_id", "título"]},
    }


def index(key: int, domain: int, version: int, filled_by: int, items: int) -> dict[str, Any]:
    return {
        "id": key,
        "domain_id": domain,
        "version": version,
        "model_id": filled_by,
        "items_id": items,
        "fingerprint": f"i{key}",
        "space_fingerprint": "space",
        "factory": "Flat",
        "dimension": 8,
        "metric": "inner_product",
        "n_items": 10,
        "artifact": ARTIFACT,
        "config": {},
        "seconds": 1.5,
    }


def evaluation(key: int, version: int, subject: int | None, details: dict[str, Any]) -> dict[str, Any]:
    protocol = {"name": "leave-one-out", "part": "test"}
    rows = {"id": key, "domain_id": 1, "version": version, "subject_id": subject, "events_id": 4, "n_users": 5}
    return {**rows, "protocol": protocol, "details": details}


def move(key: int, scope: str, alias: str, action: str, before: int | None, after: int) -> dict[str, Any]:
    moved = {"id": key, "scope": scope, "alias": alias, "action": action, "from_node_id": before, "to_node_id": after}
    return {**moved, "actor": "ann", "reason": "better" if before else None, "at": at(key)}


def old_rows() -> Rows:
    """Every table of schema 0001 with rows, parents before children."""
    nodes = [
        {"id": key, "kind": kind, "domain_id": domain, "ref": ref, "label": ref, "created_at": at(key)}
        for key, kind, domain, ref in NODES
    ]
    domain = {"status": "active", "description": "", "settings": {"sessions": "gap"}}
    return {
        "nodes": nodes,
        "artifacts": [
            {"digest": ARTIFACT, "kind": "test", "bytes": 2**40, "files": {"data": ARTIFACT}, "created_at": START}
        ],
        "edges": [
            {"parent_id": parent, "child_id": child, "relation": relation, "part": part, "reason": part or None}
            for parent, child, relation, part in EDGES
        ],
        "domains": [{"id": 1, "name": "garden", **domain}, {"id": 2, "name": "pets", **domain, "status": "archived"}],
        "snapshots": [snapshot(3, 1, "items", None), snapshot(4, 1, "events", START), snapshot(16, 2, "items", None)],
        "models": [
            model(5, "hub", None, 1),
            model(6, "hub", None, 2),
            model(7, "spoke", 1, 1),
            model(8, "spoke", 1, 2, "failed"),
        ],
        "index_versions": [index(9, 1, 1, 7, 3), index(10, 1, 2, 5, 3), index(17, 2, 1, 5, 16)],
        "evaluations": [evaluation(14, 1, 7, {}), evaluation(15, 2, None, {"model": "popularity"})],
        "metrics": [
            {"evaluation_id": 14, "slice": "all", "name": "ndcg@10", "value": 0.1, "low": 0.05, "high": 0.2},
            {"evaluation_id": 15, "slice": "cold", "name": "hr@10", "value": 0.0, "low": None, "high": None},
        ],
        # Two of garden with equal rules, one with none, one of pets with the same rules again.
        "releases": [
            release(11, 1, 1, 5, 7, 9, **PIN),
            release(12, 2, 1, 5, None, 10, **PIN),
            release(13, 3, 1, 5, 7, 9),
            release(18, 1, 2, 5, None, 17, **PIN),
        ],
        "aliases": [
            {"scope": "garden", "name": "live", "node_id": 11},
            {"scope": "garden", "name": "candidate", "node_id": 13},
            {"scope": "hub", "name": "live", "node_id": 5},
        ],
        "alias_changes": [
            move(1, "hub", "live", "promote", None, 5),
            move(2, "garden", "live", "promote", None, 11),
            move(3, "garden", "live", "promote", 11, 12),
            move(4, "garden", "live", "rollback", 12, 11),
            move(5, "garden", "candidate", "promote", None, 13),
        ],
    }


def _write(url: str) -> Rows:
    rows = old_rows()
    with closing(Database(url)) as database, database.writer.begin() as connection:
        tables = MetaData()
        tables.reflect(connection)
        for name, content in rows.items():
            connection.execute(tables.tables[name].insert(), content)
        if not database.is_sqlite:
            for name in ("nodes", "alias_changes"):
                last = f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT max(id) FROM {name}))"
                connection.execute(text(last))
    return rows


def _plain(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _read(url: str) -> Rows:
    with closing(Database(url)) as database, database.engine.connect() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql("SET TIME ZONE 'UTC'")
        tables = MetaData()
        tables.reflect(connection)
        found: Rows = {}
        for name in tables.tables.keys() - {"alembic_version"}:
            table = tables.tables[name]
            rows = connection.execute(table.select().order_by(*table.primary_key.columns)).mappings()
            found[name] = [{key: _plain(value) for key, value in row.items()} for row in rows]
        return found


def _schema(url: str) -> dict[str, Any]:
    """Columns, constraints and indexes by name; the order of columns, which no row depends on, is left out."""
    with closing(Database(url)) as database:
        look = inspect(database.engine)
        return {
            table: {
                "columns": {c["name"]: (str(c["type"]), c["nullable"]) for c in look.get_columns(table)},
                "primary": look.get_pk_constraint(table)["constrained_columns"],
                "foreign": {
                    f["name"]: (f["constrained_columns"], f["referred_table"], f["referred_columns"], f["options"])
                    for f in look.get_foreign_keys(table)
                },
                "unique": {u["name"]: u["column_names"] for u in look.get_unique_constraints(table)},
                "indexes": {i["name"]: i["column_names"] for i in look.get_indexes(table)},
                "checks": {c["name"]: " ".join(c["sqltext"].split()) for c in look.get_check_constraints(table)},
            }
            for table in look.get_table_names()
        } | {"views": sorted(look.get_view_names())}


@pytest.fixture
def write_old_rows() -> Callable[[str], Rows]:
    """Write `old_rows` into a registry of schema 0001; what was written."""
    return _write


@pytest.fixture
def read_rows() -> Callable[[str], Rows]:
    """Every row of every table by its key, JSON read and times in UTC."""
    return _read


@pytest.fixture
def read_schema() -> Callable[[str], dict[str, Any]]:
    """Everything that a schema consists of, for comparison."""
    return _schema

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


def table(columns: str, *rows: tuple[Any, ...], **common: Any) -> list[dict[str, Any]]:
    """Rows of a table, with columns that all of them share."""
    return [dict(zip(columns.split(), row, strict=True)) | common for row in rows]


def release(key: int, version: int, domain: int, hub: int, spoke: int | None, index: int, **rules: Any) -> Any:
    parts = {"hub_id": hub, "spoke_id": spoke, "index_id": index, "rules": rules}
    mark = fingerprint(hub, spoke, index, rules)
    return {"id": key, "domain_id": domain, "version": version, "fingerprint": mark, **parts}


def old_rows() -> Rows:
    """Every table of schema 0001 with rows, parents before children."""
    data = {"rows": 3_000_000_000, "artifact": ARTIFACT, "details": {"columns": ["item_id", "título"]}, "version": 1}
    trained = {
        "config": {"layers": 1, "rate": 0.001},
        "summary": {"parameters": 2**40},
        "code_version": "0.1.0",
        "environment": {},
        "started_at": START,
        "finished_at": START + timedelta(seconds=90),
    }
    flat = {"factory": "Flat", "dimension": 8, "metric": "inner_product", "n_items": 10, "config": {}, "seconds": 1.5}
    moved = "id scope alias action from_node_id to_node_id reason"
    return {
        "nodes": [
            {"id": key, "kind": kind, "domain_id": domain, "ref": ref, "label": ref, "created_at": at(key)}
            for key, kind, domain, ref in NODES
        ],
        "artifacts": table("digest kind bytes created_at files", (ARTIFACT, "test", 2**40, START, {"data": ARTIFACT})),
        "edges": [
            {"parent_id": parent, "child_id": child, "relation": relation, "part": part, "reason": part or None}
            for parent, child, relation, part in EDGES
        ],
        "domains": table(
            "id name status",
            (1, "garden", "active"),
            (2, "pets", "archived"),
            description="",
            settings={"sessions": "gap"},
        ),
        "snapshots": table(
            "id domain_id kind as_of content_hash",
            (3, 1, "items", None, "h3"),
            (4, 1, "events", START, "h4"),
            (16, 2, "items", None, "h16"),
            **data,
        ),
        "models": table(
            "id kind domain_id version status fingerprint space_fingerprint seed artifact error",
            (5, "hub", None, 1, "ready", "f5", "space", 2**40, ARTIFACT, None),
            (6, "hub", None, 2, "ready", "f6", "space", 2**40, ARTIFACT, None),
            (7, "spoke", 1, 1, "ready", "f7", "space", None, ARTIFACT, None),
            (8, "spoke", 1, 2, "failed", "f8", None, None, None, "disk full"),
            **trained,
        ),
        "index_versions": table(
            "id domain_id version model_id items_id fingerprint",
            (9, 1, 1, 7, 3, "i9"),
            (10, 1, 2, 5, 3, "i10"),
            (17, 2, 1, 5, 16, "i17"),
            space_fingerprint="space",
            artifact=ARTIFACT,
            **flat,
        ),
        "evaluations": table(
            "id version subject_id details",
            (14, 1, 7, {}),
            (15, 2, None, {"model": "popularity"}),
            domain_id=1,
            events_id=4,
            n_users=5,
            protocol={"name": "leave-one-out", "part": "test"},
        ),
        "metrics": table(
            "evaluation_id slice name value low high",
            (14, "all", "ndcg@10", 0.1, 0.05, 0.2),
            (15, "cold", "hr@10", 0.0, None, None),
        ),
        # Two of garden with equal rules, one with none, one of pets with the same rules again.
        "releases": [
            release(11, 1, 1, 5, 7, 9, **PIN),
            release(12, 2, 1, 5, None, 10, **PIN),
            release(13, 3, 1, 5, 7, 9),
            release(18, 1, 2, 5, None, 17, **PIN),
        ],
        "aliases": table("scope name node_id", ("garden", "live", 11), ("garden", "candidate", 13), ("hub", "live", 5)),
        "alias_changes": [
            {**row, "actor": "ann", "at": at(row["id"])}
            for row in table(
                moved,
                (1, "hub", "live", "promote", None, 5, None),
                (2, "garden", "live", "promote", None, 11, None),
                (3, "garden", "live", "promote", 11, 12, "better"),
                (4, "garden", "live", "rollback", 12, 11, "better"),
                (5, "garden", "candidate", "promote", None, 13, None),
            )
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

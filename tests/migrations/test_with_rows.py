"""Each revision up and down with rows in every table as schema 0001 holds them, on both databases."""

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hubspoke.errors import HubspokeError
from hubspoke.registry.database import Database
from hubspoke.registry.migrate import downgrade, upgrade
from hubspoke.registry.records import ModelPart, ReleaseParts
from hubspoke.registry.store import Registry
from hubspoke.registry.views import VIEWS
from sqlalchemy import MetaData, inspect, text

Rows = dict[str, list[dict[str, Any]]]
PIN = {"pin": ["rose"], "max_per_brand": 3}
START = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
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
    trained = {"config": {"layers": 1, "rate": 0.001}, "summary": {"parameters": 2**40}, "environment": {}}
    trained |= {"code_version": "0.1.0", "started_at": START, "finished_at": START + timedelta(seconds=90)}
    flat = {"factory": "Flat", "dimension": 8, "metric": "inner_product", "n_items": 10, "config": {}, "seconds": 1.5}
    flat |= {"space_fingerprint": "space", "artifact": ARTIFACT}
    measured = {"domain_id": 1, "events_id": 4, "n_users": 5, "protocol": {"name": "leave-one-out", "part": "test"}}
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
            **flat,
        ),
        "evaluations": table(
            "id version subject_id details", (14, 1, 7, {}), (15, 2, None, {"model": "popularity"}), **measured
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


def write_old_rows(url: str) -> None:
    with closing(Database(url)) as database, database.writer.begin() as connection:
        tables = MetaData()
        tables.reflect(connection)
        for name, content in old_rows().items():
            connection.execute(tables.tables[name].insert(), content)
        if not database.is_sqlite:
            for name in ("nodes", "alias_changes"):
                last = f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT max(id) FROM {name}))"
                connection.execute(text(last))


def read_rows(url: str) -> Rows:
    def plain(value: Any) -> Any:
        return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value

    with closing(Database(url)) as database, database.engine.connect() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql("SET TIME ZONE 'UTC'")
        tables = MetaData()
        tables.reflect(connection)
        found: Rows = {}
        for name in tables.tables.keys() - {"alembic_version"}:
            table = tables.tables[name]
            rows = connection.execute(table.select().order_by(*table.primary_key.columns)).mappings()
            found[name] = [{key: plain(value) for key, value in row.items()} for row in rows]
        return found


def read_schema(url: str) -> dict[str, Any]:
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


def lost(before: Rows, after: Rows, but: dict[str, set[str]] | None = None) -> list[dict[str, Any]]:
    """Rows of `before` that no row of `after` equals in every column but those named."""
    found = []
    for table, rows in before.items():
        for row in rows:
            kept = {name: value for name, value in row.items() if name not in (but or {}).get(table, set())}
            if not any(all(name in new and new[name] == kept[name] for name in kept) for new in after[table]):
                found.append(row)
    return found


def assert_sound(url: str, rows: Rows) -> None:
    """Foreign keys hold (PostgreSQL sees to that itself), and a release is one of its domain by its fingerprint."""
    with closing(Database(url)) as database, database.engine.connect() as connection:
        if database.is_sqlite:
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    if rows["releases"] and "fingerprint" in rows["releases"][0]:
        marks = [(row["domain_id"], row["fingerprint"]) for row in rows["releases"]]
        assert len(set(marks)) == len(marks)


@pytest.fixture
def old(blank_url: str) -> str:
    """URL of a registry of schema 0001 with rows in every table."""
    upgrade(blank_url, "0001")
    write_old_rows(blank_url)
    return blank_url


@pytest.fixture
def grow(versions_of: Callable[[Registry], Any], stored: Callable[[str], Any]) -> Callable[[str], None]:
    """Add to a registry what only 0002 has a place for.

    Re-rankers with parts, two releases that differ in them alone, rules, a gate, one overridden, values per user.
    """

    def add(url: str) -> None:
        with Registry(url) as registry:
            garden, base = versions_of(registry), ReleaseParts("hub:1", "index:garden/1", "garden:1")
            for _ in range(2):
                fusion = ModelPart("fusion", "p" * 64, 10, 3, source="garden:1")
                parts = replace(base, reranker=garden.reranker("garden:1", "space", [fusion]).ref)
                registry.aliases.promote("garden", "live", parts, "bob", "try", overridden="ndcg@10 at least 0.9")
            rules, _ = registry.rules.add("garden", {"bury": ["fern"], "reranker": "reranker:garden/1"})
            garden.promote(replace(base, rules=rules.ref), "candidate")
            registry.gates.set("garden", [{"metric": "ndcg@10", "at_least": 0.9}], "bob")
            protocol = {"name": "leave-one-out", "part": "test"}
            given = {"protocol": protocol, "n_users": 5, "artifact": stored("values")}
            garden.measure("release:garden/4", ("all", "ndcg@10", 0.3), **given)
        reranker = "(SELECT id FROM nodes WHERE ref = 'reranker:garden/1')"
        execute(url, f"UPDATE evaluations SET subject_id = {reranker} WHERE version = 3")

    return add


def test_up_with_rows_loses_nothing_and_the_registry_reads_what_was_brought_forward(old: str) -> None:
    before = read_rows(old)
    assert (upgrade(old).before, upgrade(old).changed) == ("0001", False)
    after = read_rows(old)
    assert lost(before, after, {"releases": {"fingerprint", "rules"}}) == []
    added = {table: len(after[table]) - len(before[table]) for table in before}
    # Two rule sets, each with an edge to its domain; three releases have rules.
    assert {table: count for table, count in added.items() if count} == {"nodes": 2, "edges": 5}
    assert_sound(old, after)
    uids = [node["uid"] for node in after["nodes"]]
    assert len(set(uids)) == len(uids) == len(before["nodes"]) + 2
    assert all(len(uid) == 32 and set(uid) <= set("0123456789abcdef") for uid in uids)
    with Registry(old) as registry:
        assert [domain.name for domain in registry.domains.list(archived=True)] == ["garden", "pets"]
        served = {
            f"release:garden/{n}": rules for n, rules in ((1, "rules:garden/1"), (2, "rules:garden/1"), (3, None))
        }
        assert {r.ref: r.rules for r in registry.releases.list()} == served | {"release:pets/1": "rules:pets/1"}
        rules = registry.rules.list()
        assert [(r.ref, dict(r.content)) for r in rules] == [("rules:garden/1", PIN), ("rules:pets/1", PIN)]
        assert rules[0].created_at == registry.releases.get("release:garden/1").created_at
        assert registry.rules.add("garden", PIN) == (rules[0], False)
        parts = ReleaseParts("hub:1", "index:garden/1", "garden:1", rules="rules:garden/1")
        assert registry.releases.find("garden", parts) == registry.releases.get("release:garden/1")
        assert {e.parent for e in registry.lineage.upstream("rules:garden/1").edges} == {"domain:garden"}
        released = {e.parent for e in registry.lineage.upstream("garden@live").edges if e.child == "release:garden/1"}
        assert released == {"hub:1", "garden:1", "index:garden/1", "rules:garden/1"}
        assert [(e.subject, e.artifact) for e in registry.evaluations.list()] == [("garden:1", None), (None, None)]
        assert [m.overridden for m in registry.aliases.history("garden")] == [None] * 4
        assert registry.aliases.promote("garden", "live", "release:garden/3", "ann").from_ref == "release:garden/1"
        assert registry.aliases.rollback("garden", "live", "ann").to_ref == "release:garden/1"
        assert [m.status for m in registry.models.list()] == ["ready", "ready", "ready", "failed"]
        assert (registry.models.get("hub:1").parts, registry.gates.get("garden")) == ((), None)
        assert registry.domains.add("cosmetics").name == "cosmetics"


def test_every_view_answers_over_rows_that_were_brought_forward(old: str) -> None:
    upgrade(old)
    with closing(Database(old)) as database, database.engine.connect() as connection:
        counts = {view.name: len(connection.execute(text(f"SELECT * FROM {view.name}")).all()) for view in VIEWS}
        expected = {"v_domains": 2, "v_snapshots": 3, "v_models": 4, "v_parts": 0, "v_lineage": 11 + 5}
        expected["v_experiments"] = 0
        assert counts == expected | {
            "v_indexes": 3,
            "v_releases": 4,
            "v_history": 5,
            "v_metrics": 2,
            "v_experiments": 0,
        }
        metrics = connection.execute(text("SELECT model, protocol FROM v_metrics ORDER BY evaluation")).all()
        assert [tuple(row) for row in metrics] == [("garden:1", "leave-one-out"), ("popularity", "leave-one-out")]
        seconds = connection.execute(text("SELECT seconds FROM v_models WHERE ref = 'hub:1'")).scalar()
        assert seconds == 90.0


def test_down_with_rows_of_0002_keeps_what_0001_has_a_place_for(old: str, grow: Callable[[str], None]) -> None:
    before, schema = read_rows(old), read_schema(old)
    upgrade(old)
    grow(old)
    grown = read_rows(old)
    assert downgrade(old, "0001").after == "0001"
    after = read_rows(old)
    assert read_schema(old) == schema
    assert_sound(old, after)
    # What was there at first is there to the last column, fingerprints and rules of releases too; two aliases moved on.
    assert lost(before, after, {"aliases": {"node_id"}}) == []
    assert {row["kind"] for row in after["nodes"]}.isdisjoint({"reranker", "rules"})
    kept = ("aliases", "alias_changes", "metrics", "artifacts", "domains", "snapshots", "index_versions")
    assert lost({table: grown[table] for table in kept}, after, {"alias_changes": {"overridden"}}) == []
    added = {"bury": ["fern"], "reranker": "reranker:garden/1"}
    assert [row["rules"] for row in after["releases"]] == [PIN, PIN, {}, PIN, {}, {}, added]
    judged = after["evaluations"][-1]
    assert (judged["subject_id"], judged["details"]) == (None, {"model": "reranker:garden/1"})


def test_up_again_after_down_serves_the_same_releases(old: str, grow: Callable[[str], None]) -> None:
    upgrade(old)
    grow(old)
    with Registry(old) as registry:
        rules = {r.ref: r.content for r in registry.rules.list()}
        history = [(m.action, m.from_ref, m.to_ref) for m in registry.aliases.history("garden")]
        releases = {r.ref: (r.hub, r.spoke, r.index, r.rules) for r in registry.releases.list()}
    downgrade(old, "0001")
    upgrade(old)
    assert_sound(old, read_rows(old))
    with Registry(old) as registry:
        assert {r.ref: r.content for r in registry.rules.list()} == rules
        assert [(m.action, m.from_ref, m.to_ref) for m in registry.aliases.history("garden")] == history
        assert {r.ref: (r.hub, r.spoke, r.index, r.rules) for r in registry.releases.list()} == releases
        assert registry.models.list(kind="reranker") == []
        assert registry.resolve("garden").ref == "release:garden/5"
        assert registry.aliases.rollback("garden", "live", "ann").to_ref == "release:garden/4"
    assert downgrade(old, "base").after is None


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_migration_that_fails_at_its_last_step_leaves_schema_and_rows_whole(old: str, way: str) -> None:
    if way == "up":
        execute(old, "CREATE VIEW v_metrics AS SELECT 1 AS one")
    else:
        upgrade(old)
        execute(old, "DROP VIEW v_metrics")
    before, schema = read_rows(old), read_schema(old)
    with pytest.raises(HubspokeError, match="v_metrics"):
        upgrade(old) if way == "up" else downgrade(old, "0001")
    assert (read_rows(old), read_schema(old)) == (before, schema)
    if way == "up":
        execute(old, "DROP VIEW v_metrics")
        assert upgrade(old).before == "0001"


def execute(url: str, statement: str) -> None:
    with closing(Database(url)) as database, database.writer.begin() as connection:
        connection.execute(text(statement))

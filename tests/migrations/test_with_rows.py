"""Each revision up and down with rows in every table, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from hubspoke.errors import HubspokeError
from hubspoke.registry.database import Database
from hubspoke.registry.migrate import downgrade, upgrade
from hubspoke.registry.records import ModelPart, ReleaseParts
from hubspoke.registry.store import Registry
from hubspoke.registry.views import VIEWS
from sqlalchemy import text

Rows = dict[str, list[dict[str, Any]]]
PIN = {"pin": ["rose"], "max_per_brand": 3}


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
def old(blank_url: str, write_old_rows: Callable[[str], Rows]) -> Iterator[str]:
    """URL of a registry of schema 0001 with rows in every table."""
    upgrade(blank_url, "0001")
    write_old_rows(blank_url)
    yield blank_url


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
        execute(
            url,
            "UPDATE evaluations SET subject_id = (SELECT id FROM nodes WHERE ref = 'reranker:garden/1') "
            "WHERE version = 3",
        )

    return add


def test_up_with_rows_loses_nothing_and_rules_become_versions(old: str, read_rows: Callable[[str], Rows]) -> None:
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


def test_the_registry_reads_what_was_brought_forward(old: str) -> None:
    upgrade(old)
    with Registry(old) as registry:
        assert [domain.name for domain in registry.domains.list(archived=True)] == ["garden", "pets"]
        assert {r.ref: r.rules for r in registry.releases.list()} == {
            "release:garden/1": "rules:garden/1",
            "release:garden/2": "rules:garden/1",
            "release:garden/3": None,
            "release:pets/1": "rules:pets/1",
        }
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
        assert counts == {
            "v_domains": 2,
            "v_snapshots": 3,
            "v_models": 4,
            "v_parts": 0,
            "v_lineage": 11 + 5,
            "v_indexes": 3,
            "v_releases": 4,
            "v_history": 5,
            "v_metrics": 2,
        }
        metrics = connection.execute(text("SELECT model, protocol FROM v_metrics ORDER BY evaluation")).all()
        assert [tuple(row) for row in metrics] == [("garden:1", "leave-one-out"), ("popularity", "leave-one-out")]
        seconds = connection.execute(text("SELECT seconds FROM v_models WHERE ref = 'hub:1'")).scalar()
        assert seconds == 90.0


def test_down_with_rows_of_0002_keeps_what_0001_has_a_place_for(
    old: str, grow: Callable[[str], None], read_rows: Callable[[str], Rows], read_schema: Callable[[str], Any]
) -> None:
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


def test_up_again_after_down_serves_the_same_releases(
    old: str, grow: Callable[[str], None], read_rows: Callable[[str], Rows]
) -> None:
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
def test_a_migration_that_fails_at_its_last_step_leaves_schema_and_rows_whole(
    old: str, read_rows: Callable[[str], Rows], read_schema: Callable[[str], Any], way: str
) -> None:
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

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hubspoke import files
from hubspoke.errors import HubspokeError, InvalidDataError, NotFoundError, SchemaVersionError, UsageError
from hubspoke.registry import migrate
from hubspoke.registry.database import HEAD_REVISION, Database
from hubspoke.registry.migrate import downgrade, upgrade
from hubspoke.registry.records import ExperimentPlan, ModelPart, Parent
from hubspoke.registry.schema import Base
from hubspoke.registry.store import Registry
from hubspoke.registry.transfer import backup
from hubspoke.registry.transfer.backup import back_up, inspect_backup, plan_backup, plan_restore, restore
from sqlalchemy import select, text

Rows = dict[str, list[tuple[Any, ...]]]
# For what does not depend on the database that the backup is made of.
of_sqlite = pytest.mark.parametrize("registry_url", ["sqlite"], indirect=True)
# Four transactions a round, always in this order, until its input ends; each round is told when it is over.
WRITER = """
import hashlib, sys, threading
from hubspoke.registry.artifacts.manifests import StoredArtifact
from hubspoke.registry.store import Registry

ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
with Registry(sys.argv[1]) as registry:
    count = 0
    while not ended.is_set():
        name = f"d{count}"
        registry.domains.add(name)
        for kind in ("items", "events"):
            digest = hashlib.sha256(f"{kind}{count}".encode()).hexdigest()
            registry.snapshots.add(name, kind, digest, count, StoredArtifact(digest, "test", 1, {"data": digest}))
        registry.aliases.promote("hub", "live", f"hub:{1 + count % 2}", "writer")
        count += 1
        print(count, flush=True)
"""


def rows_of(url: str) -> Rows:
    """Every row of every table as the models read it, by its key."""
    with closing(Database(url)) as database, database.engine.connect() as connection:
        tables = Base.metadata.sorted_tables
        queries = {table.name: select(table).order_by(*table.primary_key.columns) for table in tables}
        return {name: [tuple(row) for row in connection.execute(query)] for name, query in queries.items()}


def file_url(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture
def filled(garden, registry_url: str, stored: Any) -> Any:
    """A registry with rows in every table, what JSON, numbers and times can hold among them."""
    registry = garden.registry
    registry.domains.set_settings("garden", {"título": ["ä", None, 1.5, 2**53], "nested": {"a": {}}})
    rules, _ = registry.rules.add("garden", {"pin": ["rose"]})
    parts = garden.parts(rules.ref)
    registry.aliases.promote("garden", "live", parts, "ann", "first")
    inherited = ModelPart("text", "f" * 64, 10, 2**40, source="garden:1")
    parents = [Parent("hub:1", "adapted_from"), Parent("garden:1", "inherits", "text", "language transfers")]
    garden.model("spoke", parents, parts=[inherited])
    second = replace(parts, reranker=garden.reranker("garden:1").ref)
    registry.aliases.promote("garden", "live", second, "ann", None, overridden="ndcg@10 at least 0.9")
    registry.aliases.rollback("garden", "live", "bob", "worse")
    registry.releases.keep_report("release:garden/1", stored("report"))
    registry.gates.set("garden", [{"metric": "ndcg@10", "at_least": 0.9}], "bob", "higher")
    garden.measure("garden:1", ("all", "ndcg@10", 0.1 + 0.2, None, 1e-300), n_users=3_000_000_000)
    registry.judgements.add("garden", "release:garden/1", ["rose"], "tulip", True, "ann")
    plan = ExperimentPlan(0.1, 3_000_000_000, 0.25, "revenue")
    registry.experiments.add("garden", "release:garden/1", "release:garden/2", plan, "ann", "worth a try")
    registry.stamps.add()
    assert all(rows_of(registry_url).values())
    return garden


def test_a_backup_is_an_sqlite_registry_with_every_row(filled, registry_url: str, tmp_path: Path) -> None:
    file = tmp_path / "kept" / "copy.db"
    file.parent.mkdir()
    made = back_up(registry_url, file)
    assert rows_of(file_url(file)) == rows_of(registry_url)
    assert (made.schema, made.bytes, made.rows["nodes"]) == (HEAD_REVISION, file.stat().st_size, 12)
    assert made == inspect_backup(file)
    assert [path.name for path in file.parent.iterdir()] == ["copy.db"]
    with Registry(file_url(file)) as copy:
        assert copy.releases.get("garden") == filled.registry.releases.get("garden")
        assert copy.aliases.history("garden") == filled.registry.aliases.history("garden")
        assert copy.lineage.upstream("garden") == filled.registry.lineage.upstream("garden")
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("SELECT count(*) FROM v_releases").fetchone() == (2,)


def test_restored_it_is_the_same_registry_and_goes_on(filled, registry_url, blank_url, tmp_path: Path) -> None:
    file = tmp_path / "copy.db"
    back_up(registry_url, file)
    assert restore(blank_url, file).rows == inspect_backup(file).rows
    before = rows_of(registry_url)
    assert rows_of(blank_url) == before
    with Registry(blank_url) as registry:
        registry.domains.add("pets")
        registry.gates.set("pets", [], "ann")
        assert registry.aliases.promote("garden", "candidate", "release:garden/2", "ann").from_ref is None
    after = rows_of(blank_url)
    for table in ("nodes", "gates", "alias_changes"):
        assert [row[0] for row in after[table]] == [*(row[0] for row in before[table]), before[table][-1][0] + 1]
    for act in (restore, plan_restore):
        with pytest.raises(UsageError, match=r"has rows already; restore into a new one"):
            act(blank_url, file)


@of_sqlite
def test_a_backup_of_an_empty_registry_goes_into_a_registry_without_rows(registry_url, blank_url, tmp_path) -> None:
    back_up(registry_url, tmp_path / "copy.db")
    upgrade(blank_url, "0001")
    assert sum(restore(blank_url, tmp_path / "copy.db").rows.values()) == 0
    with Registry(blank_url) as registry:
        assert registry.domains.add("garden").counts.spokes == 0


def test_a_backup_while_a_writer_works_is_a_prefix_of_its_transactions(garden, registry_url, start, tmp_path) -> None:
    garden.hub()
    first = {name: len(rows) for name, rows in rows_of(registry_url).items()}
    writer, file = start(WRITER, registry_url), tmp_path / "copy.db"
    for _ in range(5):
        assert writer.stdout.readline(), writer.communicate()[1]
    back_up(registry_url, file)
    told, failed = writer.communicate("")
    assert writer.returncode == 0, failed
    copied, final = rows_of(file_url(file)), rows_of(registry_url)
    added = {name: len(rows) - first[name] for name, rows in copied.items()}
    domains, snapshots, moves = added["domains"], added["snapshots"], added["alias_changes"]
    items, events = (snapshots + 1) // 2, snapshots // 2
    # Whole transactions in the order in which they were made, none left out: domain, items, events, move, domain, ...
    assert domains >= items >= events >= moves >= domains - 1
    assert 5 <= moves < int(told.split()[-1])
    assert (added["nodes"], added["artifacts"], added["edges"]) == (domains + snapshots, snapshots, snapshots)
    for name in ("nodes", "domains", "snapshots", "alias_changes"):
        assert copied[name] == final[name][: len(copied[name])]
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with Registry(file_url(file)) as registry:
        names = {domain.name for domain in registry.domains.list()}
        assert {snapshot.domain for snapshot in registry.snapshots.list()} <= names
        history = registry.aliases.history("hub")
        assert [move.from_ref for move in history] == [None, *(move.to_ref for move in history[:-1])]
        assert registry.resolve("hub@live").ref == history[-1].to_ref


@of_sqlite
def test_a_file_is_replaced_by_force_alone_and_by_a_whole_one(registry, registry_url, tmp_path, monkeypatch) -> None:
    file = tmp_path / "copy.db"
    back_up(registry_url, file)
    registry.domains.add("garden")
    with pytest.raises(UsageError, match=r"copy\.db exists already; name another file, or replace it with --force"):
        back_up(registry_url, file)
    before = set(tmp_path.iterdir())

    def full(_path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(HubspokeError, match="No space is left"):
        patch.setattr(files, "flush", full)
        back_up(registry_url, file, force=True)
    assert (set(tmp_path.iterdir()), inspect_backup(file).rows["domains"]) == (before, 0)
    assert back_up(registry_url, file, force=True).rows["domains"] == inspect_backup(file).rows["domains"] == 1


@of_sqlite
def test_what_cannot_be_a_backups_file(registry_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    for name, error, said in (
        (folder, UsageError, "is a folder; name a file in it"),
        (folder / "none" / "copy.db", NotFoundError, "There is no folder .*none; make it first"),
        (folder / os.fsdecode(b"what\xff.db"), UsageError, "is not UTF-8, so no URL can name it; choose another name"),
    ):
        for act in (back_up, plan_backup):
            with pytest.raises(error, match=said):
                act(registry_url, name)
    (folder / "copy.db-wal").write_bytes(b"left by a killed process")
    with pytest.raises(UsageError, match=r"in use as a database \(there is copy\.db-wal\); name another file"):
        back_up(registry_url, folder / "copy.db", force=True)
    assert [path.name for path in folder.iterdir()] == ["copy.db-wal"]
    own = Database(registry_url).url.database
    (folder / "link.db").symlink_to(own)
    for name in (Path(own), folder / "link.db"):
        with pytest.raises(UsageError, match="is the registry itself; name another file"):
            back_up(registry_url, name, force=True)


@of_sqlite
def test_a_plan_writes_nothing(filled, registry_url: str, blank_url: str, tmp_path: Path) -> None:
    file = tmp_path / "copy.db"
    for act in (back_up, plan_backup):
        with pytest.raises(NotFoundError, match="hubspoke init"):
            act(blank_url, file)
    planned = plan_backup(registry_url, file)
    assert not file.exists()
    made = back_up(registry_url, file)
    assert (planned.rows, planned.schema, planned.bytes) == (made.rows, made.schema, 0)
    assert plan_restore(blank_url, file) == made
    with pytest.raises(NotFoundError), Registry(blank_url):
        pass


@of_sqlite
def test_an_older_registry_is_copied_as_it_is_and_migrated_on_the_way_back(filled, registry_url, blank_url, tmp_path):
    old, file = tmp_path / "old.db", tmp_path / "copy.db"
    back_up(registry_url, old)
    downgrade(file_url(old), "0001")
    assert back_up(file_url(old), file).schema == "0001"
    kept = file.read_bytes()
    copied = restore(blank_url, file)
    assert (copied.schema, copied.rows["releases"], copied.rows["rule_sets"]) == ("0001", 2, 1)
    assert file.read_bytes() == kept
    with Registry(blank_url) as registry:
        assert registry.releases.get("garden").rules == "rules:garden/1"
        assert registry.domains.get("garden").created_at < datetime.now(UTC)


def test_an_older_registry_on_postgresql_is_upgraded_first(postgres: Any, tmp_path: Path) -> None:
    upgrade(url := postgres.create(), "0001")
    with pytest.raises(SchemaVersionError, match="hubspoke registry upgrade"):
        back_up(url, tmp_path / "copy.db")
    postgres.drop(url)


def execute(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


def tear(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4096 * 20 : 4096 * 60] = bytes(4096 * 40)
    file.write_bytes(content)


NO_REGISTRY = "holds no registry; name a file that `hubspoke registry backup` wrote"
ORPHAN = r"damaged \(a row of \w+ refers to a row of domains that is not there\); use an earlier backup"
DAMAGE: dict[str, tuple[Callable[[Path], Any], type[HubspokeError], str]] = {
    "missing": (Path.unlink, NotFoundError, r"There is no backup .*copy\.db; check the path"),
    "no database": (lambda file: file.write_bytes(b"x" * 6000), InvalidDataError, "is no SQLite database"),
    "no registry": (lambda file: (file.unlink(), execute(file, "CREATE TABLE x (a)")), InvalidDataError, NO_REGISTRY),
    "orphans": (lambda file: execute(file, "DELETE FROM domains"), InvalidDataError, ORPHAN),
    "newer": (
        lambda file: execute(file, "UPDATE alembic_version SET version_num = '9999'"),
        *(SchemaVersionError, r".db has schema 9999, made by a newer hubspoke"),
    ),
    "torn": (tear, InvalidDataError, "damaged|not a readable"),
}


@of_sqlite
@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_no_sound_backup_is_refused(filled, registry_url: str, tmp_path: Path, kind: str) -> None:
    file, (damage, error, said) = tmp_path / "copy.db", DAMAGE[kind]
    back_up(registry_url, file)
    damage(file)
    for act in (restore, plan_restore):
        with pytest.raises(error, match=said):
            act(file_url(tmp_path / "new.db"), file)
    if kind in ("orphans", "newer"):  # nor is such a registry copied
        with pytest.raises(error, match=said):
            back_up(file_url(file), tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_an_upgrade_under_it_stops_a_copy_and_a_restore(registry_url, blank_url, tmp_path, monkeypatch) -> None:
    file = tmp_path / "copy.db"
    back_up(registry_url, file)

    def overtakes(url: str) -> Callable[..., Any]:
        def upgraded(other: Any, *more: Any) -> Any:
            result = upgrade(other, *more)
            with closing(Database(url)) as database, database.writer.begin() as connection:
                connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
            return result

        return upgraded

    monkeypatch.setattr(migrate, "upgrade", overtakes(blank_url))
    with pytest.raises(SchemaVersionError, match="schema 9999"):
        restore(blank_url, file)
    if not registry_url.startswith("sqlite"):  # a file is copied by SQLite itself, whole
        monkeypatch.setattr(migrate, "upgrade", overtakes(registry_url))
        with pytest.raises(SchemaVersionError, match="schema 9999"):
            back_up(registry_url, tmp_path / "second.db")
        assert not (tmp_path / "second.db").exists()


@of_sqlite
def test_a_restore_that_fails_leaves_the_registry_blank(filled, registry_url, blank_url, tmp_path, monkeypatch) -> None:
    file = tmp_path / "copy.db"
    back_up(registry_url, file)

    def fail(connection: Any) -> None:
        assert connection.execute(text("SELECT count(*) FROM releases")).scalar() == 2
        raise HubspokeError("The power went; repeat.")

    with monkeypatch.context() as patch, pytest.raises(HubspokeError, match="The power went"):
        patch.setattr(backup, "_continue_numbers", fail)
        restore(blank_url, file)
    assert {name for name, rows in rows_of(blank_url).items() if rows} == set()
    assert restore(blank_url, file).rows["releases"] == 2

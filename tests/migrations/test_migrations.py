from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hubspoke.errors import NotFoundError, SchemaVersionError
from hubspoke.registry.database import HEAD_REVISION, REVISIONS, Database
from hubspoke.registry.migrate import alembic_config, downgrade, upgrade
from hubspoke.registry.schema import Base
from hubspoke.registry.store import Registry
from sqlalchemy import inspect, text

UPGRADE = "import sys; from hubspoke.registry.migrate import upgrade; sys.stdin.read(); upgrade(sys.argv[1])"


def set_revision(url: str, revision: str) -> None:
    with closing(Database(url)) as database, database.writer.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def test_the_code_knows_exactly_the_revisions_on_disk() -> None:
    script = ScriptDirectory.from_config(alembic_config())
    newest_first = [revision.revision for revision in script.walk_revisions()]
    assert tuple(reversed(newest_first)) == REVISIONS
    assert script.get_current_head() == HEAD_REVISION


def test_blank_to_head_and_again(blank_url: str) -> None:
    first = upgrade(blank_url)
    assert (first.before, first.after, first.changed) == (None, HEAD_REVISION, True)
    second = upgrade(blank_url)
    assert (second.before, second.changed) == (HEAD_REVISION, False)
    with Registry(blank_url) as registry:
        assert registry.list_domains() == []


def test_head_down_to_base_and_up_again_with_rows(blank_url: str) -> None:
    upgrade(blank_url)
    with Registry(blank_url) as registry:
        registry.add_domain("garden")
    assert downgrade(blank_url, "base").after is None
    with closing(Database(blank_url)) as database:
        assert inspect(database.engine).get_table_names() == ["alembic_version"]
    upgrade(blank_url)
    with Registry(blank_url) as registry:
        assert registry.list_domains() == []


def test_models_equal_the_migrated_schema(registry_url: str) -> None:
    with closing(Database(registry_url)) as database, database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_checks_and_foreign_keys_equal_the_models(registry_url: str) -> None:
    # Alembic compares neither the names nor the words of CHECK constraints.
    with closing(Database(registry_url)) as database:
        inspector = inspect(database.engine)
        for table in Base.metadata.tables.values():
            foreign = inspector.get_foreign_keys(table.name)
            assert {f["name"] for f in foreign} == {str(f.name) for f in table.foreign_key_constraints}
            assert all(f["options"] == {"ondelete": "RESTRICT"} for f in foreign)
            checks = {str(c.name) for c in table.constraints if str(c.name).startswith("ck_")}
            assert {c["name"] for c in inspector.get_check_constraints(table.name)} == checks


def test_check_words_equal_the_models(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'registry.db'}")
    with closing(sqlite3.connect(tmp_path / "registry.db")) as connection:
        made = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    for table in Base.metadata.tables.values():
        for constraint in table.constraints:
            if str(constraint.name).startswith("ck_"):
                assert str(constraint.sqltext) in made[table.name]  # type: ignore[attr-defined]


def test_an_older_registry_is_refused_with_the_command_that_helps(
    registry_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubspoke.registry.database.REVISIONS", (*REVISIONS, "9999"))
    monkeypatch.setattr("hubspoke.registry.database.HEAD_REVISION", "9999")
    with pytest.raises(SchemaVersionError, match="hubspoke registry upgrade"):
        Registry(registry_url)


def test_a_newer_registry_is_refused_and_never_migrated(registry_url: str) -> None:
    set_revision(registry_url, "9999")
    for act in (Registry, upgrade):
        with pytest.raises(SchemaVersionError, match=r"9999, made by a newer hubspoke.*upgrade the package"):
            act(registry_url)


def test_a_blank_database_asks_for_init(blank_url: str) -> None:
    with pytest.raises(NotFoundError, match="hubspoke init"):
        Registry(blank_url)


def test_opening_never_makes_a_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="hubspoke init"):
        Registry(f"sqlite:///{tmp_path / 'none' / 'registry.db'}")
    assert list(tmp_path.iterdir()) == []


def test_sqlite_is_in_wal_mode(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'registry.db'}")
    with (
        closing(Database(f"sqlite:///{tmp_path / 'registry.db'}")) as database,
        database.engine.connect() as connection,
    ):
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 15_000


def test_processes_that_migrate_at_once_all_succeed(blank_url: str) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", UPGRADE, blank_url], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    # Each waits for the end of its input, so that all begin together.
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    failures = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], failures
    with Registry(blank_url) as registry:
        assert registry.list_domains() == []

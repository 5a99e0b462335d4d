import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hubspoke.errors import (
    HubspokeError,
    InvalidDataError,
    LockedError,
    MissingExtraError,
    SchemaVersionError,
    UsageError,
)
from hubspoke.registry import database as database_module
from hubspoke.registry import sqlite
from hubspoke.registry.database import HEAD_REVISION, REVISIONS, Database, database_fault, parse_url
from hubspoke.registry.store import Registry
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import OperationalError

HEAVY = ("torch", "faiss", "polars", "numpy", "pandas", "pyarrow", "alembic", "pydantic")


def test_urls() -> None:
    assert {parse_url(f"{name}://ann@db/x").drivername for name in ("postgresql", "postgres")} == {"postgresql+psycopg"}
    bad = ("nonsense", "mysql://ann:secret@db/x", "sqlite://", "sqlite:///:memory:", "sqlite://folder/x.db")
    for url in (*bad, "sqlite:///a%00b", "postgresql://db:port/x"):
        with pytest.raises(UsageError, match=r"sqlite:///path/registry\.db") as caught:
            parse_url(url)
        assert "secret" not in str(caught.value)


def test_the_path_of_a_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    paths = {"a/b.db": f"{tmp_path}/a/b.db", "/a/b.db": "/a/b.db", "~/b.db": "/home/ann/b.db", "/a%20b%3F": "/a b?"}
    for written, path in paths.items():
        assert parse_url(f"sqlite:///{written}").database == path
    with pytest.raises(UsageError, match=r"takes no parameters .* write %3F"):
        parse_url("sqlite:///a?b.db")
    with pytest.raises(UsageError, match="write the path out"):
        parse_url("sqlite:///~nobody-of-this-name/b.db")


def test_a_file_that_is_no_database_and_a_server_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_text("this is a letter, not a database" * 100)
    with pytest.raises(InvalidDataError, match=r"neither a registry nor a backup of one .* name another file"):
        Registry(f"sqlite:///{tmp_path / 'registry.db'}")
    pytest.importorskip("psycopg")
    with pytest.raises(HubspokeError, match=r"no server listens at that host and port; start it") as caught:
        Registry(f"postgresql://ann:secret@/x?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("psycopg")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)  # which makes its import fail
    with pytest.raises(MissingExtraError, match=r"pip install 'hubspoke\[postgres\]'"):
        Database("postgresql://ann@db/x")


def test_an_unwritable_database(registry: Registry) -> None:
    off = "PRAGMA query_only=ON" if registry.database.is_sqlite else "SET SESSION default_transaction_read_only=on"
    with registry.database.engine.connect() as connection:
        connection.exec_driver_sql(off)
        connection.commit()
    with pytest.raises(HubspokeError, match=r"cannot be written; give this user write access"):
        registry.domains.add("garden")


def test_a_full_disk_is_told_and_nothing_is_half_written(tmp_path: Path, sqlite_template: Path) -> None:
    # A PostgreSQL server's disk cannot be filled from here; its code is among those checked below.
    shutil.copy(sqlite_template, tmp_path / "registry.db")
    with Registry(f"sqlite:///{tmp_path / 'registry.db'}") as registry:
        with registry.database.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
            connection.commit()
        with pytest.raises(HubspokeError, match="No space is left on the disk"):
            registry.domains.add("garden", description="x" * 100_000)
        assert registry.domains.list() == []
        assert registry.domains.add("pets").ref == "domain:pets"


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ("53100", HubspokeError, "No space is left"),
        ("25006", HubspokeError, "cannot be written"),
        ("55P03", LockedError, "Another process is writing"),
        (None, HubspokeError, r"cannot be reached \(server says no\)"),
        ("XX000", HubspokeError, r"refused \(server says no\); run `hubspoke doctor`"),
    ],
)
def test_codes_of_the_server(state: str | None, kind: type[HubspokeError], words: str) -> None:
    refusal = Exception("server says no.\ndetail")
    vars(refusal)["sqlstate"] = state
    fault = database_fault(OperationalError("SELECT 1", None, refusal), "db")
    assert type(fault) is kind
    with pytest.raises(kind, match=words):
        raise fault


def test_readers_go_on_while_a_writer_writes_and_a_second_writer_is_told(registry_url: str, monkeypatch) -> None:
    monkeypatch.setattr(sqlite, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(database_module, "WAIT_SECONDS", 1)
    with Registry(registry_url) as first, Registry(registry_url) as second:
        first.domains.add("garden")
        with first.database.write(), pytest.raises(LockedError, match="Another process is writing"):
            assert [domain.name for domain in second.domains.list()] == ["garden"]
            second.domains.add("pets")
        assert second.domains.add("pets").name == "pets"


def test_a_registry_from_a_copied_file(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "a folder with ä%20 ?" / "registry.db"
    path.parent.mkdir()
    shutil.copy(sqlite_template, path)
    with Registry(URL.create("sqlite", database=str(path)).render_as_string()) as registry:
        registry.domains.add("garden")
        with registry.lock("x"):
            assert [domain.name for domain in registry.domains.list()] == ["garden"]


@pytest.mark.parametrize("revision", ["9999", REVISIONS[-2]])
def test_a_schema_that_changes_under_an_open_registry_ends_its_writes(registry: Registry, revision: str) -> None:
    """Another process migrates while this one goes on: nothing of what it writes then is kept."""
    registry.domains.add("garden")
    move = text("UPDATE alembic_version SET version_num = :revision")
    with registry.database.writer.begin() as other:
        other.execute(move, {"revision": revision})
    with pytest.raises(SchemaVersionError, match=f"has schema {revision}"):
        registry.domains.add("pets")
    assert [domain.name for domain in registry.domains.list()] == ["garden"]
    with registry.database.writer.begin() as other:
        other.execute(move, {"revision": HEAD_REVISION})
    assert registry.domains.add("pets").name == "pets"


def test_the_registry_room_loads_nothing_heavy() -> None:
    code = "import sys, hubspoke.registry.store, hubspoke.registry.query\n"
    code += f"print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('FATAL:  password authentication failed for user "shop"', "does not take this password; correct it"),
        ("fe_sendauth: no password supplied", "asks for a password; give it"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "shop"', "an entry in the server's pg_hba.conf"),
        ("server does not support SSL, but SSL was required", "do not agree on SSL"),
        ("[Errno -2] Name or service not known", "is on a host that no network knows"),
        ("failed to resolve host 'db.invalid'", "is on a host that no network knows"),
        ("connection timeout expired", "did not answer within 10 seconds"),
        ("FATAL:  sorry, too many clients already", "has no connection left"),
        ("FATAL:  the database system is starting up", "repeat the command in a moment"),
        ('invalid connection option "colour"', "has an unknown option in its URL"),
    ],
)
def test_why_nobody_can_connect(text: str, said: str) -> None:
    told = database_fault(OperationalError("", {}, Exception(f"connection failed: {text}")), "DB")
    assert str(told).startswith("The database DB ")
    assert said in str(told)


def test_a_server_that_lacks_the_database_or_the_user(postgres: Any, tmp_path: Path) -> None:
    url = make_url(postgres.registry_url)
    query = {**url.query, "password": "geheim"}
    for given, said in (
        (url.set(database="nowhere"), "is not there, though its server answers; make it"),
        (url.set(username="nobody_here"), "knows no such user; correct the user"),
        (url.set(query={"host": str(tmp_path)}), "no server listens at that host and port"),
        (url.set(username="nobody_here", query=query), "knows no such user"),
    ):
        with pytest.raises(HubspokeError) as told:
            Registry(given.render_as_string(hide_password=False))
        assert said in str(told.value)
        assert "geheim" not in str(told.value)


def test_no_password_is_shown() -> None:
    for url in ("mysql://ann:geheim@db/x", "postgresql+psycopg//ann:geheim@db", "mysql://db/x?password=geheim&a=b"):
        with pytest.raises(UsageError) as told:
            parse_url(url)
        assert "geheim" not in str(told.value)
    assert "geheim" not in database_module.shown(parse_url("postgresql://ann:geheim@db/x?password=geheim"))


def test_text_that_a_database_does_not_store(registry_url: str) -> None:
    with Registry(registry_url) as registry, pytest.raises(HubspokeError, match=r"NUL|no domain|not found|There is no"):
        registry.domains.get("gar\0den")

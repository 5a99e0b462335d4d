"""What is wrong inside a database is found and told with a remedy that works."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hubspoke.errors import InvalidDataError
from hubspoke.registry.database import Database, database_fault
from hubspoke.registry.integrity import check_integrity
from hubspoke.registry.sqlite import sqlite_url
from hubspoke.registry.store import Registry
from hubspoke.registry.transfer.backup import back_up, restore
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

SENTENCE = r"is damaged \(.*\); move it and what lies beside it .* `hubspoke registry restore BACKUP --yes`"


def test_a_sound_database(garden: Any) -> None:
    check_integrity(garden.registry.database)


def test_a_row_that_refers_to_nothing(garden: Any) -> None:
    database = garden.registry.database
    with closing(Database(database.url, foreign_keys=False)) as other, other.writer.begin() as connection:
        if not database.is_sqlite:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("DELETE FROM nodes WHERE ref = 'hub:1'"))
    with pytest.raises(InvalidDataError, match=r"a row of \w+ refers to a row of nodes that is not there.*restore"):
        check_integrity(database)


def of_an_index(path: Path) -> None:
    """Take the newest row out of a table's index alone."""
    with closing(Database(sqlite_url(path))) as database, database.writer.begin() as connection:
        connection.exec_driver_sql("PRAGMA writable_schema=ON")
        connection.exec_driver_sql("CREATE INDEX probe ON domains (description)")
        connection.exec_driver_sql(
            "UPDATE sqlite_schema SET sql = 'CREATE INDEX probe ON domains (status)' WHERE name = 'probe'"
        )


def of_a_page(path: Path) -> None:
    """Overwrite the page that a table begins with."""
    with closing(Database(sqlite_url(path))) as database, database.engine.connect() as connection:
        page = connection.exec_driver_sql("SELECT rootpage FROM sqlite_schema WHERE name = 'metrics'").scalar_one()
        size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


@pytest.mark.parametrize("damage", [of_an_index, of_a_page])
def test_damage_is_told_and_the_remedy_works(
    tmp_path: Path, sqlite_template: Path, damage: Callable[[Path], None]
) -> None:
    path, url = tmp_path / "registry.db", sqlite_url(tmp_path / "registry.db")
    shutil.copy(sqlite_template, path)
    with Registry(url) as registry:
        registry.domains.add("garden", "plants")
    back_up(url, tmp_path / "backup.db")
    damage(path)
    with closing(Database(url)) as database, pytest.raises(InvalidDataError, match=SENTENCE):
        check_integrity(database)
    for file in tmp_path.glob("registry.db*"):
        file.rename(tmp_path / f"damaged-{file.name}")
    restore(url, tmp_path / "backup.db")
    with Registry(url) as registry:
        assert [domain.name for domain in registry.domains.list()] == ["garden"]
        check_integrity(registry.database)


def test_indexes_are_checked_where_the_server_can(registry: Registry) -> None:
    if registry.database.is_sqlite:
        pytest.skip("amcheck is an extension of PostgreSQL")
    with registry.database.engine.begin() as connection:
        if connection.scalar(text("SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'")) == 0:
            pytest.skip("this server has no amcheck")
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS amcheck"))
    check_integrity(registry.database)


def test_damage_that_the_server_tells() -> None:
    refusal = Exception("invalid page in block 3 of relation base/5/16385")
    vars(refusal)["sqlstate"] = "XX001"
    fault = database_fault(OperationalError("SELECT 1", None, refusal), "postgresql+psycopg://ann@db/shop")
    assert isinstance(fault, InvalidDataError)
    assert "is damaged (invalid page in block 3" in str(fault)
    assert "`hubspoke registry restore BACKUP --registry URL --yes`" in str(fault)

"""Bring a registry's schema to this code's revision; alembic is loaded here alone, and only when asked to migrate."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, text

from ..errors import HubspokeError
from ..files import file_faults
from .database import HEAD_REVISION, REVISIONS, Database, newer_schema
from .faults import database_faults

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


@dataclass(frozen=True)
class SchemaChange:
    """Schema revisions before (None: the database was blank) and after."""

    before: str | None
    after: str | None

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.before != self.after


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration without a file; the connection travels in its attributes."""
    from alembic.config import Config

    # Said now: Alembic's own default is whatever stdout was when it was imported.
    config = Config(stdout=sys.stderr)
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(url: str, revision: str = "head") -> SchemaChange:
    """Make the registry where there is none, or bring it to this code's schema; one transaction, safe to race.

    Args:
        url: database of the registry.
        revision: an older schema to stop at.

    Raises:
        SchemaVersionError: a newer hubspoke made the registry.
        HubspokeError: the database cannot be reached or written.
    """
    from alembic import command

    return _migrate(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> SchemaChange:
    """Take the schema back to `revision` (`base`: drop everything); rows of dropped tables are lost."""
    from alembic import command

    return _migrate(url, lambda config: command.downgrade(config, revision))


def _migrate(url: str, run: Callable[[Config], Any]) -> SchemaChange:
    database = _open(url)
    # The revision is read while the writer's place is held, so a second process waits and finds it done.
    with closing(database), database_faults(database.where), database.writer.begin() as connection:
        before = _revision(connection)
        if before is not None and before not in REVISIONS:
            raise newer_schema(database.where, before)
        run(alembic_config(connection))
        _check_foreign_keys(connection)
        return SchemaChange(before, _revision(connection))


def _revision(connection: Connection) -> str | None:
    # Looked for first: on PostgreSQL a question about a missing table would end the transaction.
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _open(url: str) -> Database:
    database = Database(url, create=True)
    if database.path is not None:
        with file_faults(database.path.parent):
            database.path.parent.mkdir(parents=True, exist_ok=True)
    return database


def _check_foreign_keys(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise HubspokeError(
            f"Migrating to {HEAD_REVISION} would leave table {broken[0]} with a dangling reference to {broken[2]}; "
            "nothing was changed, restore a backup."
        )

"""Bring a registry's schema to this code's revision; alembic is loaded here alone, and only when asked to migrate."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from ..errors import HubspokeError
from ..files import file_faults
from .database import HEAD_REVISION, Database, DatabaseUrl, check_known, database_faults, read_revision

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


def upgrade(url: DatabaseUrl, revision: str = "head") -> SchemaChange:
    """Make the registry where there is none, or bring it to this code's schema (or to an older `revision`).

    One transaction, safe to race; what a newer hubspoke made is a SchemaVersionError.
    """
    from alembic import command

    return _migrate(url, lambda config: command.upgrade(config, revision))


def downgrade(url: DatabaseUrl, revision: str) -> SchemaChange:
    """Take the schema back to `revision` (`base`: drop everything); rows of dropped tables are lost."""
    from alembic import command

    return _migrate(url, lambda config: command.downgrade(config, revision))


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration without a file; the connection travels in its attributes."""
    from alembic.config import Config

    # Named here: Alembic's own default is whatever stdout was when it was imported.
    config = Config(stdout=sys.stderr)
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _migrate(url: DatabaseUrl, run: Callable[[Config], Any]) -> SchemaChange:
    # SQLite changes a table by building it anew, which breaks foreign keys on the way.
    database = Database(url, create=True, foreign_keys=False)
    if database.path:
        _make_file(database.path)
    # The revision is read while the writer's place is held, so a second process waits and finds it done.
    with closing(database), database_faults(database.where), database.writer.begin() as connection:
        before = check_known(read_revision(connection), database.where)
        run(alembic_config(connection))
        if database.is_sqlite and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
            raise HubspokeError(
                f"Migrating to {HEAD_REVISION} would leave table {broken[0]} with a dangling reference to {broken[2]}; "
                "nothing was changed, restore a backup."
            )
        return SchemaChange(before, read_revision(connection))


def _make_file(path: Path) -> None:
    """An empty database where there is no file: by itself SQLite lets nobody else write to one, whatever the umask."""
    with file_faults(path.parent), suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))

"""Backups of the registry, and how one becomes a registry again. Artifacts are no part of either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..results import Record

if TYPE_CHECKING:
    from .context import Context


@dataclass(frozen=True)
class Backup(Record):
    """A copy of the registry.

    Attributes:
        file: an SQLite file that `--registry sqlite:///FILE` opens.
        registry: what it is a copy of.
        schema: schema revision of both.
        rows: table to the number of rows copied.
        bytes: size of the file, 0 where nothing was written.
        artifacts: where the artifacts lie, which are not in the file.
        dry_run: whether nothing was written.
    """

    file: Path
    registry: str
    schema: str
    rows: Mapping[str, int]
    bytes: int
    artifacts: Path | str
    dry_run: bool


@dataclass(frozen=True)
class Restoration(Record):
    """A registry that was filled from a backup.

    Attributes:
        file: the backup.
        registry: what was filled.
        before: schema revision of the backup.
        schema: schema revision of the registry.
        rows: table to the number of rows copied.
        artifacts: where the registry expects its artifacts, which the backup does not hold.
        dry_run: whether nothing was changed.
    """

    file: Path
    registry: str
    before: str
    schema: str
    rows: Mapping[str, int]
    artifacts: Path | str
    dry_run: bool


def back_up(context: Context, file: Path, force: bool = False, dry_run: bool = False) -> Backup:
    """Write a consistent copy of the registry to an SQLite file, also while others write to it.

    Raises:
        NotFoundError: there is no registry, or no folder for `file`.
        UsageError: `file` exists and `force` is off, or it is in use as a database.
        SchemaVersionError: the registry is newer than this code, or on PostgreSQL older.
        InvalidDataError: the registry is damaged.
        HubspokeError: the registry cannot be read or the file not written.
    """
    from ..registry.transfer import backup

    url = context.settings.url
    copied = backup.plan_backup(url, file, force) if dry_run else backup.back_up(url, file, force, context.progress)
    return Backup(
        file=file.absolute(),
        registry=_shown(url),
        schema=copied.schema,
        rows=copied.rows,
        bytes=copied.bytes,
        artifacts=context.settings.artifacts_location,
        dry_run=dry_run,
    )


def restore(context: Context, file: Path, dry_run: bool = True) -> Restoration:
    """Copy a backup into the registry that the settings name, which must be missing or without rows.

    Raises:
        NotFoundError: there is no such file.
        InvalidDataError: it holds no registry, or a damaged one.
        UsageError: the registry has rows already.
        SchemaVersionError: a newer hubspoke made the backup or the registry.
        HubspokeError: the registry cannot be reached or written.
    """
    from ..registry.database import HEAD_REVISION
    from ..registry.transfer import backup

    url = context.settings.url
    copied = backup.plan_restore(url, file) if dry_run else backup.restore(url, file, context.progress)
    return Restoration(
        file=file.absolute(),
        registry=_shown(url),
        before=copied.schema,
        schema=HEAD_REVISION,
        rows=copied.rows,
        artifacts=context.settings.artifacts_location,
        dry_run=dry_run,
    )


def _shown(url: str) -> str:
    from ..registry.database import parse_url

    return parse_url(url).render_as_string(hide_password=True)

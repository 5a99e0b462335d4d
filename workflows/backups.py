"""Backups of the registry, and how one becomes a registry again. Artifacts are no part of either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import HubspokeError
from ..results import Record
from .context import Context


@dataclass(frozen=True)
class Backup(Record):
    """A copy of the registry, without its artifacts."""

    file: Path
    url: str  # what `--registry` opens it by
    registry: str
    schema: str
    rows: Mapping[str, int]  # of each table
    bytes: int  # 0 where nothing was written
    artifacts: Path | str  # where they lie
    dry_run: bool


@dataclass(frozen=True)
class Restoration(Record):
    """A registry that was filled from a backup; `before` is the schema of the backup."""

    file: Path
    registry: str
    before: str
    schema: str
    rows: Mapping[str, int]
    artifacts: Path | str  # where the registry expects its artifacts, which the backup does not hold
    dry_run: bool


def back_up(context: Context, file: Path, force: bool = False, dry_run: bool = False) -> Backup:
    """Write a consistent copy of the registry to an SQLite file, also while others write to it."""
    from ..registry.database import shown
    from ..registry.sqlite import sqlite_url
    from ..registry.transfer import backup

    url = context.url
    copied = backup.plan_backup(url, file, force) if dry_run else backup.back_up(url, file, force, context.progress)
    return Backup(
        file=file.absolute(),
        url=shown(sqlite_url(file)),
        registry=context.shown_url,
        schema=copied.schema,
        rows=copied.rows,
        bytes=copied.bytes,
        artifacts=context.settings.artifacts_location,
        dry_run=dry_run,
    )


def restore(context: Context, file: Path, dry_run: bool = True) -> Restoration:
    """Copy a backup into the registry that the settings name, which must be missing or without rows."""
    from ..registry.database import HEAD_REVISION
    from ..registry.transfer import backup

    url = context.url
    if dry_run:
        copied = backup.plan_restore(url, file)
    else:
        owns = _owns_store(context)
        copied = backup.restore(url, file, context.progress)
        if owns:  # the registry has become another by now
            context.ownership.adopt()
    return Restoration(
        file=file.absolute(),
        registry=context.shown_url,
        before=copied.schema,
        schema=HEAD_REVISION,
        rows=copied.rows,
        artifacts=context.settings.artifacts_location,
        dry_run=dry_run,
    )


def _owns_store(context: Context) -> bool:
    """Whether the artifact store has the mark of the registry that is there so far."""
    from ..registry.ownership import Belonging

    try:
        return context.ownership.look() is Belonging.OWN
    except HubspokeError:  # no registry yet, one of an older schema, or a mark that is told where it matters
        return False

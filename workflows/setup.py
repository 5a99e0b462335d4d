"""Making a workspace: its folders, its registry, and the schema that the registry has."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..errors import InvalidDataError, NotFoundError
from ..files import file_faults
from ..results import Record
from .context import Context

UNREADABLE = "unreadable"


@dataclass(frozen=True)
class InitResult(Record):
    """Where the workspace lies; `before` is the schema that the registry had, None where there was none."""

    workspace: Path
    registry: str
    artifacts: Path | str
    before: str | None
    schema: str | None
    cached: bool
    dry_run: bool = False


@dataclass(frozen=True)
class Adoption(Record):
    """A store that was taken over; `before` is what it was to the registry."""

    store: str
    registry: str
    before: str  # `own`, `free`, `unknown`, `foreign`, `ahead` or `unreadable`
    known: int  # artifacts of the store that rows of the registry name
    unknown: int  # the others, which the collection of garbage removes from now on
    unknown_bytes: int
    cached: bool  # whether it was the registry's own already
    dry_run: bool


@dataclass(frozen=True)
class SchemaState(Record):
    """A registry's schema (None: there is no registry) beside the one that this code needs."""

    registry: str
    current: str | None
    needed: str
    up_to_date: bool


def init(context: Context, dry_run: bool = False) -> InitResult:
    """Make the folders and the registry where they are missing, and bring the registry's schema up to date."""
    from ..registry.database import HEAD_REVISION, check_known

    before = check_known(current_schema(context), context.shown_url)
    if not dry_run:
        if before != HEAD_REVISION:  # asked first, because alembic takes a second to load
            from ..registry.migrate import upgrade

            before = upgrade(context.url).before
        for folder in (context.settings.artifacts_dir, context.cache_dir):
            with file_faults(folder):
                folder.mkdir(parents=True, exist_ok=True)
    return InitResult(
        workspace=context.settings.workspace,
        registry=context.shown_url,
        artifacts=context.settings.artifacts_location,
        before=before,
        schema=HEAD_REVISION,
        cached=before == HEAD_REVISION,
        dry_run=dry_run,
    )


def adopt(context: Context, dry_run: bool = True) -> Adoption:
    """Let the artifacts of the store belong to this registry from now on, whoever they belonged to."""
    from ..registry.ownership import Belonging, holdings

    ownership = context.ownership
    try:
        before = str(ownership.look())
    except InvalidDataError:
        before = UNREADABLE
    found = holdings(ownership)
    if not dry_run and before != Belonging.OWN:
        ownership.adopt()
    return Adoption(
        store=context.artifacts.where,
        registry=context.shown_url,
        before=before,
        known=found.known,
        unknown=found.unknown,
        unknown_bytes=found.unknown_bytes,
        cached=before == Belonging.OWN,
        dry_run=dry_run,
    )


def schema_state(context: Context) -> SchemaState:
    """The registry's schema, whether or not this code can work with it."""
    from ..registry.database import HEAD_REVISION

    current = current_schema(context)
    return SchemaState(context.shown_url, current, HEAD_REVISION, current == HEAD_REVISION)


def current_schema(context: Context) -> str | None:
    """The schema revision of the registry, None where there is no registry."""
    from ..registry.database import Database

    try:
        database = Database(context.url)
    except NotFoundError:
        return None
    with closing(database):
        return database.current_revision()

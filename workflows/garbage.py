"""Collection of garbage: artifacts that no row of the registry refers to, and what killed writers left staged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..errors import CorruptArtifactError, NotFoundError, UsageError
from ..results import Record
from .context import Context

UNFINISHED = "unfinished upload"
UNREADABLE = "unreadable"
GRACE = timedelta(hours=24)


@dataclass(frozen=True)
class GarbageArtifact(Record):
    """An artifact that nothing refers to; `bytes` is what it takes in the store, 0 where only its row was left."""

    digest: str
    kind: str
    bytes: int


@dataclass(frozen=True)
class GarbageFolder(Record):
    """A staging folder whose writer is gone."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Garbage(Record):
    """What was removed, or with `dry_run` would be."""

    store: str
    artifacts: tuple[GarbageArtifact, ...]
    folders: tuple[GarbageFolder, ...]
    young: int  # artifacts that nothing refers to, but that are younger than the grace period and kept for it
    bytes: int  # of all that was removed
    grace_hours: float
    dry_run: bool


def collect(context: Context, dry_run: bool = True, grace: timedelta = GRACE) -> Garbage:
    """Remove what no row refers to and nobody has committed for the grace period.

    Where the store is another registry's, or has gone on without this copy of its registry, that is an
    IncompatibleError, also in a dry run: what the other one refers to would look like garbage. A writer commits an
    artifact first and inserts the row that refers to it after; the grace period is the time that it has for that.
    """
    hours = grace / timedelta(hours=1)
    if hours < 0:
        raise UsageError(f"A grace period of {hours:g} hours is none; give 0 or more, or nothing for 24.")
    # S3 tells times in whole seconds, rounded down.
    untouched_since = (datetime.now(UTC) - grace).replace(microsecond=0)
    context.ownership.require()
    if dry_run:
        artifacts, young = _find(context, context.artifacts.holdings(), untouched_since)
        left = [leftover for leftover in context.artifacts.leftovers() if leftover.stale]
    else:
        with context.lock("collect garbage"):
            held = context.artifacts.holdings()
            found, young = _find(context, held, untouched_since)
            artifacts = _remove(context, held, found, untouched_since)
            left = context.artifacts.sweep_stale()
        young += len(found) - len(artifacts)
    folders = tuple(GarbageFolder(leftover.path.name, leftover.bytes) for leftover in left)
    total = sum(artifact.bytes for artifact in artifacts) + sum(folder.bytes for folder in folders)
    return Garbage(context.artifacts.where, tuple(artifacts), folders, young, total, hours, dry_run)


def _find(context: Context, held: Mapping[str, int], untouched_since: datetime) -> tuple[list[GarbageArtifact], int]:
    """What nothing refers to and is old, of all that is `held` (digest to bytes), and how much more is not old yet.

    The store was listed before: what has been committed and recorded since then is in no way garbage.
    """
    kinds = {artifact.digest: artifact.kind for artifact in context.registry.artifacts.list()}
    unreferenced = sorted((held.keys() | kinds.keys()) - context.registry.artifacts.referenced())
    found, young = [], 0
    for digest in unreferenced:
        try:
            old = digest not in held or context.artifacts.touched(digest) < untouched_since
        except NotFoundError:
            old = False  # removed since it was listed
        if not old:
            young += 1
            continue
        try:
            kind = kinds.get(digest) or context.artifacts.read(digest).kind
        except NotFoundError:
            kind = UNFINISHED
        except CorruptArtifactError:
            kind = UNREADABLE
        found.append(GarbageArtifact(digest, kind, held.get(digest, 0)))
    return found, young


def _remove(
    context: Context, held: Mapping[str, int], found: list[GarbageArtifact], untouched_since: datetime
) -> list[GarbageArtifact]:
    # Rows go before bytes: a kill in between leaves bytes without a row, which the next collection removes, and never a
    # row without bytes. A writer that comes in between writes the row once more with its own.
    unreferenced = context.registry.artifacts.forget([artifact.digest for artifact in found])
    removed = []
    for done, artifact in enumerate(found):
        context.progress("removing artifacts", done, len(found))
        digest = artifact.digest
        # One that only a row was left of has nothing to delete.
        if digest in unreferenced and (digest not in held or context.artifacts.delete(digest, untouched_since)):
            removed.append(artifact)
    context.progress("removing artifacts", len(found), len(found))
    return removed

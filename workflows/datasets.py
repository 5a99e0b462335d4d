"""A domain's data as models take it: items in snapshot order, sessions as flat arrays, pictures checked by hash."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl

from ..catalog.schema import TimeKind
from ..catalog.sequences import Sequences, build_sequences
from ..catalog.sessions import SessionSettings, clean_sessions, why_none
from ..catalog.snapshots import DATA_FILE, read_snapshot, read_user_events
from ..catalog.streams import (
    FORMAT,
    MANIFEST_FILE,
    RANGE_EVENTS,
    SequenceSource,
    SequenceStream,
    SessionFiles,
    drop_unknown_items,
    user_ranges,
    write_session_files,
)
from ..catalog.tables import Source
from ..errors import CorruptArtifactError, InvalidDataError, NotFoundError, UsageError
from ..files import file_sha256
from ..forks import require_tables
from ..registry.records import DomainRecord, SnapshotRecord
from ..results import fingerprint

if TYPE_CHECKING:
    from ..spokes.config import TrainingConfig
    from .context import Context

Table: TypeAlias = Source
# Inside an artifact: the snapshot writer stages beside its target, which must therefore lie inside the staged folder.
TABLE_FOLDER = "table"
UNUSED_SECONDS = 30 * 86_400.0  # session files that nobody opened for so long make room


@dataclass(frozen=True)
class Dataset:
    """The data of one domain."""

    domain: DomainRecord
    items: pl.DataFrame  # its row numbers are what models speak of
    item_snapshot: SnapshotRecord
    event_snapshot: SnapshotRecord | None
    image_root: Path | None  # folder that the image paths are relative to
    sequences: Sequences  # one per session, all users; empty without events, or where they are a stream
    waterfall: list[dict[str, Any]]  # rows, sessions and users left after each step from events to sequences
    session_mode: str  # how sessions were cut (`gap`, `per_user`, `given`); `none` without events
    stream: SequenceStream | None = None  # of an event table that is not to be held in memory

    @property
    def source(self) -> SequenceSource:
        """The sequences, wherever they are."""
        return self.sequences if self.stream is None else self.stream


def load_dataset(
    context: Context,
    domain: str,
    items: str | None = None,
    events: str | None = None,
    with_events: bool = True,
    streaming: TrainingConfig | None = None,
) -> Dataset:
    """The newest snapshots of a domain, or those that `items` and `events` (references) name, their bytes checked.

    Events on items that the item snapshot lacks (a catalog loses products over time) are left out, as the waterfall
    says. An event table beyond the `stream_above` of `streaming` is not held in memory but left to be read in shards.
    """
    record = context.registry.domains.get(domain)
    item_snapshot = find_snapshot(context, domain, "items", items)
    if item_snapshot is None:
        raise NotFoundError(
            f"{domain} has no items yet; give it some with `hubspoke data ingest {domain} --items FILE`."
        )
    table = read_table(context, item_snapshot)
    event_snapshot = find_snapshot(context, domain, "events", events) if with_events else None
    stream = None
    if streaming and event_snapshot and event_snapshot.rows > streaming.stream_above:
        stream = _open_stream(context, record, item_snapshot, event_snapshot, table["item_id"], streaming.shard_events)
        cut = no_sequences(len(table)), list(stream.manifest.waterfall), stream.manifest.mode
    else:
        cut = load_sequences(context, record, item_snapshot, event_snapshot, table["item_id"])
    # Where the pictures lie now: the folder given last, else the one that was ingested.
    moved: Mapping[str, str] = record.settings.get("image_roots", {})
    root = moved.get(item_snapshot.ref) or item_snapshot.details.get("image_root")
    return Dataset(record, table, item_snapshot, event_snapshot, Path(root) if root else None, *cut, stream)


def require_sessions(dataset: Dataset) -> None:
    """Refuse events that all were left out with sessions that are too short; InvalidDataError with the remedy."""
    # Cut another way there may be some; where all of a user's events are one session already, more are needed.
    if dataset.session_mode != "per_user" and dataset.waterfall and dataset.waterfall[-1]["rows_out"] == 0:
        why = why_none(dataset.session_mode, session_settings(dataset.domain))
        name = dataset.domain.name
        raise InvalidDataError(
            f"{name} has events but no session: {why}; settings of sessions are changed with "
            f"`hubspoke data ingest {name} --sessions MODE`."
        )


def find_snapshot(context: Context, domain: str, kind: str, ref: str | None = None) -> SnapshotRecord | None:
    """The snapshot that `ref` names, by default the domain's newest of that kind; None where it has none."""
    if ref is None:
        known = context.registry.snapshots.list(domain, kind)
        return known[-1] if known else None
    snapshot = context.registry.snapshots.get(ref)
    if (snapshot.domain, snapshot.kind) != (domain, kind):
        raise UsageError(
            f"{snapshot.ref} holds {snapshot.kind} of {snapshot.domain}; name one like snapshot:{domain}/{kind}/1."
        )
    return snapshot


def read_table(context: Context, snapshot: SnapshotRecord) -> pl.DataFrame:
    """The table of a snapshot, its bytes checked first; a catalog, which every step of a command needs, is kept."""
    folder = table_folder(context, snapshot)

    def read() -> pl.DataFrame:
        # The store has hashed every byte; hashing the content once more would tell nothing new.
        return read_snapshot(folder, verify=False)[0]

    if snapshot.kind != "items":
        return read()
    table: pl.DataFrame = context.data_cache.get(("items", snapshot.artifact), read)
    return table


def table_folder(context: Context, snapshot: SnapshotRecord) -> Path:
    """Where the table of a snapshot lies, its bytes checked."""
    require_tables()
    try:
        return context.artifacts.open(snapshot.artifact) / TABLE_FOLDER
    except (CorruptArtifactError, NotFoundError) as error:
        # The store cannot know how its content came about, so its own remedy is vaguer.
        raise type(error)(
            f"The files of {snapshot.ref} (artifact {snapshot.artifact[:12]}) are damaged or gone; repeat the ingest "
            f"with `hubspoke data ingest {snapshot.domain} --{snapshot.kind} FILE`, or restore a backup."
        ) from error


def session_settings(domain: DomainRecord) -> SessionSettings:
    """How the domain's events are cut into sessions."""
    return SessionSettings(**domain.settings.get("sessions", {}))


def time_kind(snapshot: SnapshotRecord) -> TimeKind:
    """What the timestamps of an event snapshot mean."""
    kind: TimeKind = snapshot.details.get("time_kind") or "real"
    return kind


def no_sequences(n_items: int) -> Sequences:
    """The sequences of a domain without events."""
    none = np.zeros(0, dtype=np.int64)
    return Sequences(none, none, np.zeros(1, dtype=np.int64), none, (), n_items)


def load_sequences(
    context: Context, domain: DomainRecord, items: SnapshotRecord, events: SnapshotRecord | None, item_ids: pl.Series
) -> tuple[Sequences, list[dict[str, Any]], str]:
    """The sessions of events over the items of a catalog, the waterfall and how they were cut; the last are kept."""
    if events is None:
        return no_sequences(len(item_ids)), [], "none"
    folder, settings, kind = table_folder(context, events), session_settings(domain), time_kind(events)

    def cut() -> tuple[Sequences, list[dict[str, Any]], str]:
        table = read_snapshot(folder, verify=False)[0]
        kept, step = drop_unknown_items(table, item_ids)
        if table.height and not kept.height:
            raise InvalidDataError(
                f"None of the {table.height} events of {events.ref} is on an item of the catalog; "
                "ingest the catalog that they belong to."
            )
        cleaned = clean_sessions(kept, settings, kind)
        waterfall = [step, *cleaned.waterfall] if step.rows_in != step.rows_out else list(cleaned.waterfall)
        return build_sequences(cleaned.frame, item_ids), [s.to_json() for s in waterfall], cleaned.mode

    key = ("sequences", events.artifact, items.artifact, settings, kind)
    found: tuple[Sequences, list[dict[str, Any]], str] = context.data_cache.get(key, cut)
    return found


def _open_stream(
    context: Context,
    domain: DomainRecord,
    items: SnapshotRecord,
    events: SnapshotRecord,
    item_ids: pl.Series,
    shard_events: int,
) -> SequenceStream:
    """The sessions of an event snapshot, from the workspace's cache; cut and written there where they are not yet."""
    settings, kind, grain = session_settings(domain), time_kind(events), _range_events(shard_events)
    made_of = [events.content_hash, items.content_hash, settings.model_dump(mode="json"), kind, grain]
    folder = context.cache_dir / "sessions" / fingerprint([FORMAT, *made_of])
    files = SessionFiles.open(folder)
    if files is not None:
        with suppress(OSError):  # a cache that cannot be written is still good to read
            (folder / MANIFEST_FILE).touch()
    else:
        # Session files that nobody has trained on for long: they can be written again.
        for manifest in folder.parent.glob(f"*/{MANIFEST_FILE}"):
            with suppress(OSError):  # somebody else may be as tidy
                if time.time() - manifest.stat().st_mtime > UNUSED_SECONDS:
                    shutil.rmtree(manifest.parent)
        context.progress("cutting sessions", 0, 1)
        table = table_folder(context, events) / DATA_FILE
        files = write_session_files(table, item_ids, folder, settings, kind, range_events=grain)
        context.progress("cutting sessions", 1, 1)
    return SequenceStream(files, shard_events)


def _range_events(shard_events: int) -> int:
    """Events of a range of users, at least: a few ranges make a shard."""
    return min(RANGE_EVENTS, shard_events)


def event_ranges(context: Context, dataset: Dataset) -> Iterator[tuple[pl.DataFrame, Sequences]]:
    """The raw events on items of the catalog and the sequences cut from them: at once, or user range by user range."""
    snapshot, item_ids = dataset.event_snapshot, dataset.items["item_id"]
    if snapshot is None:
        return
    if dataset.stream is None:
        yield drop_unknown_items(read_table(context, snapshot), item_ids)[0], dataset.sequences
        return
    settings, kind = session_settings(dataset.domain), time_kind(snapshot)
    table = table_folder(context, snapshot) / DATA_FILE
    for events in user_ranges(table, _range_events(dataset.stream.shard_events)):
        known, _ = drop_unknown_items(events, item_ids)
        yield known, build_sequences(clean_sessions(known, settings, kind, part=True).frame, item_ids)


def user_sequences(
    folder: Path, domain: DomainRecord, snapshot: SnapshotRecord, item_ids: pl.Series, user: str
) -> Sequences:
    """One user's sessions, read from the folder of an event snapshot's table.

    They are the same as among everybody's: no step of the cleaning looks from one user to another.
    """
    kept, _ = drop_unknown_items(read_user_events(folder, user), item_ids)
    cleaned = clean_sessions(kept, session_settings(domain), time_kind(snapshot), part=True)
    return build_sequences(cleaned.frame, item_ids)


def image_paths(dataset: Dataset) -> list[list[Path]]:
    """The pictures of every item, in item order, each checked against the hash taken when it was ingested."""
    paths: list[list[Path]] = []
    ingest = f"`hubspoke data ingest {dataset.domain.name} --items FILE --images DIR`"
    remedy = f"restore it, or ingest the catalog again with {ingest}."
    for images, hashes in dataset.items.select("image", "image_sha256").iter_rows():
        # Pictures that were never looked at (no folder was given) do not count as pictures.
        named = zip(images, hashes, strict=True) if hashes else ()
        if hashes and dataset.image_root is None:
            raise InvalidDataError(
                f"{dataset.item_snapshot.ref} names pictures but no folder; repeat the ingest with --images DIR."
            )
        paths.append([])
        for image, sha256 in named:
            path = (dataset.image_root or Path()) / image
            try:
                found = file_sha256(path)
            except OSError as error:
                raise InvalidDataError(f"The picture {path} cannot be read ({error.strerror}); {remedy}") from error
            if found != sha256:
                raise InvalidDataError(f"The picture {path} has changed since it was ingested; {remedy}")
            paths[-1].append(path)
    return paths

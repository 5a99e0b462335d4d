"""Snapshots: an immutable Parquet copy of a table with a manifest, named by the hash of its logical content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import CorruptArtifactError, IncompatibleError, InvalidDataError, NotFoundError
from ..files import atomic_folder
from ..forks import require_tables
from .schema import TimeKind

SCHEMA_VERSION = 1
DATA_FILE = "data.parquet"
MANIFEST_FILE = "manifest.json"
HASH_CHUNK = 250_000  # rows at a time; part of the definition of the hash
JOINED = 10_000  # texts that are joined at once; no part of it

SnapshotKind = Literal["items", "events", "sessions"]


class SnapshotManifest(BaseModel):
    """What a snapshot is and where it came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    kind: SnapshotKind
    rows: int
    content_hash: str  # of the logical content, see `content_hash`
    columns: dict[str, str]  # name to dtype, in order
    time_kind: TimeKind | None = None  # of events
    image_root: str | None = None  # folder that the image paths of items are relative to
    provenance: dict[str, Any] = {}  # source file, its hash, mapping, report, waterfall, time window


@dataclass(frozen=True)
class SnapshotDiff:
    """Item ids by what became of them between two item tables, each sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def content_hash(frame: pl.DataFrame) -> str:
    """SHA-256 over column names, dtypes and values in row order; the same whatever file or library wrote them."""
    digest = hashlib.sha256(f"hubspoke-table-1 {frame.height}".encode())
    for name in frame.columns:
        column = frame[name]
        digest.update(json.dumps([name, dtype_name(column.dtype)]).encode())
        for start in range(0, frame.height, HASH_CHUNK):
            for piece in _bytes_of(column.slice(start, HASH_CHUNK)):
                digest.update(piece)
    return digest.hexdigest()


def dtype_name(dtype: object) -> str:
    """Our own name of a dtype: polars may change how it prints one, and the hash must not change with it."""
    if isinstance(dtype, pl.List):
        return f"list<{dtype_name(dtype.inner)}>"
    if isinstance(dtype, pl.Struct):
        return f"struct<{', '.join(f'{f.name}: {dtype_name(f.dtype)}' for f in dtype.fields)}>"
    if isinstance(dtype, pl.Datetime):
        return f"datetime[{dtype.time_unit}, {dtype.time_zone}]"
    return (dtype if isinstance(dtype, type) else type(dtype)).__name__.lower()


def _bytes_of(column: pl.Series) -> Iterator[bytes]:
    """Which values are null, then the others: lengths and contents, part by part for nested dtypes."""
    yield column.is_null().to_numpy().tobytes()
    values, dtype = column.drop_nulls(), column.dtype
    if dtype == pl.String:
        yield values.str.len_bytes().to_numpy().astype("<u4").tobytes()
        for start in range(0, len(values), JOINED):
            yield str(values.slice(start, JOINED).str.join("").item()).encode()
    elif isinstance(dtype, pl.List):
        lengths = values.list.len()
        yield lengths.to_numpy().astype("<u4").tobytes()
        yield from _bytes_of(values.filter(lengths > 0).explode())
    elif isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            yield from _bytes_of(values.struct.field(field.name))
    elif dtype.is_temporal():
        yield values.to_physical().to_numpy().astype("<i8").tobytes()
    elif dtype.is_numeric() or dtype == pl.Boolean:
        yield values.to_numpy().tobytes()
    elif len(values):
        raise InvalidDataError(f"A column of dtype {dtype} cannot be hashed; cast it to a canonical dtype.")


def write_snapshot(
    frame: pl.DataFrame,
    kind: SnapshotKind,
    directory: Path | str,
    provenance: Mapping[str, Any] | None = None,
    *,
    time_kind: TimeKind | None = None,
    image_root: Path | str | None = None,
) -> SnapshotManifest:
    """Write `frame` and its manifest to `directory`, which must be new, empty, or hold the same content already."""
    directory = Path(directory)
    manifest = SnapshotManifest(
        kind=kind,
        rows=frame.height,
        content_hash=content_hash(frame),
        columns=_columns(frame),
        time_kind=time_kind,
        image_root=None if image_root is None else str(image_root),
        provenance=json.loads(json.dumps(dict(provenance or {}), default=str)),
    )
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        present = read_manifest(directory) if (directory / MANIFEST_FILE).is_file() else None
        if present and (present.kind, present.content_hash) == (manifest.kind, manifest.content_hash):
            return present
        raise InvalidDataError(
            f"{directory} already holds something else; snapshots are immutable, so choose a new folder."
        )
    with atomic_folder(directory) as folder:
        frame.write_parquet(folder / DATA_FILE, compression="zstd")
        (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return manifest


def read_manifest(directory: Path | str) -> SnapshotManifest:
    """The manifest alone."""
    path = Path(directory) / MANIFEST_FILE
    if not path.parent.is_dir():
        raise NotFoundError(f"There is no snapshot at {path.parent}; ingest the data again.")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        version = int(raw["schema_version"])
        if version > SCHEMA_VERSION:
            raise IncompatibleError(
                f"{path} has format {version}, this version reads up to {SCHEMA_VERSION}; upgrade hubspoke."
            )
        return SnapshotManifest.model_validate(raw)
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise CorruptArtifactError(f"{path} is missing or damaged; ingest the data again.") from error


def read_snapshot(directory: Path | str, *, verify: bool = True) -> tuple[pl.DataFrame, SnapshotManifest]:
    """The table and its manifest; `verify` also recomputes the content hash (about a second per million events)."""
    directory = Path(directory)
    manifest = read_manifest(directory)
    path = directory / DATA_FILE
    with _reading(path):
        frame = pl.read_parquet(path, glob=False)
    if frame.height != manifest.rows or _columns(frame) != manifest.columns:
        raise CorruptArtifactError(
            f"{path} has {frame.height} rows and columns {', '.join(frame.columns)}, its manifest promises "
            f"{manifest.rows} and {', '.join(manifest.columns)}; ingest the data again."
        )
    if verify and content_hash(frame) != manifest.content_hash:
        raise CorruptArtifactError(
            f"{path} no longer has the content that its manifest promises; ingest the data again."
        )
    return frame, manifest


# What histories are made of; attributes, which are none of it, take most of the time of reading all columns.
HISTORY_COLUMNS = ("user_id", "item_id", "timestamp", "event_type", "session_id", "position")


def read_user_events(directory: Path | str, user: str) -> pl.DataFrame:
    """What sessions are cut from of one user's rows of an event snapshot; those of others are mostly passed over."""
    path = Path(directory) / DATA_FILE
    with _reading(path):
        table = pl.scan_parquet(path, glob=False)
        columns = [name for name in table.collect_schema().names() if name in HISTORY_COLUMNS]
        return table.filter(pl.col("user_id") == user).select(columns).collect()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    require_tables()
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
        raise CorruptArtifactError(f"{path} cannot be read; ingest the data again.") from error


def _columns(frame: pl.DataFrame) -> dict[str, str]:
    return {name: dtype_name(dtype) for name, dtype in frame.schema.items()}


def diff_snapshots(old: pl.DataFrame, new: pl.DataFrame) -> SnapshotDiff:
    """Which items came, went or changed in any column; the order of rows does not matter."""
    before, after = (
        frame.select("item_id", pl.struct(sorted(frame.columns)).struct.json_encode().alias(name))
        for frame, name in ((old, "old"), (new, "new"))
    )
    both = before.join(after, on="item_id", how="full", coalesce=True).sort("item_id")
    came, went = pl.col("old").is_null(), pl.col("new").is_null()
    found = (both.filter(mask)["item_id"].to_list() for mask in (came, went, pl.col("old") != pl.col("new")))
    return SnapshotDiff(*map(tuple, found))

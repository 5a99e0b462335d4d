"""Snapshots: an immutable Parquet copy of a table with a manifest, named by the hash of its logical content.

Both are written to a temporary folder that is renamed when complete, so a half-written snapshot never looks whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import CorruptArtifactError, IncompatibleError, InvalidDataError, NotFoundError
from .schema import TimeKind

SCHEMA_VERSION = 1
DATA_FILE = "data.parquet"
MANIFEST_FILE = "manifest.json"
HASH_CHUNK = 250_000  # rows at a time; part of the definition of the hash
STALE_SECONDS = 3600.0  # a temporary folder this old was left by a killed process

SnapshotKind = Literal["items", "events", "sessions"]


class SnapshotManifest(BaseModel):
    """What a snapshot is and where it came from.

    Attributes:
        schema_version: version of this format.
        kind: what the rows are.
        rows: number of rows.
        content_hash: SHA-256 of the logical content (`content_hash`).
        columns: column name to dtype, in order.
        time_kind: what timestamps mean (events).
        image_root: folder that image paths are relative to (items).
        provenance: source file, its hash, mapping, report, waterfall, time window.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    kind: SnapshotKind
    rows: int
    content_hash: str
    columns: dict[str, str]
    time_kind: TimeKind | None = None
    image_root: str | None = None
    provenance: dict[str, Any] = {}


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
        yield str(values.str.join("").item() or "").encode() if len(values) else b""
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
    """Write `frame` and its manifest to `directory`, which must be new, empty, or hold the same content already.

    Raises:
        InvalidDataError: the directory holds something else; snapshots are never overwritten.
    """
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
    existing = _existing(directory, manifest)
    if existing is not None:
        return existing
    _write(frame, manifest, directory)
    return manifest


def _existing(directory: Path, manifest: SnapshotManifest) -> SnapshotManifest | None:
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return None
    if (directory / MANIFEST_FILE).is_file():
        present = read_manifest(directory)
        if (present.kind, present.content_hash) == (manifest.kind, manifest.content_hash):
            return present
    raise InvalidDataError(
        f"{directory} already holds something else; snapshots are immutable, so choose a new folder."
    )


def _write(frame: pl.DataFrame, manifest: SnapshotManifest, directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(directory)
    temporary = directory.parent / f".{directory.name}.{uuid.uuid4().hex}.tmp"
    temporary.mkdir()
    try:
        frame.write_parquet(temporary / DATA_FILE, compression="zstd")
        (temporary / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        for name in (DATA_FILE, MANIFEST_FILE):
            _sync(temporary / name)
        temporary.rename(directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _sync(path: Path) -> None:
    """Bytes reach the disk before the rename does, or a power cut could leave an empty file under the final name."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove_stale(directory: Path) -> None:
    for left in directory.parent.glob(f".{directory.name}.*.tmp"):
        if time.time() - left.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def read_manifest(directory: Path | str) -> SnapshotManifest:
    """The manifest alone.

    Raises:
        NotFoundError: no such directory.
        CorruptArtifactError: no readable manifest in it.
        IncompatibleError: written by a newer version of this package.
    """
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
    """The table and its manifest; `verify` also recomputes the content hash (about a second per million events).

    Raises:
        NotFoundError: no such directory.
        CorruptArtifactError: unreadable, or not what the manifest promises.
        IncompatibleError: written by a newer version of this package.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    path = directory / DATA_FILE
    with _reading(path):
        frame = pl.read_parquet(path)
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


def read_user_events(directory: Path | str, user: str) -> pl.DataFrame:
    """One user's rows of an event snapshot; those of others, by whom the file is sorted, are mostly passed over."""
    path = Path(directory) / DATA_FILE
    with _reading(path):
        return pl.scan_parquet(path).filter(pl.col("user_id") == user).collect()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
        raise CorruptArtifactError(f"{path} cannot be read; ingest the data again.") from error


def _columns(frame: pl.DataFrame) -> dict[str, str]:
    return {name: dtype_name(dtype) for name, dtype in frame.schema.items()}


def diff_snapshots(old: pl.DataFrame, new: pl.DataFrame) -> SnapshotDiff:
    """Which items came, went or changed in any column; the order of rows does not matter."""
    before, after = _fingerprints(old, "old"), _fingerprints(new, "new")
    both = before.join(after, on="item_id", how="full", coalesce=True)
    return SnapshotDiff(
        added=_ids(both.filter(pl.col("old").is_null())),
        removed=_ids(both.filter(pl.col("new").is_null())),
        changed=_ids(both.filter(pl.col("old") != pl.col("new"))),
    )


def _fingerprints(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    ordered = sorted(frame.columns)
    return frame.select("item_id", pl.struct(ordered).struct.json_encode().alias(name))


def _ids(frame: pl.DataFrame) -> tuple[str, ...]:
    return tuple(frame["item_id"].sort().to_list())

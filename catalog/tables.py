"""Files read into tables of raw columns: CSV, TSV, JSON Lines (plain or gzipped) and Parquet.

Text stays text here, so that whatever is wrong with a value can later be told with its exact row.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import InvalidDataError, NotFoundError

TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
SUFFIXES = (*TEXT_SUFFIXES, *(s + ".gz" for s in TEXT_SUFFIXES), ".parquet")
DELIMITERS = (",", ";", "\t", "|")
# Stands for bytes that are no UTF-8 until their rows are known: a noncharacter, which no text contains.
BAD_BYTES = "\ufdd0"
JSON_CHUNK = 50_000
ROW_MARK = "\ufdd1"
MAX_FIELD = 2**31 - 1


ENCODING_REMEDY = "convert the file first, for example with iconv -f LATIN1 -t UTF-8"
WIDTH_REMEDY = "quote values that hold the separator"
JSON_REMEDY = "write one JSON object per line"


@dataclass(frozen=True)
class Faults:
    """Rows that could not be read as they stand: source row number to what was found there."""

    encoding: dict[int, str | None] = field(default_factory=dict)
    width: dict[int, str | None] = field(default_factory=dict)
    json: dict[int, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A raw table, the source row number (from 1) of each of its rows, and the rows that could not be read."""

    frame: pl.DataFrame
    rows: pl.Series
    faults: Faults


def load_table(path: Path | str) -> Table:
    """Read .csv, .tsv, .jsonl, .ndjson (also .gz) with every column as text, or .parquet with its own dtypes."""
    path = Path(path)
    suffix = _suffix(path)
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}; check the path.")
    if path.stat().st_size == 0:
        raise InvalidDataError(f"{path} is empty; give a file with a header and rows.")
    if suffix == ".parquet":
        try:
            return whole_table(pl.read_parquet(path))
        except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
            raise InvalidDataError(f"{path} is no readable Parquet file ({_brief(error)}); export it again.") from error
    try:
        raw = gzip.decompress(path.read_bytes()) if path.name.lower().endswith(".gz") else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidDataError(f"{path} is no complete gzip file ({_brief(error)}); compress it again.") from error
    content, bad_encoding = _decode(raw, path)
    if suffix in (".csv", ".tsv"):
        return _read_delimited(content, path, suffix, bad_encoding)
    return _read_json_lines(content, path, bad_encoding)


def whole_table(frame: pl.DataFrame) -> Table:
    """A table in memory, its rows numbered from 1."""
    return Table(frame, pl.int_range(1, frame.height + 1, dtype=pl.UInt32, eager=True), Faults())


def _suffix(path: Path) -> str:
    name = path.name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix.removesuffix(".gz")
    raise InvalidDataError(f"{path} has an unknown suffix; use one of {', '.join(SUFFIXES)}.")


def _decode(content: bytes, path: Path) -> tuple[bytes, bool]:
    """The content as UTF-8 without byte order mark, and whether wrong bytes had to be marked."""
    remedy = "convert it first, for example with iconv -f {} -t UTF-8."
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InvalidDataError(f"{path} is UTF-16 or UTF-32 from row 1 on; {remedy.format('UTF-16')}")
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\x00" in content[:4096]:
        raise InvalidDataError(
            f"{path} holds NUL bytes from the start (UTF-16, or no text at all); {remedy.format('UTF-16LE')}"
        )
    if not content.strip():
        raise InvalidDataError(f"{path} is empty; give a file with a header and rows.")
    if _is_utf8(content):
        return content, False
    codecs.register_error("hubspoke.mark", lambda error: (BAD_BYTES, getattr(error, "end", 0)))
    return content.decode("utf-8", errors="hubspoke.mark").encode("utf-8"), True


def _is_utf8(content: bytes) -> bool:
    """Checked piece by piece: decoding everything at once would need several times the file's size."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), 1 << 20):
            decoder.decode(content[start : start + (1 << 20)])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _read_delimited(content: bytes, path: Path, suffix: str, bad_encoding: bool) -> Table:
    delimiter = _delimiter(content, suffix)
    width: dict[int, str | None] = {}
    try:
        frame = pl.read_csv(io.BytesIO(content), separator=delimiter, infer_schema=False)
    except pl.exceptions.PolarsError:
        # Rows of uneven length: the slow reader names each of them.
        frame, width = _read_uneven(content, path, delimiter)
    if any(BAD_BYTES in column for column in frame.columns):
        raise InvalidDataError(f"The header of {path} holds bytes that are no UTF-8; {ENCODING_REMEDY}.")
    rows = pl.int_range(1, frame.height + 1, dtype=pl.UInt32, eager=True)
    if frame.height:
        blank = frame.select(pl.all_horizontal(pl.all().is_null()))[frame.columns[0]]
        blank = blank & ~rows.is_in(pl.Series(list(width), dtype=pl.UInt32).implode())
        frame, rows = frame.filter(~blank), rows.filter(~blank)
    return _with_marks(frame, rows, Faults(width=width), bad_encoding)


def _delimiter(content: bytes, suffix: str) -> str:
    if suffix == ".tsv":
        return "\t"
    header = content[: content.find(b"\n") + 1 or len(content)].decode("utf-8")
    counts = {delimiter: header.count(delimiter) for delimiter in DELIMITERS}
    # Ties go to the comma, which stands first.
    return max(counts, key=lambda d: counts[d])


def _read_uneven(content: bytes, path: Path, delimiter: str) -> tuple[pl.DataFrame, dict[int, str | None]]:
    """The table with overlong rows cut, and those rows; a short row is one whose last values are missing."""
    csv.field_size_limit(MAX_FIELD)
    # Row by row, so that a long file needs no second copy in memory.
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8", newline=""), delimiter=delimiter)
    try:
        n = len(next(reader))
        uneven = {i: f"{len(r)} values for {n} columns" for i, r in enumerate(reader, start=1) if len(r) > n}
        frame = pl.read_csv(io.BytesIO(content), separator=delimiter, infer_schema=False, truncate_ragged_lines=True)
    except (csv.Error, pl.exceptions.PolarsError) as error:
        reason = "a quoted value is not closed" if "not properly escaped" in str(error) else _brief(error)
        raise InvalidDataError(
            f"{path} is no readable CSV ({reason}); export it again with every quote closed."
        ) from error
    return frame, dict(uneven)


def _with_marks(frame: pl.DataFrame, rows: pl.Series, faults: Faults, bad_encoding: bool) -> Table:
    """Turns the marks of wrong bytes into faults of their rows and into U+FFFD in the text."""
    if bad_encoding and frame.height:
        marked = frame.select(pl.all().str.contains(BAD_BYTES, literal=True).fill_null(False))
        frame = frame.with_columns(pl.all().str.replace_all(BAD_BYTES, "\ufffd", literal=True))
        for name in reversed(frame.columns):
            mask = marked[name]
            faults.encoding.update(zip(rows.filter(mask).to_list(), frame[name].filter(mask).to_list(), strict=True))
    return Table(frame, rows, faults)


def _read_json_lines(content: bytes, path: Path, bad_encoding: bool) -> Table:
    """Every value as text: numbers in their shortest form, lists and objects as JSON."""
    bad: dict[int, str | None] = {}
    try:
        names = pl.scan_ndjson(io.BytesIO(content), infer_schema_length=None).collect_schema().names()
        frame = pl.read_ndjson(io.BytesIO(content), schema=dict.fromkeys(names, pl.String))
    except pl.exceptions.PolarsError:
        # A line that is no object: the slow reader names each of them.
        frame, bad = _read_json_objects(content)
    if not frame.columns:
        raise InvalidDataError(f"{path} holds no JSON object; {JSON_REMEDY}.")
    return _with_marks(frame, whole_table(frame).rows, Faults(json=bad), bad_encoding)


def _read_json_objects(content: bytes) -> tuple[pl.DataFrame, dict[int, str | None]]:
    parts: list[pl.DataFrame] = []
    bad: dict[int, str | None] = {}
    lines = enumerate(filter(bytes.strip, io.BytesIO(content)), start=1)
    while chunk := list(islice(lines, JSON_CHUNK)):
        objects: list[dict[str, Any]] = []
        for row, line in chunk:
            try:
                parsed = json.loads(line)
            except (ValueError, RecursionError):
                parsed = None
            if not isinstance(parsed, dict):
                bad[row] = line[:80].decode("utf-8", errors="replace").strip()
            objects.append(parsed if isinstance(parsed, dict) else {})
        names = dict.fromkeys(name for entry in objects for name in entry)
        columns = {name: [_json_text(entry.get(name)) for entry in objects] for name in names}
        # One column that is always there keeps the height of a part whose objects are all empty.
        columns[ROW_MARK] = [None] * len(objects)
        parts.append(pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)))
    return pl.concat(parts, how="diagonal").drop(ROW_MARK), bad


def _json_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _brief(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import polars as pl

from ..errors import InvalidDataError, NotFoundError
from .layout import Layout

DELIMITERS = (",", ";", "\t", "|")  # of equally frequent ones the first counts
# Stands for bytes that are no UTF-8 until their rows are known: a noncharacter, which no text contains.
BAD_BYTES = "\ufdd0"
MAX_FIELD = 2**31 - 1

ENCODING_REMEDY = "convert the file first, for example with iconv -f LATIN1 -t UTF-8"
JSON_REMEDY = "write one JSON object per line"
# What may keep a row from being read as it stands: the problem code and its sentence.
FAULTS = {
    "bad_encoding": f"{{value}} is no UTF-8; {ENCODING_REMEDY}.",
    "uneven_row": "the row has {value}; quote values that hold the separator.",
    "bad_cell": "{value} is no JSON list of objects, as this format has it; export it again.",
    "bad_json": f"{{value}} is no JSON object; {JSON_REMEDY}.",
}
Found = dict[int, str | None]  # source row number to what was found there
Source: TypeAlias = "Path | str | pl.DataFrame"


@dataclass(frozen=True)
class Table:
    """A raw table, the source row number (from 1) of each of its rows, and the rows that could not be read."""

    frame: pl.DataFrame
    rows: pl.Series
    faults: Mapping[str, Found] = field(default_factory=dict)  # by code of `FAULTS`
    notes: tuple[str, ...] = ()  # what reading found out about the file
    separator: str | None = None  # of a delimited file
    headerless: bool = False  # the columns are named by number, as no line names them


def whole_table(frame: pl.DataFrame, faults: Mapping[str, Found] | None = None) -> Table:
    """A table whose rows are numbered from 1."""
    return Table(frame, pl.int_range(1, frame.height + 1, dtype=pl.UInt32, eager=True), faults or {})


def load_table(path: Path | str, layout: Layout | None = None) -> Table:
    """Read .csv, .tsv, .jsonl, .ndjson (also .gz) with every column as text, or .parquet with its own dtypes."""
    path = Path(path)
    suffixes = (*TEXT, *(suffix + ".gz" for suffix in TEXT), *BINARY)
    suffix = next((known for known in suffixes if path.name.lower().endswith(known)), None)
    if suffix is None:
        raise InvalidDataError(f"{path} has an unknown suffix; use one of {', '.join(suffixes)}.")
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}; check the path.")
    if path.stat().st_size == 0:
        raise InvalidDataError(f"{path} is empty; give a file with a header and rows.")
    if suffix in BINARY:
        name, read = BINARY[suffix]
        try:
            return whole_table(read(path))
        except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
            raise InvalidDataError(f"{path} is no readable {name} file ({_brief(error)}); export it again.") from error
    try:
        raw = gzip.decompress(path.read_bytes()) if suffix.endswith(".gz") else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidDataError(f"{path} is no complete gzip file ({_brief(error)}); compress it again.") from error
    content = _decode(raw, path)
    table = TEXT[suffix.removesuffix(".gz")](content, path)
    if BAD_BYTES.encode() not in content:
        return table
    # The marks of wrong bytes become faults of their rows, and U+FFFD in the text.
    frame = table.frame.with_columns(pl.all().str.replace_all(BAD_BYTES, "\ufffd", literal=True))
    found: Found = {}
    for column in reversed(frame.columns):
        mask = table.frame[column].str.contains(BAD_BYTES, literal=True).fill_null(False)
        found.update(zip(table.rows.filter(mask).to_list(), frame[column].filter(mask).to_list(), strict=True))
    return Table(frame, table.rows, {"bad_encoding": found, **table.faults})


def _decode(content: bytes, path: Path) -> bytes:
    """The content as UTF-8 without byte order mark, with `BAD_BYTES` for what is none."""
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
    # Checked piece by piece: decoding everything at once would need several times the file's size.
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), 1 << 20):
            decoder.decode(content[start : start + (1 << 20)])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        codecs.register_error("hubspoke.mark", lambda error: (BAD_BYTES, getattr(error, "end", 0)))
        return content.decode("utf-8", errors="hubspoke.mark").encode("utf-8")
    return content


def _read_delimited(content: bytes, path: Path) -> Table:
    header = content[: content.find(b"\n") + 1 or len(content)].decode("utf-8")
    tabs = path.name.lower().removesuffix(".gz").endswith(".tsv")
    delimiter = "\t" if tabs else max(DELIMITERS, key=header.count)
    uneven: Found = {}
    try:
        frame = pl.read_csv(io.BytesIO(content), separator=delimiter, infer_schema=False)
    except pl.exceptions.PolarsError:
        # Rows of uneven length: the slow reader names each of them.
        frame, uneven = _read_uneven(content, path, delimiter)
    if any(BAD_BYTES in column for column in frame.columns):
        raise InvalidDataError(f"The header of {path} holds bytes that are no UTF-8; {ENCODING_REMEDY}.")
    table = whole_table(frame)
    if not frame.height:
        return table
    blank = frame.select(pl.all_horizontal(pl.all().is_null()))[frame.columns[0]]
    kept = ~blank | table.rows.is_in(pl.Series(list(uneven), dtype=pl.UInt32).implode())
    return Table(frame.filter(kept), table.rows.filter(kept), {"uneven_row": uneven})


def _read_uneven(content: bytes, path: Path, delimiter: str) -> tuple[pl.DataFrame, Found]:
    """The table with overlong rows cut, and those rows; a short row is one whose last values are missing."""
    csv.field_size_limit(MAX_FIELD)
    # Row by row, so that a long file needs no second copy in memory.
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8", newline=""), delimiter=delimiter)
    try:
        n = len(next(reader))
        uneven: Found = {i: f"{len(r)} values for {n} columns" for i, r in enumerate(reader, start=1) if len(r) > n}
        frame = pl.read_csv(io.BytesIO(content), separator=delimiter, infer_schema=False, truncate_ragged_lines=True)
    except (csv.Error, pl.exceptions.PolarsError) as error:
        reason = "a quoted value is not closed" if "not properly escaped" in str(error) else _brief(error)
        message = f"{path} is no readable CSV ({reason}); export it again with every quote closed."
        raise InvalidDataError(message) from error
    return frame, uneven


def _read_json_lines(content: bytes, path: Path) -> Table:
    """Every value as text: numbers in their shortest form, lists and objects as JSON."""
    bad: Found = {}
    try:
        names = pl.scan_ndjson(io.BytesIO(content), infer_schema_length=None).collect_schema().names()
        frame = pl.read_ndjson(io.BytesIO(content), schema=dict.fromkeys(names, pl.String))
    except pl.exceptions.PolarsError:
        # A line that is no object: the slow reader names each of them.
        frame, bad = _read_json_objects(content)
    if not frame.columns:
        raise InvalidDataError(f"{path} holds no JSON object; {JSON_REMEDY}.")
    return whole_table(frame, {"bad_json": bad})


def _read_json_objects(content: bytes) -> tuple[pl.DataFrame, Found]:
    """Line by line into objects of text only; what is no object becomes an empty one: rows keep their numbers."""
    bad: Found = {}
    names: dict[str, None] = {}
    plain = io.BytesIO()
    for row, line in enumerate(filter(bytes.strip, io.BytesIO(content)), start=1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            bad[row] = line[:80].decode("utf-8", errors="replace").strip()
            entry = {}
        names.update(dict.fromkeys(entry))
        texts = {
            name: value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in entry.items()
        }
        # Half a surrogate pair is legal in JSON and no text; it becomes a question mark.
        plain.write(json.dumps(texts, ensure_ascii=False).encode("utf-8", errors="replace") + b"\n")
    plain.seek(0)
    return pl.read_ndjson(plain, schema=dict.fromkeys(names, pl.String)) if names else pl.DataFrame(), bad


def _brief(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


# Name and reader of each format with dtypes of its own.
BINARY: dict[str, tuple[str, Callable[[Path], pl.DataFrame]]] = {".parquet": ("Parquet", pl.read_parquet)}
# Readers of UTF-8 text; each of these may also be gzipped.
TEXT: dict[str, Callable[[bytes, Path], Table]] = {
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}

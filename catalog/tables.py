"""Files read into tables of raw columns, whatever they are: delimited text, JSON, XML, pages with JSON-LD, Parquet.

`load_table` is the one door. Text stays text here, so that whatever is wrong with a value can later be told with its
exact row.
"""

from __future__ import annotations

import glob
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InvalidDataError, NotFoundError, UsageError
from .delimited import begins_with_data, find_separator, read_delimited
from .json_lines import JSON_REMEDY, is_json, read_json
from .layout import Layout
from .markup import read_page, read_xml
from .opening import PACKINGS, PARQUET, Content, brief, is_utf8, open_content
from .pieces import ENCODING_REMEDY, Found
from .spilling import filtered
from .tidying import headers_again, is_underline, plain_cells, sum_row, tidied

DELIMITED = (".csv", ".tsv", ".txt", ".dat", ".data", ".inter", ".item", ".user", ".link")
JSON = (".jsonl", ".ndjson", ".json")
MARKUP = (".xml", ".html", ".htm")
SUFFIXES = (*DELIMITED, *JSON, *MARKUP, ".parquet")
# Readers of text that names its columns row by row.
SELF_NAMING = {"json": read_json, "xml": read_xml, "page": read_page}
# What may keep a row from being read as it stands: the problem code and its sentence.
FAULTS = {
    "bad_encoding": f"{{value}} is no UTF-8; {ENCODING_REMEDY}.",
    "nul_byte": "{value} holds a NUL byte; remove it, for example with tr -d '\\000'.",
    "uneven_row": "the row has {value}; quote values that hold the separator.",
    "open_quote": "the quote before {value} is never closed; close it, or double quotes that are part of the text.",
    "bad_cell": "{value} is no JSON list of objects, as this format has it; export it again.",
    "bad_json": f"{{value}} is no JSON object; {JSON_REMEDY}.",
}
# Of one table: a path, a pattern such as `2024-*.csv`, or several of them.
Files: TypeAlias = Path | str | Sequence[Path | str]
Source: TypeAlias = Files | pl.DataFrame


@dataclass(frozen=True)
class Part:
    """One file of a table and where its rows begin in it."""

    path: Path
    rows_before: int


@dataclass(frozen=True)
class Table:
    """A raw table, the source row number (from 1) of each of its rows, and the rows that could not be read."""

    frame: pl.DataFrame
    rows: pl.Series
    faults: Mapping[str, Found] = field(default_factory=dict)  # by code of `FAULTS`
    notes: tuple[str, ...] = ()  # what reading found out about the file
    separator: str | None = None  # of a delimited file
    headerless: bool = False  # the columns are named by number, as no line names them
    parts: tuple[Part, ...] = ()  # its files; row numbers go on from one to the next


def whole_table(frame: pl.DataFrame, faults: Mapping[str, Found] | None = None) -> Table:
    """A table whose rows are numbered from 1; Python objects, which polars can do little with, are text as in JSON."""
    objects = [column.name for column in frame if column.dtype == pl.Object]
    frame = frame.with_columns(pl.Series(name, map(_written, frame[name]), dtype=pl.String) for name in objects)
    return Table(frame, pl.int_range(1, frame.height + 1, dtype=pl.UInt32, eager=True), faults or {})


def _written(cell: object) -> str | None:
    if isinstance(cell, list | dict):
        return json.dumps(cell, default=str, ensure_ascii=False)
    return None if cell is None else str(cell)


def load_table(files: Files, layout: Layout | None = None) -> Table:
    """Read the file, or the files that a pattern or a list names, as one table.

    Text gives every column as text (lists and objects of JSON as JSON), Parquet its own dtypes.
    """
    paths, layout = find_files(files), layout or Layout()
    _refuse_encoding(layout.encoding)
    tables = [_load(path, layout) for path in paths]
    return _together(paths, tables) if len(tables) > 1 else replace(tables[0], parts=(Part(paths[0], 0),))


def _refuse_encoding(name: str | None) -> None:
    try:
        "".encode(name or "utf-8")
    except LookupError as error:
        raise UsageError(
            f"--encoding {name} names no encoding of text; use one of Python's, such as cp1252, latin-1 or shift_jis."
        ) from error


# ---- which files ----


def find_files(files: Files) -> list[Path]:
    """The files of a table, in the order of their names where a pattern or a folder gives them."""
    if isinstance(files, str | Path):
        return _matching(files)
    if not files:
        raise NotFoundError("A table of no file cannot be read; name at least one.")
    return [path for part in files for path in _matching(part)]


def _matching(named: Path | str) -> list[Path]:
    path = Path(named)
    if path.is_dir():
        return _parts_of(path)
    if path.exists() or not glob.has_magic(str(named)):
        return [path]
    # A folder of that very name is no pattern.
    start = next(folder for folder in path.parents if folder.is_dir() or folder == folder.parent)
    found = sorted(match for match in start.glob(str(path.relative_to(start))) if match.is_file())
    if not found:
        raise NotFoundError(f"No file matches {named}; check the pattern.")
    return found


def _parts_of(folder: Path) -> list[Path]:
    """The files of a folder that holds nothing but the parts of one table, as Spark and others write it."""
    inside = sorted(path for path in folder.iterdir() if path.name[:1] not in "._" and path.name != "_SUCCESS")
    suffixes = {"".join(path.suffixes[-2:] if path.suffix in PACKINGS else path.suffixes[-1:]) for path in inside}
    if inside and len(suffixes) == 1 and all(path.is_file() for path in inside):
        suffix = suffixes.pop()
        if suffix.removesuffix(".gz").removesuffix(".zip") in SUFFIXES:
            return inside
    shown = ", ".join(path.name for path in inside[:5]) + (", ..." if len(inside) > 5 else "")
    raise InvalidDataError(
        f"{folder} is a folder (it holds {shown or 'nothing'}); name a file in it, or a pattern in quotes such as "
        f"'{folder}/*.csv'."
    )


def _together(paths: Sequence[Path], tables: Sequence[Table]) -> Table:
    """Several tables one below the other; what one lacks is null there."""
    frames = [table.frame for table in tables]
    names = list(dict.fromkeys(name for frame in frames for name in frame.columns))
    notes = list(dict.fromkeys(note for table in tables for note in table.notes))
    lacking = [
        f"{path.name} lacks {', '.join(missing)}"
        for path, frame in zip(paths, frames, strict=True)
        if (missing := [name for name in names if name not in frame.columns])
    ]
    if lacking:
        notes.append(f"the files differ in columns, and what one lacks is empty: {'; '.join(lacking[:5])}")
    first = tables[0]
    if any((table.separator, table.headerless) != (first.separator, first.headerless) for table in tables):
        first = replace(first, separator=None, headerless=False)
    try:
        how = "vertical" if all(frame.schema == frames[0].schema for frame in frames) else "diagonal_relaxed"
        frame = pl.concat(frames, how=how, rechunk=False)  # type: ignore[arg-type]
    except pl.exceptions.PolarsError as error:
        differing = next(name for name in names if len({f.schema[name] for f in frames if name in f.columns}) > 1)
        raise InvalidDataError(
            f"The files differ in what column {differing} holds ({brief(error)}); export them again in one form."
        ) from error
    parts, rows, faults, before = list[Part](), list[pl.Series](), dict[str, Found](), 0
    for path, table in zip(paths, tables, strict=True):
        parts.append(Part(path, before))
        rows.append((table.rows + before).cast(pl.UInt32))
        for code, found in table.faults.items():
            faults.setdefault(code, {}).update({before + row: value for row, value in found.items()})
        last = max([int(table.rows[-1]) if len(table.rows) else 0, *(max(f, default=0) for f in table.faults.values())])
        before += last
    return replace(first, frame=frame, rows=pl.concat(rows), faults=faults, notes=tuple(notes), parts=tuple(parts))


def lacks_header(files: Files) -> bool:
    """Whether the first of these files is delimited text whose first line looks like data."""
    with open_content(find_files(files)[0]) as content:
        if content.head.startswith(PARQUET) or _kind(content) != "delimited":
            return False
        return begins_with_data(content)


# ---- one file ----


def _load(path: Path, layout: Layout) -> Table:
    if path.is_file() and path.stat().st_size == 0:
        raise InvalidDataError(f"{path} is empty; give a file with a header and rows.")
    with open_content(path, layout.encoding if layout.encoding and not is_utf8(path) else None) as content:
        if content.head.startswith(PARQUET):
            return replace(_parquet(content), notes=tuple(content.notes))
        kind = _kind(content)
        if kind in SELF_NAMING:
            frame, faults, notes = SELF_NAMING[kind](content)
            return replace(whole_table(frame, faults), notes=(*content.notes, *notes))
        return _delimited(content, layout)


def _parquet(content: Content) -> Table:
    try:
        # The whole path: Arrow takes `file:x` and the like for a URL.
        source = io.BytesIO(b"".join(content.blocks)) if content.packed else content.path.absolute()
        schema = pq.read_schema(source)
        if isinstance(source, io.BytesIO):
            source.seek(0)
        if again := [name for name in dict.fromkeys(schema.names) if schema.names.count(name) > 1]:
            raise InvalidDataError(f"{content.path} names several columns {again[0]!r}; give each a name of its own.")
        wide = _wide_decimals(schema)
        frame = _from_arrow(source, wide) if wide else pl.read_parquet(source, glob=False, hive_partitioning=False)
        # Types of Arrow's extensions are read as what they are stored in.
        extended = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.BaseExtension)]
        return whole_table(frame.with_columns(frame[name].ext.storage().alias(name) for name in extended))
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError, pl.exceptions.PanicException) as error:
        message = f"{content.path} is no readable Parquet file ({brief(error)}); export it again."
        raise InvalidDataError(message) from error


def _wide_decimals(schema: pa.Schema) -> list[str]:
    """Columns of decimals of more digits than polars has."""
    wide = [field for field in schema if "decimal256" in str(field.type)]
    nested = next((field.name for field in wide if not pa.types.is_decimal256(field.type)), None)
    if nested is not None:
        raise InvalidDataError(
            f"Column {nested} holds decimals of more than 38 digits in lists or objects; write them with fewer."
        )
    return [field.name for field in wide]


def _from_arrow(source: io.BytesIO | Path, wide: Sequence[str]) -> pl.DataFrame:
    """A Parquet table with those columns as text."""
    table = pq.read_table(source, partitioning=None)
    for name in wide:
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(pa.string()))
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _kind(content: Content) -> str:
    """`json`, `xml`, `page` or `delimited`, by content; a suffix only decides where the content may be either."""
    path, suffix = content.path, content.suffix
    start = content.head[:4096].lstrip().lower()
    if start.startswith(b"<") and (suffix in MARKUP or re.match(rb"<(\?xml|!doctype|html|rss|feed)\b", start)):
        page = suffix in (".html", ".htm") or bool(re.match(rb"(<\?xml[^>]*>\s*)?<(!doctype )?html\b", start))
        if page and suffix not in (".html", ".htm", ""):
            raise InvalidDataError(
                f"{path} is a web page and no table, perhaps one to sign in; download the file itself again."
            )
        if suffix not in MARKUP:
            content.notes.append(f"{path.name} holds {'a web page' if page else 'XML'} and was read as such")
        return "page" if page else "xml"
    if suffix in MARKUP:
        raise InvalidDataError(f"{path} holds no {suffix[1:].upper()}; name it by what it holds.")
    if suffix == ".parquet":
        raise InvalidDataError(f"{path} is no readable Parquet file (it does not begin as one); export it again.")
    if suffix in JSON:
        if start[:1] not in (b"{", b"["):
            raise InvalidDataError(f"{path} holds no JSON object; {JSON_REMEDY}.")
        return "json"
    if is_json(content.head):
        content.notes.append(f"{path.name} holds JSON and was read as such")
        return "json"
    if suffix not in DELIMITED:
        text = content.head[: 1 << 16].decode("utf-8", errors="replace")
        separator, lines = find_separator(text, len(content.head) <= 1 << 16)
        if lines < 2 or "\x00" in text:
            shown = ", ".join(SUFFIXES)
            raise InvalidDataError(
                f"{path} has an unknown suffix and is not plainly a table; use one of {shown} (each also .gz or .zip)."
            )
        content.notes.append(f"{path.name} has no suffix of a table and was read as text separated by {separator!r}")
    return "delimited"


def _delimited(content: Content, layout: Layout) -> Table:
    frame, faults, beginning = read_delimited(content, layout)
    rows = pl.int_range(1, frame.height + 1, dtype=pl.UInt32, eager=True)
    if frame.height:
        blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
        faulty = pl.Series([row for found in faults.values() for row in found], dtype=pl.UInt32)
        kept = ~blank | rows.is_in(faulty.implode())
        frame, rows = filtered(frame, kept), rows.filter(kept)
        again = headers_again(frame)
        if again.any():
            beginning.notes.append(f"{again.sum()} rows only repeat the header and were left out")
            frame, rows = filtered(frame, ~again), rows.filter(~again)
        frame = tidied(plain_cells(frame, beginning.notes), beginning.notes)
        if is_underline(frame):
            beginning.notes.append("the line below the header only underlines it and was left out")
            frame, rows = frame[1:], rows[1:]
        if (word := sum_row(frame)) is not None:
            beginning.notes.append(f"the last row ({word!r}) sums up the others and was left out")
            frame, rows = frame[:-1], rows[:-1]
    notes = (*content.notes, *beginning.notes)
    return Table(frame, rows, faults, notes, beginning.separator, beginning.headerless)

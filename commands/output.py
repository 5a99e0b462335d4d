"""What the commands write: results on stdout as text or JSON, everything else on stderr."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from io import StringIO
from operator import attrgetter
from typing import Any, NoReturn, TextIO, TypeAlias

from ..results import SCHEMA_VERSION, jsonable
from .plain import escaped_json, visible, visible_lines
from .streams import ResultLostError, drop_result

# Headers of a table to what stands below them: an attribute of each record, as `counts.spokes`, or a function of it.
Columns: TypeAlias = Mapping[str, str | Callable[[Any], object]]
_WIDEST = 100_000  # a table is as wide as its content, whatever the terminal is
_WIDEST_CELL = 300  # of one value in a table; `--json` has it whole


def write(text: str) -> None:
    """A line or more on stdout, as they are."""
    try:
        _write_line(sys.stdout, text)
    except OSError as error:
        raise ResultLostError(error) from error


def write_text(text: str) -> None:
    """A result on stdout for people."""
    write(visible_lines(text))


def write_json(content: Any, indent: int | None = None) -> None:
    """A JSON document on stdout; in ASCII where not every encoding of stdout has all letters."""
    every_letter = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    write(escaped_json(json.dumps(content, indent=indent, ensure_ascii=not every_letter)))


def tell(text: str) -> None:
    """Something on stderr for people, if anybody is there to read it."""
    with suppress(OSError):
        _write_line(sys.stderr, visible_lines(text))


def _write_line(stream: TextIO | None, text: str) -> None:
    # Not by click, which takes a stream in ASCII for a mistake and writes UTF-8 to it.
    if stream is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    stream.write(f"{text}\n")
    stream.flush()


def print_json(content: Mapping[str, Any]) -> None:
    """A result on stdout as JSON, with the version of its form."""
    write_json({"schema_version": SCHEMA_VERSION, **jsonable(content)}, indent=2)


def end(kind: str, message: str, exit_code: int, as_json: bool, **more: Any) -> NoReturn:
    """End the process: an error in one line on stderr, and as JSON on stdout if asked for."""
    tell(f"Error: {visible(message)}")
    end_in_json(kind, message, exit_code, as_json, **more)


def end_in_json(kind: str, message: str, exit_code: int, as_json: bool, **more: Any) -> NoReturn:
    """End the process after an error that stderr was told already."""
    try:
        if as_json:
            print_json({"error": {"type": kind, "message": message, "exit_code": exit_code, **more}})
    except ResultLostError:
        drop_result()
    sys.exit(exit_code)


def cell(value: object) -> str:
    """One value of a table as text."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value)) or "-"
    return visible(str(value))


def fitted(text: str, widest: int) -> str:
    """A text that takes at most `widest` columns of a terminal; what is cut off leaves a mark."""
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= widest else set_cell_size(text, widest - 1).rstrip() + "…"


def table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "nothing yet", widest: int = _WIDEST_CELL
) -> str:
    """Rows under headers in aligned columns, numbers to the right, plain text; `empty` where there are no rows.

    A value that takes more than `widest` columns of a terminal is shortened.
    """
    given = [tuple(row) for row in rows]
    if not given:
        return empty
    # Only text needs rich: --json and errors do not wait for it.
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    named = [visible(header) for header in headers]
    texts = [[fitted(cell(value), widest) for value in row] for row in given]
    rules = ["-" * max(map(cell_len, column)) for column in zip(named, *texts, strict=True)]
    grid = Table.grid(padding=(0, 2, 0, 0))
    for column in zip(*given, strict=True):
        numeric = all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in column)
        grid.add_column(justify="right" if numeric else "left", no_wrap=True)
    for line in (named, rules, *texts):
        grid.add_row(*map(Text, line))
    stream = StringIO()
    Console(file=stream, width=_WIDEST, color_system=None).print(grid)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def records_table(records: Sequence[Any], columns: Columns, empty: str = "nothing yet") -> str:
    """A row for each record."""
    cells = [attrgetter(column) if isinstance(column, str) else column for column in columns.values()]
    return table(tuple(columns), [[cell(record) for cell in cells] for record in records], empty)


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values, one a line; a value of None is left out."""
    known = [(name, cell(value)) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in known)

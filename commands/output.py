"""What the commands write: results on stdout as text or JSON, everything else on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from io import StringIO
from operator import attrgetter
from typing import Any, TypeAlias

import click

from ..results import SCHEMA_VERSION, jsonable

# Headers of a table to what stands below them: an attribute of each record, as `counts.spokes`, or a function of it.
Columns: TypeAlias = Mapping[str, str | Callable[[Any], object]]
_WIDEST = 100_000  # a table is as wide as its content, whatever the terminal is


def print_json(content: Mapping[str, Any]) -> None:
    """A result on stdout as JSON, with the version of its form."""
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **jsonable(content)}, indent=2, ensure_ascii=False))


def print_error(kind: str, message: str, exit_code: int, **more: Any) -> None:
    """An error on stdout as JSON."""
    print_json({"error": {"type": kind, "message": message, "exit_code": exit_code, **more}})


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
    return str(value)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "nothing yet") -> str:
    """Rows under headers in aligned columns, numbers to the right, plain text; `empty` where there are no rows."""
    given = [tuple(row) for row in rows]
    if not given:
        return empty
    # Only text needs rich: --json and errors do not wait for it.
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    texts = [[cell(value) for value in row] for row in given]
    rules = ["-" * max(map(cell_len, column)) for column in zip(headers, *texts, strict=True)]
    grid = Table.grid(padding=(0, 2, 0, 0))
    for column in zip(*given, strict=True):
        numeric = all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in column)
        grid.add_column(justify="right" if numeric else "left", no_wrap=True)
    for line in (headers, rules, *texts):
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

"""What the commands write: results on stdout as text or JSON, everything else on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from ..results import jsonable

SCHEMA_VERSION = 1


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
    """Rows under headers in aligned columns, numbers to the right; `empty` where there are no rows."""
    given = [list(row) for row in rows]
    if not given:
        return empty
    texts = [[cell(value) for value in row] for row in given]
    columns = list(zip(headers, *texts, strict=True))
    widths = [max(len(text) for text in column) for column in columns]
    right = [all(_is_number(row[i]) for row in given) for i in range(len(headers))]
    lines = [list(headers), ["-" * width for width in widths], *texts]
    return "\n".join(_line(line, widths, right) for line in lines)


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values, one a line; a value of None is left out."""
    known = [(name, cell(value)) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in known)


def waterfall(steps: Iterable[Mapping[str, Any]]) -> str:
    """Rows left after each step, with sessions and users where they are counted."""
    rows = [(s["name"], s["rows_in"], s["rows_out"], s.get("sessions"), s.get("users")) for s in steps]
    return table(("step", "rows in", "rows out", "sessions", "users"), rows, "no steps")


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _line(texts: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells = (t.rjust(w) if r else t.ljust(w) for t, w, r in zip(texts, widths, right, strict=True))
    return "  ".join(cells).rstrip()

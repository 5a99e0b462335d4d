"""The line that names the columns of a delimited file: its names made usable, and whether there is one at all."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

SAMPLE = 100
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)*([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}( .*)?")
# Byte order marks of files that were put together, and blanks without width.
UNSEEN = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060"))
_AGAIN = re.compile(r" \(\d+\)$")


def column_names(cells: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names that differ, without outer blanks, and notes on those that the header does not hold so."""
    names: list[str] = []
    notes: list[str] = []
    for number, cell in enumerate(cells, start=1):
        plain = " ".join(cell.translate(UNSEEN).split()) or unnamed(number)
        name, times = plain, 1
        while name in names:
            times += 1
            name = f"{plain} ({times})"
        if times > 1:
            notes.append(f"the header names {plain!r} more than once; column {number} is called {name!r}")
        names.append(name)
    return names, notes


def unnamed(number: int) -> str:
    """What a column is called whose header cell is empty."""
    return f"column {number}"


def numbered(width: int) -> list[str]:
    """Names of columns that no line names."""
    return [str(number) for number in range(1, width + 1)]


def looks_headerless(frame: pl.DataFrame) -> bool:
    """Whether the names of the columns look like values: the first line is data, or no line names the columns."""
    if frame.columns == numbered(frame.width):
        return True
    sample = frame.head(SAMPLE)
    return any(
        _is_value(_AGAIN.sub("", name), [str(value) for value in sample[name].to_list() if value is not None])
        for name in frame.columns
    )


def is_data(first: Sequence[str], rows: Sequence[Sequence[str | None]]) -> bool:
    """Whether a first line is so surely one of data that it need not be asked: its cells look like those below."""
    measures = [cell for cell in first if _is_measure(cell)]
    if len(first) < 2 or len(measures) * 2 < len(first):
        return False
    columns = [[row[at] for row in rows if at < len(row)] for at in range(len(first))]
    if len(measures) - len(set(measures)) > 2:
        # Names are not repeated again and again; words beside them may be of that row alone.
        pairs = zip(first, columns, strict=True)
        return all(_is_value(cell, [value for value in values if value]) for cell, values in pairs if _is_measure(cell))
    return all(
        _is_value(cell, [value for value in values if value]) if cell else None in values or "" in values
        for cell, values in zip(first, columns, strict=True)
    )


def _is_measure(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell.strip()) or _DATE.fullmatch(cell.strip()))


def _is_value(cell: str, values: Sequence[str]) -> bool:
    """Whether a cell is a number or a date like all values of its column, or a word that is found there again."""
    return cell in values or (_is_measure(cell) and all(map(_is_measure, values)))

"""What delimited tables hold beside their rows: empty columns, sums, lines that repeat or underline the header."""

from __future__ import annotations

import re

import polars as pl

from .delimited import SUMS
from .headers import unnamed

# `="0012"`, as files for spreadsheets write a text.
FORMULA = r'^="(.*)"$'
UNDERLINE = re.compile(r"[-=+]{3,}:?|:-{2,}:?")


def tidied(frame: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """The table without columns that hold nothing and have no name, or that only count its rows."""
    gone = [
        name
        for number, name in enumerate(frame.columns, start=1)
        if name == unnamed(number) and frame[name].null_count() == frame.height
    ]
    first = frame.columns[0]
    if first in (unnamed(1), "Unnamed: 0") and frame.width > 1 and first not in gone and frame.height:
        counted = pl.int_range(frame.height, eager=True).cast(pl.String)
        if frame[first].equals(counted, check_names=False):
            gone.append(first)
            notes.append("the first column only counts the rows and was left out")
    for number, name in enumerate(frame.columns, start=1):
        if name == unnamed(number) and name not in gone:
            notes.append(f"the header does not name column {number}; it is called {name!r}")
    return frame.drop(gone)


def plain_cells(frame: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """The table with texts in place of formulas that only hold one."""
    marked = [name for name in frame.columns if frame[name].str.starts_with('="').any()]
    if not marked:
        return frame
    found = frame.select(pl.col(marked).str.contains(FORMULA).fill_null(False))
    count = int(found.sum().sum_horizontal()[0])
    if count:
        first = next(name for name in marked if found[name].any())
        shown = frame[first].filter(found[first])[0]
        notes.append(f"{count} cells are formulas of a spreadsheet such as {shown}; they were read as the text in them")
    return frame.with_columns(pl.col(marked).str.replace(FORMULA, "$1"))


def headers_again(frame: pl.DataFrame) -> pl.Series:
    """Rows that repeat the names of the columns, as where files with a header each were put together."""
    first = frame.columns[0]
    # Looked at first, as nothing of a long table should be copied for it.
    again = frame[first].str.contains(rf"^\s*{re.escape(first)}\s*$").fill_null(False)
    if frame.width < 2 or not again.any():
        return again & False
    same = [
        (pl.col(name).str.strip_chars() == name).fill_null(name == unnamed(n))
        for n, name in enumerate(frame.columns, 1)
    ]
    return frame.select(pl.all_horizontal(same)).to_series()


def sum_row(frame: pl.DataFrame) -> str | None:
    """The first cell of the last row if that is one of totals below the table."""
    if frame.height < 3 or frame.width < 2:
        return None
    last = frame.row(-1)
    word = str(last[0] or "").strip().rstrip(":").lower()
    return str(last[0]) if word in SUMS and None in last[1:] else None


def is_underline(frame: pl.DataFrame) -> bool:
    """Whether the first row only underlines the header, as databases and Markdown print it."""
    cells = [str(cell) for cell in frame.row(0) if cell] if frame.height else []
    return len(cells) > 1 and all(UNDERLINE.fullmatch(cell.strip()) for cell in cells)

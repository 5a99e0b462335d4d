"""What a format is: how it is recognised, and how its table becomes one of canonical columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from ...errors import InvalidDataError
from ..layout import Layout
from ..schema import Kind
from ..tables import Table
from ..validation import Step


@dataclass(frozen=True)
class Shaped:
    """A table one row an item or event, what canonical columns it has under their own names, and how it came about.

    Columns of other names become attributes. `table.rows` names the source row that each row begins at. Values stay
    raw: text, numbers or lists of text that are parsed afterwards as those of any other table.
    """

    table: Table
    sources: Mapping[str, str]  # canonical column to what it was read from, in words
    notes: tuple[str, ...] = ()  # what else a reader should know
    steps: tuple[Step, ...] = ()  # rows before and after: folded, exploded, left out


class Feed(ABC):
    """A format of items or of events. It is told by the names of the columns, and by values where these do not do."""

    name: ClassVar[str]  # as in `--format`
    kind: ClassVar[Kind]
    title: ClassVar[str]  # what it is: `Shopify product export (CSV)`
    export: ClassVar[str]  # where a merchandiser finds it: `Admin > Products > Export`
    reads: ClassVar[Mapping[str, str]]  # canonical column to what it is read from, in words

    @abstractmethod
    def matches(self, table: Table) -> bool:
        """Whether the table is of this format; it must be true of no table of another one."""

    @abstractmethod
    def shape(self, table: Table, layout: Layout) -> Shaped:
        """The table in canonical columns; `InvalidDataError` where a column is missing that nothing can replace."""

    def require(self, table: Table, columns: Iterable[str]) -> None:
        """Refuse a table that lacks one of the columns, which a format asked for by name may do."""
        missing = [name for name in columns if name not in table.frame.columns]
        if missing:
            raise InvalidDataError(
                f"Format {self.name} reads {', '.join(missing)}, which the table lacks; it has "
                f"{', '.join(table.frame.columns)}. Choose another --format, or generic to read columns as they stand."
            )


def has(table: Table, *columns: str) -> bool:
    """Whether the table has all of these columns, by their exact names."""
    return set(columns) <= set(table.frame.columns)


def decoded(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """A column of lists or objects in `dtype`, from JSON text (as tables of text hold it) or from nested Parquet.

    Fields that `dtype` lacks are left aside and those that the column lacks are null; what is no such JSON is null.
    """
    if column.dtype != pl.String:
        return column.cast(dtype, strict=False) if column.dtype == pl.Null else _aligned(column, dtype)
    try:
        return column.str.json_decode(dtype)
    except pl.exceptions.PolarsError:
        # One broken cell must not cost the others: row by row.
        return pl.concat([_one(column.slice(row, 1), dtype) for row in range(len(column))] or [column.cast(dtype)])


def _one(cell: pl.Series, dtype: pl.DataType) -> pl.Series:
    try:
        return cell.str.json_decode(dtype)
    except pl.exceptions.PolarsError:
        return pl.Series(cell.name, [None], dtype=dtype)


def _aligned(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Nested values through Python, as no cast of polars drops or adds fields."""
    return pl.Series(column.name, [_fit(value, dtype) for value in column.to_list()], dtype=dtype, strict=False)


def _fit(value: object, dtype: pl.DataType) -> object:
    if isinstance(dtype, pl.List):
        inner = dtype.inner
        assert isinstance(inner, pl.DataType)
        return [_fit(part, inner) for part in value] if isinstance(value, list) else None
    if isinstance(dtype, pl.Struct):
        given = value if isinstance(value, dict) else {}
        return {f.name: _fit(given.get(f.name), f.dtype) for f in dtype.fields if isinstance(f.dtype, pl.DataType)}
    return None if value is None or isinstance(value, list | dict) else value

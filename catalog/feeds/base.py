"""What a format is: how it is recognised, and how its table becomes one of canonical columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import polars as pl
from polars.datatypes import DataTypeClass

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

    def reframed(self, frame: pl.DataFrame, **sources: str) -> Shaped:
        """The same rows with other columns, and what the named ones were read from."""
        return replace(self, table=replace(self.table, frame=frame), sources={**self.sources, **sources})


class Feed(ABC):
    """A format of items or of events. It is told by the names of the columns, and by values where these do not do."""

    name: ClassVar[str]  # as in `--format`
    kind: ClassVar[Kind]
    title: ClassVar[str]  # what it is: `Shopify product export (CSV)`
    export: ClassVar[str]  # where a merchandiser finds it: `Admin > Products > Export`
    encoding: ClassVar[str | None] = None  # of its files where they are no UTF-8
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
    if column.dtype == pl.String:
        # Polars takes cells for lines: blank ones would get lost, and line breaks make two of one.
        lines = column.str.replace_all(r"[\r\n]+", " ").str.strip_chars()
        return _decoded_text(lines.set((lines == "").fill_null(False), None), dtype)
    # Named for itself: fields of structs may bear any name.
    frame = column.alias("column").to_frame().with_columns(fitted=_fitted(pl.col("column"), column.dtype, dtype))
    return frame["fitted"].alias(column.name)


def _decoded_text(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    try:
        found = column.str.json_decode(dtype)
    except pl.exceptions.PolarsError:
        found = None
    if found is not None and len(found) == len(column):
        return found
    if len(column) == 1:
        return pl.Series(column.name, [None], dtype=dtype)
    # One broken cell must not cost the others: it is looked for by halving.
    middle = len(column) // 2
    return pl.concat([_decoded_text(part, dtype) for part in (column.slice(0, middle), column.slice(middle))])


def _fitted(expr: pl.Expr, given: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    """Nested values with exactly the wanted fields, which no cast of polars adds or drops."""
    if isinstance(wanted, pl.List):
        # BigQuery and Spark may wrap a list into {"list": [{"element": ...}]}.
        expr, given = _unwrapped(expr, given, "list")
        if not isinstance(given, pl.List | pl.Array):
            return pl.lit(None, dtype=wanted)
        lists = expr.arr.to_list() if isinstance(given, pl.Array) else expr
        element, inner = _unwrapped(pl.element(), _inner(given), "element", "item")
        return lists.list.eval(_fitted(element, inner, _inner(wanted)))
    if isinstance(wanted, pl.Struct):
        own = _fields(given)
        fields = {
            name: _fitted(expr.struct.field(name), own[name], dtype) if name in own else pl.lit(None, dtype=dtype)
            for name, dtype in _fields(wanted).items()
        }
        return pl.struct([field.alias(name) for name, field in fields.items()])
    return pl.lit(None, dtype=wanted) if given.is_nested() else expr.cast(wanted, strict=False)


def _unwrapped(expr: pl.Expr, dtype: pl.DataType, *names: str) -> tuple[pl.Expr, pl.DataType]:
    """What an object holds that has only the one field, of such a name."""
    fields = _fields(dtype)
    name = next(iter(fields), "")
    return (expr.struct.field(name), fields[name]) if len(fields) == 1 and name in names else (expr, dtype)


def _fields(dtype: pl.DataType) -> dict[str, pl.DataType]:
    return {field.name: _made(field.dtype) for field in dtype.fields} if isinstance(dtype, pl.Struct) else {}


def _inner(dtype: pl.List | pl.Array) -> pl.DataType:
    return _made(dtype.inner)


def _made(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()

"""What formats share on the way to canonical columns: renaming, event types, lists with a row each, amounts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import polars as pl

from ..event_words import squeezed
from ..headers import numbered
from ..layout import SKIP, Layout
from ..parsing import numbers, text
from ..schema import SCHEMAS, Kind
from ..tables import Table
from ..validation import Step
from .base import Feed, Shaped, decoded

NAMED = 8  # kinds of events that a note names; it counts the rest


class Renamed(Feed):
    """A format one row an item or event, whose columns `reads` names as they stand."""

    lacks: ClassVar[tuple[str, ...]] = ()  # canonical columns that a table of the format may lack
    words: ClassVar[Mapping[str, str]] = {}  # a word of the file to an event type, or to `skip`
    event_type: ClassVar[str | None] = None  # of all events of the format
    aside: ClassVar[tuple[str, ...]] = ()  # columns that are no attributes either

    def matches(self, table: Table) -> bool:
        """Whether all columns are there that the format always has."""
        return set(self.needed()) <= set(table.frame.columns)

    def needed(self) -> list[str]:
        """Columns of the file that it always has."""
        return [source for name, source in self.columns().items() if name not in self.lacks]

    def columns(self) -> dict[str, str]:
        """What is read from a column of the file."""
        constant = () if self.event_type is None else ("event_type",)
        return {name: source for name, source in self.reads.items() if name not in constant}

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """The columns under their canonical names; events get their types."""
        self.require(table, self.needed())
        shaped = self.renamed(table, {n: s for n, s in self.columns().items() if s in table.frame.columns})
        if self.event_type is not None:
            typed = shaped.table.frame.with_columns(event_type=pl.lit(self.event_type))
            return shaped.reframed(typed, event_type=self.reads["event_type"])
        return with_event_types(shaped, self.words, layout) if "event_type" in shaped.sources else shaped

    def renamed(self, table: Table, columns: Mapping[str, str]) -> Shaped:
        """Canonical columns read from `columns`; others stay as attributes under names that mean nothing else."""
        used = {*columns.values(), *self.aside}
        rest = [name for name in table.frame.columns if name not in used and name not in SCHEMAS[self.kind]]
        frame = table.frame.select(*(pl.col(source).alias(name) for name, source in columns.items()), *rest)
        return Shaped(Table(frame, table.rows), columns)


def beside(made: Table, table: Table, kind: Kind, used: Iterable[str]) -> Table:
    """Rows made of a table with those of its columns that were not used, as the source row of each has them."""
    taken = {*used, *SCHEMAS[kind], *made.frame.columns}
    begins = table.rows.search_sorted(made.rows)
    rest = [table.frame[name].gather(begins) for name in table.frame.columns if name not in taken]
    return replace(made, frame=made.frame.with_columns(rest))


def meanings(names: pl.Series, words: Mapping[str, str], layout: Layout) -> dict[str, str]:
    """Event type, or `skip`, by name of the file, as the format means it unless the layout says otherwise."""
    own = {**words, **layout.event_types}
    plain = squeezed(pl.Series(list(own), dtype=pl.String))
    known = dict(zip(plain, own.values(), strict=True))
    given = names.drop_nulls().unique(maintain_order=True)
    return {name: known[word] for name, word in zip(given, squeezed(given), strict=True) if word in known}


def with_event_types(shaped: Shaped, words: Mapping[str, str], layout: Layout) -> Shaped:
    """Event types for the words of the file, without the events whose word means `skip`; other words stay."""
    frame = shaped.table.frame
    names = text(frame["event_type"])
    known = meanings(names, words, layout)
    types = names.replace(list(known), list(known.values()))
    keep = (types != SKIP).fill_null(True)
    left = Table(frame.with_columns(types.alias("event_type")).filter(keep), shaped.table.rows.filter(keep))
    if keep.all():
        return replace(shaped, table=left)
    note = f"left out: {counted(names.filter(~keep))} (--event-types WORD=TYPE keeps them)"
    step = Step("events of other kinds left out", frame.height, left.frame.height)
    return replace(shaped, table=left, notes=(*shaped.notes, note), steps=(*shaped.steps, step))


def counted(names: pl.Series) -> str:
    """`12 x scroll, 3 x page_view`, most frequent first."""
    found = names.fill_null("(no name)").alias("name").value_counts().sort(["count", "name"], descending=[True, False])
    parts = [f"{count} x {name}" for name, count in found.head(NAMED).iter_rows()]
    others = int(found["count"].slice(NAMED).sum())
    return ", ".join(parts + [f"{others} of other names"] * (others > 0))


def exploded(table: Table, column: str, dtype: pl.List) -> tuple[Table, Step]:
    """A row for each object of the lists in a column, its fields beside the other columns; empty lists give none.

    A cell that holds no such list is a fault of its row.
    """
    lists = decoded(table.frame[column], dtype)
    frame = table.frame.with_columns(lists.alias(column), table.rows.alias("source row"))
    full = frame.filter(pl.col(column).list.len() > 0).explode(column).unnest(column)
    made = Table(full.drop("source row"), full["source row"], {"bad_cell": unread(table, column, lists)})
    return made, Step(f"{column}, a row each", table.frame.height, full.height)


def unread(table: Table, column: str, lists: pl.Series) -> dict[int, str | None]:
    """The cells of a column that held something and gave no list, by their source row."""
    raw = table.frame[column]
    lost = raw.is_not_null() & lists.is_null()
    if raw.dtype != pl.String or not lost.any():
        return {}
    lost &= raw.str.strip_chars() != ""
    return dict(zip(table.rows.filter(lost), raw.filter(lost).str.head(80), strict=True))


def amounts(price: pl.Series, quantity: pl.Series) -> pl.Series:
    """What each line cost, one piece where no quantity is given; a price that is no number stays, to be reported."""
    (each, wrong), (pieces, _) = numbers(price), numbers(quantity)
    total = each * pieces.fill_null(1)
    return text(price).zip_with(wrong, total.cast(pl.String)) if wrong.any() else total


def named(table: Table, names: Sequence[str]) -> Table:
    """The table with names for columns that no line names, the first ones in order."""
    known = numbered(len(names))
    if not table.headerless or not set(known) <= set(table.frame.columns):
        return table
    return replace(table, frame=table.frame.rename(dict(zip(known, names, strict=True))))


def looks_like(column: pl.Series, pattern: str) -> bool:
    """Whether the first values of a column are all written so; how a table without header line is told."""
    first = text(column.head(100)).drop_nulls()
    return len(first) > 0 and bool(first.str.contains(f"^(?:{pattern})$").all())

"""What formats of shops share: columns found however their names are written, prices on sale, rows folded to one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl

from .. import parsing
from ..layout import Layout
from ..schema import ATTRIBUTES
from ..tables import Table

JOINED = "; "  # between the values of rows that became one


def plain(name: str) -> str:
    """A column name in lower case, words with one blank between: `Body (HTML)` and `body_html` are `body html`."""
    return " ".join(re.findall(r"[^\W_]+", name.lower()))


class Fields:
    """The columns of a table by their plain names; what no field was read from becomes attributes."""

    def __init__(self, table: Table) -> None:
        self.frame = table.frame
        self.names = {plain(name): name for name in reversed(table.frame.columns)}
        self.read: set[str] = set()

    def name(self, *names: str) -> str | None:
        """The column of the first of these plain names that the table has."""
        return next((self.names[name] for name in names if name in self.names), None)

    def has(self, *names: str) -> bool:
        """Whether the table has one of these."""
        return self.name(*names) is not None

    def text(self, *names: str) -> pl.Series:
        """The text of the first of these that the table has, or nulls."""
        column = self.name(*names)
        if column is None:
            return nulls(self.frame.height)
        self.read.add(column)
        return parsing.text(self.frame[column])

    def first(self, *names: str) -> pl.Series:
        """In each row the first of these that holds something."""
        found = [self.text(name) for name in names if name in self.names]
        return pl.select(pl.coalesce(found)).to_series() if found else nulls(self.frame.height)

    def drop(self, *patterns: str) -> None:
        """Leave columns aside whose plain names are of a pattern: they say nothing about an item."""
        for name, column in self.names.items():
            if any(re.fullmatch(pattern, name) for pattern in patterns):
                self.read.add(column)

    def rest(self, layout: Layout, taken: Collection[str]) -> list[str]:
        """Columns to keep by their own names: that nothing was read from, and that the caller maps by hand."""
        left = [n for n in self.frame.columns if n not in self.read and self.frame[n].null_count() < self.frame.height]
        asked = [name for name in layout.claimed.values() if name in self.frame.columns]
        return [name for name in dict.fromkeys([*left, *asked]) if name not in taken]


def nulls(height: int) -> pl.Series:
    """A column of text with nothing in it."""
    return pl.Series([None], dtype=pl.String).new_from_index(0, height)


def constant(text: str, height: int) -> pl.Series:
    """A column of that text."""
    return pl.Series([text], dtype=pl.String).new_from_index(0, height)


def words(fields: Fields, reads: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Canonical column to the columns that it is read from, of those that the table has."""
    found = {name: [fields.names[own] for own in columns if own in fields.names] for name, columns in reads.items()}
    return {name: ", else ".join(columns) for name, columns in found.items() if columns}


def on_sale(price: pl.Series, sale: pl.Series, starts: pl.Series, ends: pl.Series, now: datetime) -> pl.Series:
    """The price, or the sale price where there is one beside it and `now` is within its dates."""
    from_, until = (parsing.timestamps(column) for column in (starts, ends))
    # A sale that ends on a day lasts through it.
    last = pl.select(
        pl.when(until.values.dt.time() == datetime.min.time())
        .then(until.values + timedelta(days=1))
        .otherwise(until.values)
    ).to_series()
    begun = (starts.is_null() | (from_.values <= now)).fill_null(False)
    lasting = (ends.is_null() | (last > now)).fill_null(False)
    return sale.zip_with(sale.is_not_null() & price.is_not_null() & begun & lasting, price)


def lowest(group: pl.Series, prices: pl.Series) -> pl.DataFrame:
    """The row of the lowest price in each group: columns `group`, `row`, `price`; prices stay as they are written.

    A price that is no number goes before all, so that reading it names it.
    """
    values, bad = parsing.numbers(prices)
    frame = pl.DataFrame({"group": group, "price": prices, "value": values, "bad": bad}).with_row_index("row")
    order = frame.filter(pl.col("price").is_not_null()).sort(["bad", "value"], descending=[True, False])
    return order.unique("group", keep="first", maintain_order=True).select("group", "row", "price")


def joined(column: str) -> pl.Expr:
    """The different values of a group in one text."""
    return pl.col(column).drop_nulls().unique(maintain_order=True).str.join(JOINED).replace("", None)


def pairs(columns: Sequence[tuple[pl.Series, pl.Series]], height: int) -> pl.Series:
    """(height,) lists of key and value from columns of keys and of values; nulls are left out."""
    if not columns:
        return pl.Series([[]], dtype=ATTRIBUTES).new_from_index(0, height)
    structs = [pl.DataFrame({"key": key, "value": value}).to_struct() for key, value in columns]
    lists = pl.select(pl.concat_list(structs)).to_series()
    whole = pl.element().struct.field("key").is_not_null() & pl.element().struct.field("value").is_not_null()
    return lists.list.eval(pl.element().filter(whole)).cast(ATTRIBUTES)


def states(column: pl.Series, known: Mapping[str, bool]) -> pl.Series:
    """Words as `true` and `false`; an unknown one stays as it is, so that reading it names it."""
    plain_words = column.str.to_lowercase().str.replace_all(r"[\s_\-]+", " ")
    texts = {word: "true" if value else "false" for word, value in known.items()}
    return plain_words.replace_strict(list(texts), list(texts.values()), default=column, return_dtype=pl.String)


def truths(column: pl.Series) -> pl.Series:
    """Words for yes and no as `true` and `false`; an unknown one stays as it is."""
    values = parsing.booleans(column)[0].cast(pl.String)
    return values.zip_with(values.is_not_null(), column)


def all_of(*columns: pl.Series) -> pl.Series:
    """`false` where one is, else a word that is neither, else `true` where one is, else null."""
    frame = pl.DataFrame({str(i): column for i, column in enumerate(columns)})
    odd = [pl.when(~pl.col(name).is_in(["true", "false"])).then(pl.col(name)) for name in frame.columns]
    no = pl.any_horizontal(pl.all() == "false").fill_null(False)
    return frame.select(
        pl.when(no).then(pl.lit("false")).otherwise(pl.coalesce(*odd, *frame.columns)).alias("available")
    ).to_series()

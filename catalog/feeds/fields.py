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


def spaced(name: str) -> str:
    """A column name in lower case, words with one blank between: `Body (HTML)` and `body_html` are `body html`.

    The words of a format are told apart (`attribute 1 name`), which a guess by `guessing.plain` must not do.
    """
    return " ".join(re.findall(r"[^\W_]+", name.lower()))


class Fields:
    """The columns of a table by their plain names; what no field was read from becomes attributes."""

    def __init__(self, table: Table, prefix: str = "") -> None:
        self.frame = table.frame
        # Of two names that are plainly the same the first counts, and those with the prefix before all others.
        names = {spaced(name): name for name in reversed(table.frame.columns)}
        named = {own.removeprefix(f"{prefix} "): name for own, name in names.items() if own.startswith(f"{prefix} ")}
        self.names = {**names, **named}
        # Feeds may write `title` in one item and `g:title` in the next.
        self.bare = names if named else {}
        self.read: set[str] = set()
        self.left: dict[str, pl.Series] = {}

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
            return parsing.nulls(self.frame.height)
        self.read.add(column)
        found = parsing.text(self.frame[column])
        bare = next((self.bare[name] for name in names if self.names.get(name) == column and name in self.bare), column)
        if bare == column or not found.null_count():
            return found
        self.read.add(bare)
        return found.zip_with(found.is_not_null(), parsing.text(self.frame[bare]))

    def raw(self, name: str) -> pl.Series:
        """That column as it is, or nulls."""
        if name not in self.names:
            return parsing.nulls(self.frame.height)
        self.read.add(self.names[name])
        return self.frame[self.names[name]]

    def first(self, *names: str) -> pl.Series:
        """In each row the first of these that holds something."""
        found = [self.text(name) for name in names if name in self.names]
        return pl.select(pl.coalesce(found)).to_series() if found else parsing.nulls(self.frame.height)

    def drop(self, *patterns: str) -> None:
        """Leave columns aside whose plain names are of a pattern: they say nothing about an item."""
        for name, column in self.names.items():
            if any(re.fullmatch(pattern, name) for pattern in patterns):
                self.read.add(column)

    def leave(self, name: str, rows: pl.Series) -> None:
        """Keep a field that was read as an attribute too, in these rows, where it says something else."""
        if name in self.names and rows.any():
            column = self.names[name]
            self.left[column] = parsing.text(self.frame[column]).set(~rows.fill_null(False), None)

    def rest(self, layout: Layout, taken: Collection[str]) -> dict[str, pl.Series]:
        """Columns to keep by their own names: that nothing was read from, and that the caller maps by hand."""
        asked = [name for name in layout.claimed.values() if name in self.frame.columns]
        unread = [name for name in self.frame.columns if name not in self.read]
        kept = {name: self.frame[name] for name in dict.fromkeys([*unread, *asked])}
        columns = {**self.left, **kept}
        some = (name for name in columns if name in asked or columns[name].null_count() < self.frame.height)
        return {name: columns[name] for name in some if name not in taken}


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
    plain_words = column.str.to_lowercase().str.replace_all(r"([a-z])[\s_\-]+", "$1 ")
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


def addresses(column: pl.Series) -> pl.Series:
    """Lists of addresses from JSON lists or from text of several; commas inside of them mean nothing."""
    split = column.str.replace_all(r"[\s,;|]+(https?://)", "\x1f$1").str.split("\x1f")
    listed = column.str.starts_with("[").fill_null(False)
    return parsing.string_lists(column, ()).zip_with(listed, split) if listed.any() else split


def sentences(*parts: pl.Series) -> pl.Series:
    """Lists of text as one text of sentences."""
    listed = pl.select(pl.concat_list(parts)).to_series().list.eval(pl.element().str.strip_chars())
    some = listed.list.eval(pl.element().filter(pl.element().is_not_null() & (pl.element() != "")))
    closed = some.list.eval(pl.element().str.replace(r"([^.!?:;…])$", "$1."))
    text = closed.list.join(" ")
    return text.set((text == "").fill_null(False), None)


def deepest(column: pl.Series, separator: str, inner: str) -> tuple[pl.Series, pl.Series]:
    """The first of the longest paths of each cell as a list, and where a cell held several."""
    cells = pl.DataFrame({"path": column.str.split(separator)}).with_row_index("row").explode("path").drop_nulls()
    cells = cells.with_columns(pl.col("path").str.split(inner).list.eval(pl.element().str.strip_chars()))
    cells = cells.with_columns(pl.col("path").list.eval(pl.element().filter(pl.element() != "")))
    cells = cells.with_columns(depth=pl.col("path").list.len()).filter(pl.col("depth") > 0)
    best = (
        cells.sort("depth", descending=True, maintain_order=True)
        .group_by("row")
        .agg(pl.col("path").first(), n=pl.len())
    )
    rows = pl.DataFrame({"row": range(len(column))}, {"row": best.schema["row"]})
    found = rows.join(best, on="row", how="left", maintain_order="left")
    return found["path"], (found["n"] > 1).fill_null(False)


def families(rows: pl.DataFrame, inherited: Sequence[str], variants: bool) -> tuple[pl.DataFrame, int]:
    """Products with their members folded in, or members in place of their products; and how many members there are.

    `rows` says by `member` which rows are variants and by `parent` of which product: its SKU, or `id:` and its ID.
    A product without price, picture or stock takes those of its members, a member what it does not say of itself from
    its product. `orphan` marks members whose product is missing: each is an item of its own.
    """
    by_sku = rows.filter(~pl.col("member")).select(key="sku", family="index")
    by_id = rows.filter(~pl.col("member")).select(key=pl.concat_str(pl.lit("id:"), "id"), family="index")
    known = pl.concat([by_sku, by_id]).drop_nulls().unique("key", keep="first", maintain_order=True)
    rows = rows.join(known, left_on="parent", right_on="key", how="left", maintain_order="left")
    rows = rows.with_columns(family=pl.when("member").then("family"))
    rows = rows.with_columns(orphan=pl.col("member") & pl.col("family").is_null())
    members = rows.filter(pl.col("family").is_not_null())
    names = rows.select("index", family_sku="sku", family_id="id")
    if variants:
        products = rows.select(family="index", **{f"family {name}": name for name in inherited})
        frame = rows.filter(~pl.col("index").is_in(members["family"].implode()))
        frame = frame.join(products, on="family", how="left", maintain_order="left")
        frame = frame.with_columns(pl.coalesce(name, f"family {name}").alias(name) for name in inherited)
        frame = frame.join(names, left_on="family", right_on="index", how="left", maintain_order="left")
        return frame, members.height
    cheapest = lowest(members["family"], members["price"])
    chosen = members.select("price", "regular", "cost")[cheapest["row"]]
    cheapest = pl.DataFrame([cheapest["group"].alias("index"), *chosen.rename(lambda name: f"member {name}")])
    # Products that are not shown themselves may not be sold by a member.
    any_stock = (pl.col("stock") == "true") & (pl.col("shown") != "false").fill_null(True)
    stocked = (
        pl.when(any_stock.any()).then(pl.lit("true")).when((pl.col("stock").is_not_null()).any()).then(pl.lit("false"))
    )
    further = members.group_by(index="family").agg(
        stocked.alias("member stock"), pl.col("image").drop_nulls().first().alias("member image")
    )
    frame = rows.filter(pl.col("family").is_null())
    for more in (cheapest, further):
        frame = frame.join(more, on="index", how="left", maintain_order="left")
    own_price = pl.col("price").is_not_null()
    frame = frame.with_columns(
        *(pl.when(own_price).then(name).otherwise(f"member {name}").alias(name) for name in ("price", "regular")),
        pl.coalesce("cost", "member cost").alias("cost"),
        pl.coalesce("image", "member image").alias("image"),
        pl.coalesce("stock", "member stock").alias("stock"),
        family_sku=pl.lit(None, dtype=pl.String),
        family_id=pl.lit(None, dtype=pl.String),
    )
    return frame, members.height

"""The attribute encoder: brand, category levels, price and attributes of an item as a vector that starts at zero."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from ...arrays import FloatArray
from ..config import AttributeConfig, Config
from ..layers import start_at_zero, start_xavier

UNKNOWN, MISSING = 0, 1
RESERVED = 2
PATH_SEPARATOR = " > "
# A number with at most one unit behind it; a leading zero makes it a code, which is a name and no quantity.
NUMBER = r"^([-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)\s*([^0-9]*)$"
# With fewer different numbers than this a field is a choice, not a quantity.
MIN_NUMBERS = 3
# Names that a field needs to tell items apart; none at all is one of them.
MIN_NAMES = 2
CATEGORY_LEVELS = 4  # of the category path, from the top
MAX_ATTRIBUTES = 16  # attribute keys, the most frequent ones of the catalog
MAX_VALUES = 1000  # values of a field with an embedding of their own, the most frequent ones
# An attribute is numeric where this share of its values are numbers with one and the same unit.
NUMERIC_SHARE = 0.9
BINS = 16  # quantile bins of a numeric field, at most
WIDTH = 16  # columns of a field's embedding
HIDDEN = 64  # width of the layer over all fields


class CategoricalField(Config):
    """A field of names: the i-th value has row i + 2 of its table; 0 is unknown, 1 missing."""

    name: str  # `brand`, `category:LEVEL` or `attribute:KEY`
    values: tuple[str, ...]  # in lower case, most frequent first

    @property
    def size(self) -> int:
        """Rows of its table."""
        return len(self.values) + RESERVED

    def encode(self, texts: pl.Series) -> pl.Series:
        """(N,) rows of the field's table."""
        rows = range(RESERVED, self.size)
        known = texts.replace_strict(list(self.values), list(rows), default=UNKNOWN, return_dtype=pl.Int64)
        return known.set(texts.is_null(), MISSING)


class NumericField(Config):
    """A field of numbers, cut into bins at training quantiles."""

    name: str  # `price` or `attribute:KEY`
    unit: str  # currency or unit that a value must have to be comparable; values in another one count as missing
    edges: tuple[float, ...] = Field(min_length=2)  # (T + 1,) ends of the T bins, increasing

    @field_validator("edges")
    @classmethod
    def _increasing(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if not all(a < b for a, b in itertools.pairwise(edges)):
            raise ValueError(f"bins must end later than they begin, not at {edges}")
        return edges

    @property
    def size(self) -> int:
        """Columns of its encoding: one per bin, and the missing flag."""
        return len(self.edges)

    def encode(self, numbers: pl.Series) -> FloatArray:
        """(N, T + 1) piecewise-linear encoding (Gorishniy et al., 2022, eq. 1) and the missing flag."""
        # The outer bins end at 0 and 1 too, where the paper's grow: one absurd price moves no vector out of the space.
        x = numbers.to_numpy().astype(np.float64)[:, None]
        edges = np.asarray(self.edges)
        with np.errstate(over="ignore"):  # the widest numbers end as far through a bin as any others beyond it
            passed = np.clip((x - edges[:-1]) / np.diff(edges), 0.0, 1.0)
        missing = np.isnan(x)
        return np.concatenate([np.where(missing, 0.0, passed), missing], axis=1).astype(np.float32)


@dataclass(frozen=True)
class AttributeRows:
    """Attributes of N items as tensors."""

    categories: Tensor  # (N, C) row of each item in each categorical field's table
    numbers: Tensor  # (N, W) encodings of the numeric fields, side by side


class Vocabulary(Config):
    """What was learned of a catalog's attributes: plain JSON, saved with the spoke."""

    categorical: tuple[CategoricalField, ...]
    numeric: tuple[NumericField, ...]

    def __len__(self) -> int:
        return len(self.categorical) + len(self.numeric)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all fields, values and bins."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def encode(self, items: pl.DataFrame) -> AttributeRows:
        """Attributes of any items, a table of the item schema; what the vocabulary lacks is unknown or missing."""
        fields: tuple[CategoricalField | NumericField, ...] = (*self.categorical, *self.numeric)
        columns = _Columns(items, [field.name for field in fields])
        categories = [field.encode(columns.texts(field.name)).to_numpy() for field in self.categorical]
        numbers = [field.encode(columns.numbers(field.name, field.unit)) for field in self.numeric]
        n = items.height
        return AttributeRows(
            torch.from_numpy(np.stack(categories, axis=1) if categories else np.zeros((n, 0), np.int64)),
            torch.from_numpy(np.concatenate([np.zeros((n, 0), np.float32), *numbers], axis=1)),
        )


def fit_vocabulary(items: pl.DataFrame, config: AttributeConfig) -> Vocabulary:
    """Fields of a catalog, a table of the item schema, with the values and bins that occur; rows in any order."""
    levels = [f"category:{level}" for level in range(1, CATEGORY_LEVELS + 1)]
    frequent = _by_count(_attribute_pairs(items)["key"])["value"].head(MAX_ATTRIBUTES)
    keys = [f"attribute:{key}" for key in frequent.to_list()]
    columns = _Columns(items, ["brand", *levels, *keys])
    priced_in = _by_count(items.filter(pl.col("price").is_not_null())["currency"].drop_nulls())["value"]
    currency = str(priced_in[0]) if len(priced_in) else ""
    numeric = [_numeric("price", columns.numbers("price", currency), currency)]
    categorical = [_categorical(name, columns.texts(name), config) for name in ("brand", *levels)]
    for name in keys:
        # The unit in which enough of the values are numbers.
        texts = columns.texts(name)
        units = _by_count(_parsed(texts)["unit"].drop_nulls())
        unit, count = units.row(0) if len(units) else ("", 0)
        common = count and count >= NUMERIC_SHARE * (len(texts) - texts.null_count())
        number = _numeric(name, columns.numbers(name, unit), unit) if common else None
        if number is None:
            categorical.append(_categorical(name, texts, config))
        else:
            numeric.append(number)
    return Vocabulary(
        categorical=tuple(field for field in categorical if field is not None),
        numeric=tuple(field for field in numeric if field is not None),
    )


class AttributeEncoder(nn.Module):
    """Field embeddings side by side, one hidden layer over all of them, and an output that starts at zero."""

    offsets: Tensor
    dropped: Tensor

    def __init__(self, vocabulary: Vocabulary, config: AttributeConfig, dimension: int) -> None:
        super().__init__()
        sizes = [field.size for field in vocabulary.categorical]
        self.widths = [field.size for field in vocabulary.numeric]
        self.dropout = config.dropout
        self.register_buffer("offsets", torch.tensor(np.cumsum([0, *sizes])[:-1], dtype=torch.long), persistent=False)
        # What numeric fields look like when they are missing: their last column, the flag, and nothing else.
        flags = [float(column == width - 1) for width in self.widths for column in range(width)]
        self.register_buffer("dropped", torch.tensor(flags), persistent=False)
        self.tables = nn.Embedding(sum(sizes), WIDTH)
        self.bins = nn.Embedding(sum(self.widths), WIDTH)
        self.hidden = nn.Linear((len(sizes) + len(self.widths)) * WIDTH, HIDDEN)
        self.output = nn.Linear(HIDDEN, dimension)
        nn.init.normal_(self.tables.weight, std=0.1)
        nn.init.normal_(self.bins.weight, std=0.1)
        start_xavier(self.hidden)
        start_at_zero(self.output)

    def forward(self, rows: AttributeRows) -> Tensor:
        """(N, D) vectors of N items."""
        if self.training and self.dropout:
            # Names count as unknown or missing, either as often, so that both are learned where the catalog has none.
            n, c = rows.categories.shape
            drop = torch.rand(n, c + len(self.widths), device=rows.categories.device) < self.dropout
            widths = torch.tensor(self.widths, dtype=torch.long, device=drop.device)
            blanks = torch.randint_like(rows.categories, UNKNOWN, MISSING + 1)
            rows = AttributeRows(
                torch.where(drop[:, :c], blanks, rows.categories),
                torch.where(drop[:, c:].repeat_interleave(widths, dim=1), self.dropped, rows.numbers),
            )
        names = self.tables(rows.categories + self.offsets).flatten(1)  # (N, C * WIDTH)
        # The vectors of a number's bins, weighed by how far it has come through each.
        halves = zip(rows.numbers.split(self.widths, dim=1), self.bins.weight.split(self.widths), strict=True)
        fields = torch.cat([names, *(own @ bins for own, bins in halves)], dim=1)
        out: Tensor = self.output(nn.functional.gelu(self.hidden(fields)))
        return out


class _Columns:
    """The columns that fields are made of, as text in lower case or as numbers; null where an item has none."""

    def __init__(self, items: pl.DataFrame, names: list[str]) -> None:
        self._items = items
        keys = [name.removeprefix("attribute:") for name in names if name.startswith("attribute:")]
        self._pairs = _attribute_pairs(items).filter(pl.col("key").is_in(keys))

    def texts(self, name: str) -> pl.Series:
        """(N,) a categorical field."""
        kind, _, key = name.partition(":")
        if kind == "attribute":
            rows = pl.DataFrame({"row": np.arange(self._items.height, dtype=np.uint32)})
            own = self._pairs.filter(pl.col("key") == key)
            return _clean(rows.join(own, on="row", how="left", maintain_order="left")["value"])
        if kind == "category":
            path, level = pl.col("category_path").list, int(key)
            prefix = pl.when(path.len() >= level).then(path.head(level).list.join(PATH_SEPARATOR))
            return _clean(self._items.select(prefix.alias("text"))["text"])
        return _clean(self._items[name])

    def numbers(self, name: str, unit: str) -> pl.Series:
        """(N,) a numeric field in its unit; everything else, infinity too, is not a number."""
        if name == "price":
            other = pl.col("currency").is_not_null() & (pl.col("currency") != unit) & pl.lit(unit != "")
            numbers = self._items.select(pl.when(~other).then("price").alias("number"))["number"]
        else:
            same = pl.when(pl.col("unit") == unit).then("number").alias("number")
            numbers = _parsed(self.texts(name)).select(same)["number"]
        numbers = numbers.cast(pl.Float64).fill_null(float("nan"))
        return numbers.set(numbers.is_infinite(), float("nan"))


def _attribute_pairs(items: pl.DataFrame) -> pl.DataFrame:
    """`row`, `key` and `value` of the items' attributes; of a key that an item names twice, the first."""
    rows = items.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"), "attributes").explode("attributes")
    pairs = rows.drop_nulls("attributes").unnest("attributes").drop_nulls(["key", "value"])
    return pairs.unique(["row", "key"], keep="first", maintain_order=True)


def _by_count(values: pl.Series) -> pl.DataFrame:
    """`value` and `count`, most frequent first and by name where equal, so that the order of rows does not matter."""
    counted = pl.DataFrame({"value": values}).group_by("value").agg(pl.len().alias("count"))
    return counted.sort(["count", "value"], descending=[True, False])


def _categorical(name: str, texts: pl.Series, config: AttributeConfig) -> CategoricalField | None:
    """The field, or None where it says the same of every item or no value is frequent enough to learn from."""
    if texts.n_unique() < MIN_NAMES:
        return None
    counted = _by_count(texts.drop_nulls()).filter(pl.col("count") >= config.min_count)
    values = tuple(counted["value"].head(MAX_VALUES).to_list())
    return CategoricalField(name=name, values=values) if values else None


def _numeric(name: str, numbers: pl.Series, unit: str) -> NumericField | None:
    """The field with bins of about equally many items, or None where there are too few different numbers."""
    known = np.sort(numbers.drop_nans().to_numpy())
    if len(np.unique(known)) < MIN_NUMBERS:
        return None
    edges = np.unique(np.quantile(known, np.linspace(0.0, 1.0, BINS + 1)))
    return NumericField(name=name, unit=unit, edges=tuple(edges.tolist()))


def _clean(texts: pl.Series) -> pl.Series:
    cleaned = texts.cast(pl.String).str.strip_chars().str.to_lowercase()
    return cleaned.set(cleaned == "", None)


def _parsed(texts: pl.Series) -> pl.DataFrame:
    """`number` and `unit` of each text, both null where it is no number."""
    groups = texts.str.extract_groups(NUMBER).struct
    number, unit = groups.field("1").cast(pl.Float64, strict=False), groups.field("2").str.strip_chars()
    return pl.DataFrame({"number": number, "unit": unit})

"""Whatever no canonical column reads as key and value, one list of pairs per row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from ..schema import ATTRIBUTES
from ..spilling import let_go
from .markup import strip_markup
from .nested import NAMES, ShapelessError, decode, filled, flat, joined, keyed, looks_nested
from .texts import texts, without_null_words

CHUNK = 100_000  # rows at a time, which bounds the memory of the longest tables
GATHERED = 10 * CHUNK  # rows that are brought into their order at once
# Fields of a pair: [{"name": "Colour", "value": "red"}].
KEYS = ("key", "name", "attribute", "label", "code", "k", "attributename", "attributecode")
VALUES = ("value", "values", "val", "v", "options", "option", "text", "attributevalue")
# Fields that only say where an object is kept; with nothing else beside its name it is that name.
ADMINISTRATIVE = ("id", "slug", "url", "link", "href", "uid", "uuid", "key", "code", "position", "parentid", "gid")


class Attributes(NamedTuple):
    """Key and value pairs of every row."""

    values: pl.Series
    left_out: tuple[str, ...] = ()  # columns of bytes, which say nothing in words


def attributes(
    frame: pl.DataFrame, columns: Sequence[str], given: pl.Series | None, height: int, order: pl.Series | None = None
) -> Attributes:
    """(height,) the columns as one list of key and value per row, nulls left out; `given` attributes come first.

    Of the rows in `order`, of all in their own where it is not given.
    """
    bytes_only = tuple(name for name in columns if is_bytes(frame[name]))
    names = [name for name in columns if name not in bytes_only]
    objects = [name for name in names if _holds_objects(frame[name])]
    plain = [name for name in names if name not in objects]
    own = pl.Series([[]], dtype=ATTRIBUTES).new_from_index(0, height)
    if plain:
        every = _Keys.of(plain, min(height, CHUNK))
        parts = [_chunk(columns, every) for columns in _chunks(frame, plain, order, height)]
        own = pl.concat(parts, rechunk=False) if parts else pl.Series(dtype=ATTRIBUTES)
    taken = set(columns)
    pairs = {"own": own}
    for name in objects:
        pairs[f"object {name}"] = _pairs(_rows(frame[name], order, 0, height), name, taken - {name})
    if given is not None:
        pairs = {"given": _pairs(_rows(given, order, 0, height), "attributes", set()), **pairs}
    if len(pairs) == 1:
        return Attributes(own, bytes_only)
    joint = pl.DataFrame(pairs).select(pl.concat_list(pl.all().fill_null([])).alias("joint"))["joint"]
    return Attributes(joint, bytes_only)


def is_bytes(column: pl.Series) -> bool:
    """Whether a column holds bytes that are no text."""
    if column.dtype != pl.Binary:
        return False
    try:
        column.cast(pl.String)
    except pl.exceptions.PolarsError:
        return True
    return False


def _holds_objects(column: pl.Series) -> bool:
    """Whether the cells of a column are objects, or lists of objects, each of which is several attributes."""
    dtype = column.dtype
    if isinstance(dtype, pl.List | pl.Array):
        return bool(dtype.inner.is_nested())
    if dtype.is_nested() or dtype == pl.Object:
        return True
    return dtype == pl.String and bool(
        (looks_nested(column) & column.str.contains(r"^\s*[\[{].*:").fill_null(False)).any()
    )


def _rows(column: pl.Series, order: pl.Series | None, start: int, height: int) -> pl.Series:
    let_go()
    return column.slice(start, height) if order is None else column.gather(order.slice(start, height))


def _chunks(
    frame: pl.DataFrame, names: Sequence[str], order: pl.Series | None, height: int
) -> Iterator[list[pl.Series]]:
    """The columns of these names, cut into chunks."""
    for start in range(0, height, GATHERED):
        columns = [_rows(frame[name], order, start, GATHERED) for name in names]
        for at in range(0, len(columns[0]), CHUNK):
            yield [column.slice(at, CHUNK) for column in columns]


class _Keys(NamedTuple):
    """The keys of rows that lack no value, which all chunks of such rows share."""

    names: Sequence[str]
    keys: pa.Array  # of a chunk, row by row
    offsets: pa.Array  # where each row begins

    @classmethod
    def of(cls, names: Sequence[str], rows: int) -> _Keys:
        columns = np.tile(np.arange(len(names)), rows)
        return cls(names, _arrow(_named(names, columns)), pa.array(np.arange(rows + 1, dtype=np.int64) * len(names)))


def _named(names: Sequence[str], columns: NDArray[np.int64]) -> pl.Series:
    return pl.Series(list(names), dtype=pl.String).gather(columns)


def _arrow(column: pl.Series) -> pa.Array:
    return column.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())


def _chunk(columns: Sequence[pl.Series], every: _Keys) -> pl.Series:
    """Gathers row by row from the stacked columns: twenty times faster than building a struct per cell."""
    height, width = len(columns[0]), len(columns)
    cells = [texts(column, markup=True).values for column in columns]
    full = np.stack([cell.is_not_null().to_numpy() for cell in cells], axis=1)  # (rows, columns)
    row, column = np.divmod(np.flatnonzero(full.ravel()), width)
    values = _arrow(pl.concat([cell.alias("value") for cell in cells]).gather(column * height + row))
    if full.all():
        keys, offsets = every.keys.slice(0, height * width), every.offsets.slice(0, height + 1)
    else:
        keys = _arrow(_named(every.names, column))
        offsets = pa.array(np.concatenate([[0], np.cumsum(full.sum(axis=1))]).astype(np.int64))
    pairs = pa.StructArray.from_arrays([keys, values], ["key", "value"])
    lists = pl.from_arrow(pa.LargeListArray.from_arrays(offsets, pairs))
    return pl.Series(lists, dtype=ATTRIBUTES) if isinstance(lists, pl.Series) else pl.Series(dtype=ATTRIBUTES)


def _pairs(column: pl.Series, name: str, taken: set[str]) -> pl.Series:
    """The cells of one column as pairs: an object by its keys, anything else under the column's name."""
    if column.dtype == ATTRIBUTES:
        return column
    cells: Sequence[Any] = column.to_list()
    if column.dtype == pl.String:
        cells = [decode(cell) if cell and cell.strip()[:1] in ("[", "{") else cell for cell in cells]
    found = [list(_of_cell(cell, name)) for cell in cells]
    keys = pl.Series([key for own in found for key, _ in own], dtype=pl.String)
    values = strip_markup(pl.Series([value for own in found for _, value in own], dtype=pl.String))
    values = without_null_words(values)[0]
    clash = keys.is_in(list(taken))
    keys = (name + "." + keys).zip_with(clash, keys) if clash.any() else keys
    flat_pairs = iter(zip(keys, values, strict=True))
    rows = [[{"key": k, "value": v} for k, v in (next(flat_pairs) for _ in own) if v] for own in found]
    return pl.Series(rows, dtype=ATTRIBUTES)


def _of_cell(cell: Any, name: str) -> list[tuple[str, str | None]]:
    """(key, value) of everything in one cell."""
    if isinstance(cell, Mapping):
        pair = _as_pair(cell)
        if pair:
            return [pair]
        own = filled(cell)
        called = _called(own)
        return [(name, called)] if called else [(key, described(value)) for key, value in own.items()]
    if isinstance(cell, list | tuple) and cell and all(isinstance(part, Mapping) for part in cell):
        pairs = [_as_pair(part) for part in cell]
        if all(pairs):
            return [pair for pair in pairs if pair]
        # [{"colour": "red"}, {"size": "L"}] are pairs as well, but [{"tag": "a"}, {"tag": "b"}] is a list.
        keys = [key for part in cell for key in filled(part)]
        if len(keys) == len(cell) == len(set(keys)) > 1:
            return [pair for part in cell for pair in _of_cell(part, name)]
    return [(name, described(cell))]


def _as_pair(cell: Mapping[Any, Any]) -> tuple[str, str | None] | None:
    """The pair that an object of a name and a value is."""
    names = keyed({str(key): value for key, value in cell.items()})
    key = next((key for key in KEYS if isinstance(names.get(key), str)), None)
    value = next((own for own in VALUES if own in names and own != key), None)
    if key is None or value is None or len(set(names) - {key, value, *ADMINISTRATIVE, *VALUES, "unit", "type"}) > 0:
        return None
    return names[key], described(names[value])


def _called(own: dict[str, Any]) -> str | None:
    """The name of an object that has nothing else to say."""
    names = keyed(own)
    key = next((key for key in NAMES if key in names), None)
    if key is None or set(names) - {key} - set(ADMINISTRATIVE):
        return None
    return described(names[key])


def described(value: Any) -> str | None:
    """A value in words; an object without a name as its fields, bytes as nothing."""
    if isinstance(value, bytes):
        try:
            return flat(value)
        except ShapelessError:
            return None
    if isinstance(value, Mapping):
        own = filled(value)
        called = _called(own)
        fields = ((key, described(part)) for key, part in own.items())
        return called or joined(f"{key}: {text}" for key, text in fields if text)
    if isinstance(value, list | tuple):
        return joined(filter(None, map(described, value)))
    return flat(value)

"""Lists and objects in cells, as Parquet holds them or as JSON and Python print them, flattened into what they mean.

What has no plain meaning (an object without a name, bytes that are no text) is refused and never printed as it stands.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import polars as pl

from .absent import is_absent
from .chunks import piecewise
from .translations import in_one_language

# Keys, in letters and digits only, under which an object keeps what it is called; the first that is filled counts.
NAMES = ("name", "title", "label", "displayname", "text", "value", "content", "amount")
IDS = ("id", "value", "sku", "key", "name")
PICTURES = ("url", "src", "hires", "large", "link", "href", "path", "contenturl", "medium", "thumb", "image", "file")
AMOUNTS = ("amount", "value", "price", "amountvalue", "raw")
CURRENCIES = ("currency", "currencycode", "cur", "currencyiso", "iso")
STATES = ("available", "isavailable", "instock", "isinstock", "availability", "status", "stockstatus", "state")
PIECES = ("quantity", "qty", "stock", "amount", "value", "name")
# Alone these say nothing about what an object is.
KEYS_ONLY = ("id", "uid", "uuid", "type")

WORDS = {"true": True, "false": False, "null": None, "nan": None, "NaN": None, "undefined": None}
SENTENCE_ENDS = (".", "!", "?", "…", "。")
SHOWN = 200  # characters of a nested cell in a message
MAX_LITERAL = 1_000_000  # characters of a Python list or object that are looked at

Flatten = Callable[[Any], "str | None"]


class ShapelessError(ValueError):
    """A list or an object of which no single text, number or time can be made."""


class Plain(NamedTuple):
    """Any column as text, and the cells of which none can be made."""

    values: pl.Series
    bad: pl.Series
    note: str | None = None  # of texts in several languages, which one is read


def plain(column: pl.Series, flatten: Flatten | None = None) -> Plain:
    """A column as text without surrounding spaces; lists and objects by `flatten`, empty ones null."""
    flatten = flatten or flat
    dtype = column.dtype
    if dtype == pl.String:
        return _from_text(column, flatten)
    if dtype == pl.Binary:
        return _from_bytes(column)
    if isinstance(dtype, pl.Duration):
        return _as_plain(column.dt.to_string("iso"))
    if is_plain_list(dtype) and flatten is flat:
        lists = column.cast(pl.List(pl.String), strict=False).list.eval(pl.element().str.strip_chars())
        lists = lists.list.eval(pl.element().filter(pl.element() != ""))
        # A list of sentences reads on, a list of words is told apart by semicolons.
        return _as_plain(lists.list.join("; ", ignore_nulls=True).str.replace_all(r"([.!?…。]); ", "$1 "))
    if dtype.is_nested() or dtype == pl.Object:
        return _flattened(column.to_list(), flatten)
    return _as_plain(column.cast(pl.String, strict=False))


def shown(column: pl.Series) -> pl.Series:
    """Cells as a message shows them: those of dtypes that polars does not write as Python does."""
    if column.dtype.is_nested() or column.dtype in (pl.Object, pl.Binary, pl.Duration):
        return pl.Series([None if cell is None else str(cell)[:SHOWN] for cell in column.to_list()], dtype=pl.String)
    return column


def is_plain_list(dtype: pl.DataType) -> bool:
    """Whether a column is of lists of texts or numbers, which polars joins by itself."""
    inner = dtype.inner if isinstance(dtype, pl.List | pl.Array) else None
    return isinstance(inner, pl.DataType) and (inner == pl.String or inner.is_numeric())


def stripped(strings: pl.Series) -> pl.Series:
    """Text without surrounding spaces, null where nothing is left."""
    found = strings.str.strip_chars()
    return found.set((found == "").fill_null(False), None)


def _as_plain(strings: pl.Series) -> Plain:
    return Plain(piecewise(strings, stripped), pl.repeat(False, len(strings), dtype=pl.Boolean, eager=True))


def _from_text(column: pl.Series, flatten: Flatten) -> Plain:
    whole = _as_plain(column)
    strings = whole.values
    shaped = looks_nested(strings)
    if not shaped.any():
        return whole
    cells = strings.filter(shaped).unique()
    found, bad, note = _flattened([decode(cell) for cell in cells], flatten)
    values = strings.replace_strict(cells, found, default=strings, return_dtype=pl.String)
    return Plain(values, strings.is_in(cells.filter(bad).implode()).fill_null(False), note)


def _from_bytes(column: pl.Series) -> Plain:
    try:
        return _as_plain(column.cast(pl.String))
    except pl.exceptions.PolarsError:
        return _flattened(column.to_list(), flat)


def _flattened(cells: Iterable[Any], flatten: Flatten) -> Plain:
    values: list[str | None] = []
    bad: list[bool] = []
    note = None
    if flatten is flat:
        cells, note = in_one_language(cells)
    for cell in cells:
        try:
            values.append(flatten(cell))
            bad.append(False)
        except ShapelessError:
            values.append(None)
            bad.append(True)
    return Plain(pl.Series(values, dtype=pl.String), pl.Series(bad, dtype=pl.Boolean), note)


def looks_nested(strings: pl.Series) -> pl.Series:
    """Where a text begins and ends as a list or an object does."""
    lists = strings.str.starts_with("[") & strings.str.ends_with("]")
    return (lists | strings.str.starts_with("{") & strings.str.ends_with("}")).fill_null(False)


# ---- one cell ----


def decode(text: str) -> Any:
    """The list or object that a text prints in JSON or in Python; the text itself where it is neither."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = _literal(text)
    if not isinstance(found, list | dict):
        return text
    return _whole(found) if "\\ud" in text.lower() else found


def _whole(value: Any) -> Any:
    """The value with a question mark for half a surrogate pair, which is legal in JSON and no text."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return {_whole(key): _whole(own) for key, own in value.items()} if isinstance(value, dict) else value


class _NamedConstants(ast.NodeTransformer):
    """Words that Python prints in place of a missing number, and those of JSON, as the values they stand for."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(WORDS[node.id]) if node.id in WORDS else node


def _literal(text: str) -> Any:
    """A Python literal, which is only read and never run."""
    if len(text) > MAX_LITERAL:
        return None
    if not re.search(r"['\"]\s*,", text):
        # An array of NumPy prints no commas: ['a' 'b'].
        text = re.sub(r"(?<=['\"])\s+(?=['\"])", ", ", text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(_NamedConstants().visit(ast.parse(text.strip(), mode="eval")))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def filled(value: Mapping[Any, Any]) -> dict[str, Any]:
    """An object without its empty fields."""
    return {str(key): own for key, own in value.items() if own is not None and own != "" and own != [] and own != {}}


def keyed(value: Mapping[str, Any]) -> dict[str, Any]:
    """An object by its keys in lower-case letters and digits only; of equal ones the first counts."""
    return {re.sub(r"[^0-9a-z]", "", key.lower()): own for key, own in reversed(list(value.items()))}


def flat(value: Any, keys: Sequence[str] = NAMES) -> str | None:
    """One text for a value: lists joined, objects by the first of `keys`; `ShapelessError` where there is none."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8").strip() or None
        except UnicodeDecodeError as error:
            raise ShapelessError from error
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    if isinstance(value, Mapping):
        own = filled(value)
        if own and all(key.isdigit() for key in own):
            # A list of PHP that has lost an element: {"0": "a", "2": "b"}.
            return flat(list(own.values()), keys)
        names = keyed(own)
        key = next((key for key in keys if key in names), None)
        if key is not None:
            return flat(names[key], keys)
        if len(own) > 1 or any(name in KEYS_ONLY for name in names):
            raise ShapelessError
        # An object of one field is that field: {"en": "Desk"}, {"$oid": "5f..."}.
        return flat(next(iter(own.values())), keys) if own else None
    if isinstance(value, list | tuple | set | frozenset):
        parts = (flat(part, keys) for part in value)
        return joined(part for part in parts if part and not is_absent(part))
    return str(value).strip() or None


def joined(parts: Iterable[str]) -> str | None:
    """Sentences read on; words are told apart by semicolons."""
    text = ""
    for part in parts:
        text += part if not text else f"{' ' if text.endswith(SENTENCE_ENDS) else '; '}{part}"
    return text or None


def flat_id(value: Any) -> str | None:
    """The one id in a value; a list of several is none."""
    if isinstance(value, list | tuple):
        own = [part for part in value if part is not None]
        if len(own) > 1:
            raise ShapelessError
        value = own[0] if own else None
    return flat(value, IDS)


def flat_state(value: Any) -> str | None:
    """Whether there is some of a product, as an object says it: in a word, else by the number of pieces."""
    return flat(value, (*STATES, *PIECES)) if isinstance(value, Mapping) else flat(value)


def flat_money(value: Any) -> str | None:
    """An amount, followed by its currency where an object names it; a list of several amounts is none."""
    if isinstance(value, list | tuple):
        own = [part for part in value if part is not None]
        if len(own) > 1:
            raise ShapelessError
        return flat_money(own[0]) if own else None
    if not isinstance(value, Mapping):
        return flat(value)
    names = keyed(filled(value))
    amount = next((names[key] for key in AMOUNTS if key in names), None)
    currency = next((names[key] for key in CURRENCIES if key in names), None)
    if amount is None and len(names) > 1:
        raise ShapelessError
    # An object of one field is that field.
    amount = flat_money(next(iter(names.values()), None) if amount is None else amount)
    return amount if currency is None or amount is None else f"{amount} {flat(currency)}"

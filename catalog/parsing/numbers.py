"""Columns of numbers as shops write them: currencies, thousands separators, and one decimal sign for a whole column."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import polars as pl

from .currencies import ASSUMED, OPEN, PATTERN, code_of
from .nested import flat_money
from .texts import nulls, texts

GROUPS = "'’ʼ` "  # signs between thousands that are never a decimal sign
# An amount with a currency before or after it, or both; `12,-` has no cents.
MONEY = (
    rf"(?i)^(?<minus>[+-]?)\s*(?<before>{PATTERN})?\s*(?<sign>[+-]?)"
    rf"(?<amount>\d[\d.,{GROUPS}]*?|[.,]\d+|\d*\.?\d+e[+-]?\d+)(?<dash>[.,:][-–—]{{1,2}})?\s*(?<after>{PATTERN})?$"
)
GROUPED = rf"^\d{{1,3}}(?:[{GROUPS}]\d{{3}})+(?:[.,]\d+)?$"
INDIAN = r"^\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?$"
# A decimal sign for certain: not three digits behind it, none or four before it, or the other sign before it.
COMMA = r"^(?:\d*,(?:\d{1,2}|\d{4,})|0\d*,\d{3}|\d{4,},\d{3}|,\d{3}|\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,})$"
POINT = r"^(?:\d*\.(?:\d{1,2}|\d{4,})|0\d*\.\d{3}|\d{4,}\.\d{3}|\.\d{3}|\d{1,3}(?:,\d{3})+\.\d+|\d{1,3}(?:,\d{3}){2,})$"
PLAIN = r"^[+-]?(?:\d+|\d*\.(?:\d{1,2}|\d{4,})|0\.\d+|[\d.]+[eE][+-]?\d+)$"
WHOLE = r"(?i)^\d+$|^\d*\.?\d+e[+-]?\d+$"
UNCLEAR = r"^[1-9]\d{0,2}[.,]\d{3}$"
# Where one decimal sign is this rare in a column, the other one decides what is unclear.
RARE = 0.05


class Numbers(NamedTuple):
    """A column of finite numbers."""

    values: pl.Series
    bad: pl.Series  # rows that held something unreadable


class Money(NamedTuple):
    """A column of finite numbers with their currencies."""

    values: pl.Series
    bad: pl.Series  # rows that held something unreadable
    signs: pl.Series  # the currency that a cell names, in lower case as it stands there
    notes: tuple[str, ...] = ()  # on what was decided for the whole column
    absent: Mapping[str, int] = MappingProxyType({})  # words that stand for nothing, and how often each stood there


def numbers(column: pl.Series) -> Numbers:
    """Finite floats; NaN is null. The decimal sign is judged by column."""
    return Numbers(*money(column)[:2])


def money(column: pl.Series) -> Money:
    """Finite floats with the currency that a cell names; NaN is null. The decimal sign is judged by column."""
    signs = nulls(len(column))
    if column.dtype.is_numeric() or column.dtype == pl.Null:
        values = column.cast(pl.Float64).fill_nan(None)
        given = values.is_not_null()
        values = values.set(values.is_infinite().fill_null(False), None)
        return Money(values, given & values.is_null(), signs)
    strings, shapeless, absent, _ = texts(column, flatten=flat_money)
    notes: tuple[str, ...] = ()
    if strings.str.contains(PLAIN).fill_null(True).all():
        values = strings.cast(pl.Float64, strict=False)
    else:
        values, signs, notes = _written(strings)
    values = values.set(values.is_infinite().fill_null(False), None)
    return Money(values, shapeless | (strings.is_not_null() & values.is_null()), signs, notes, absent)


def _written(strings: pl.Series) -> tuple[pl.Series, pl.Series, tuple[str, ...]]:
    """Numbers and the signs of their currencies out of text, and what had to be decided."""
    plain = strings.str.replace_all("´", "'", literal=True).str.normalize("NFKC").str.replace_all(r"\s+", " ")
    parts = plain.str.replace_all("[\u2212\u2012]", "-").str.extract_groups(MONEY).struct.unnest()
    amount = parts["amount"].str.strip_chars()
    for sign in ",.":
        dash = parts["dash"].str.starts_with(sign).fill_null(False)
        amount = (amount + f"{sign}00").zip_with(dash, amount)
    grouped = amount.str.contains(GROUPED).fill_null(False)
    amount = amount.str.replace_all(f"[{GROUPS}]", "").zip_with(grouped, amount)
    # A sign behind marked thousands is a decimal one, however many digits follow.
    comma = (amount.str.contains(COMMA) | grouped & amount.str.contains(",", literal=True)).fill_null(False)
    point = amount.str.contains(POINT) | amount.str.contains(INDIAN) | grouped & ~comma
    point = point.fill_null(False)
    unclear = (amount.str.contains(UNCLEAR) & ~comma & ~point).fill_null(False)
    commas = int(comma.sum())
    points = int((point & amount.str.contains("[.,]")).fill_null(False).sum())
    by_comma = (commas > 0 and points <= RARE * commas) or (not points and _marks_thousands(amount, unclear))
    swapped = amount.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    values = swapped.zip_with(comma | (unclear & by_comma), amount.str.replace_all(",", "", literal=True))
    tidy = comma | point | unclear | amount.str.contains(WHOLE).fill_null(False)
    values = values.cast(pl.Float64, strict=False).set(~tidy, None)
    values = (-values).zip_with((parts["minus"] == "-") | (parts["sign"] == "-"), values)
    signs, known = _signs(parts["before"].str.to_lowercase(), parts["after"].str.to_lowercase())
    values = values.set(~known, None)
    signs = signs.set(values.is_null(), None)
    return values, signs, _doubts(strings.filter(unclear & values.is_not_null()), commas, points, by_comma)


def _marks_thousands(amount: pl.Series, unclear: pl.Series) -> bool:
    """Whether the points of `1.299` mark thousands: `12.990` beside `849` is no decimal number, long or short."""
    cells = amount.filter(unclear)
    points = cells.str.contains(".", literal=True)
    return bool(points.all() and cells.str.ends_with("0").any() and amount.str.contains(r"^\d+$").any())


def _signs(before: pl.Series, after: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The sign that tells the currency, and whether what stands beside the amount is one currency or none."""
    vague = before.is_null() | before.is_in(list(ASSUMED)) | before.is_in(list(OPEN))
    signs = after.zip_with(vague & after.is_not_null(), before)
    codes = code_of(signs)
    known = codes.is_not_null() | signs.is_null() | signs.is_in(list(OPEN))
    return signs, known & (vague | after.is_null() | (code_of(after) == codes)).fill_null(False)


def _doubts(cells: pl.Series, commas: int, points: int, by_comma: bool) -> tuple[str, ...]:
    """A note on how cells such as `1.299` are read, where not all others are written in the English way."""
    if points > 0 and commas <= RARE * points:
        return ()
    # 1,299 beside whole numbers only is a thousand by English habit.
    if cells.is_empty() or not (commas or points or cells.str.contains(".", literal=True).any()):
        return ()
    if by_comma:
        why = "the other ones have it" if commas else "whole numbers stand beside numbers that end in 0"
        return (f"{len(cells)} numbers such as {cells[0]} are read with a decimal comma, as {why}",)
    why = "no other cell tells the decimal sign"
    if commas or points:
        why = f"decimal commas ({commas} cells) stand beside decimal points ({points})"
    return (
        f"{len(cells)} numbers such as {cells[0]} can be read in two ways, as {why}; they are read in English form "
        "(COLUMN:comma in a mapping reads a decimal comma)",
    )


def integers(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Whole numbers and the rows that hold none; `3.0` counts as one, `3.5` does not."""
    if column.dtype.is_integer():
        values = column.cast(pl.Int64, strict=False)
        return values, values.is_null() & column.is_not_null()
    floats, bad = numbers(column)
    whole = floats.set((floats != floats.round(0)).fill_null(False), None).cast(pl.Int64, strict=False)
    return whole, bad | (whole.is_null() & floats.is_not_null())

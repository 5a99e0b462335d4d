"""Columns as text and as ids: words that stand for nothing are nothing, control characters go, Unicode is NFC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from .absent import EXACT_WORDS, LONGEST, NULL_WORDS
from .chunks import piecewise, repeated
from .markup import strip_markup
from .nested import Flatten, flat_id, plain, stripped

ODD = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u0080-\u009f\ufeff]"
# What Windows-1252 puts where Unicode has control characters.
WINDOWS = {
    chr(byte): bytes([byte]).decode("cp1252")
    for byte in range(0x80, 0xA0)
    if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}

# UTF-8 that was read as Windows-1252 on the way: the first byte of two or three, and one that follows it.
GARBLED = r"[ÃÂ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€[\u0080-\u00bf“”˜™œ¢¦]"

# Ids that a spreadsheet or a dtype made of what was another text before.
SCIENTIFIC = r"^[+-]?(?:\d+(?:\.\d+)?[eE]\+\d+|\d\.\d+[eE]\d+)$"
DATES = (
    r"(?i)^(?:\d{1,2}-(?:jan|feb|mar|mär|mrz|apr|may|mai|jun|jul|aug|sep|sept|oct|okt|nov|dec|dez)(?:-\d{2,4})?"
    r"|(?:jan|feb|mar|mär|mrz|apr|may|mai|jun|jul|aug|sep|sept|oct|okt|nov|dec|dez)-\d{2}"
    r"|\d{4}-\d{2}-\d{2}(?:[ t]\d{2}:\d{2}.*)?)$"
)
TRUTHS = r"(?i)^(?:true|false)$"
# Too long for a version number; where some have other decimals, these may be meant.
WHOLE, DECIMAL = r"^\d{3,}\.0$", r"^\d+\.\d*[1-9]"
TEXTUAL = (pl.String, pl.Categorical, pl.Enum, pl.Binary, pl.Object)
# Whole numbers up to here are exact as floats of that width.
EXACT: dict[type[pl.DataType], int] = {pl.Float64: 2**53, pl.Float32: 2**24, pl.Float16: 2**11}


class Texts(NamedTuple):
    """A column as text."""

    values: pl.Series
    bad: pl.Series  # cells of which no text can be made
    absent: Mapping[str, int]  # words that stand for nothing, and how often each stood there
    note: str | None = None  # of texts in several languages, which one is read


def nulls(height: int) -> pl.Series:
    """A column of text with nothing in it."""
    return repeated(None, pl.String(), height)


def texts(column: pl.Series, *, markup: bool = False, flatten: Flatten | None = None) -> Texts:
    """Any column as text, without HTML where `markup` is true; empty becomes null."""
    strings, bad, note = plain(column, flatten)
    if column.dtype.is_float():
        return Texts(strings.set(column.is_nan().fill_null(False), None), bad, {})
    if not (column.dtype.is_nested() or column.dtype in TEXTUAL):
        return Texts(strings, bad, {})
    strings = piecewise(strings, _without_markup if markup else normalised)
    strings, absent = without_null_words(strings)
    return Texts(strings, bad, absent, note)


def _without_markup(strings: pl.Series) -> pl.Series:
    strings = strip_markup(normalised(strings))
    return strings.set((strings == "").fill_null(False), None)


def text(column: pl.Series) -> pl.Series:
    """Any column as text without surrounding spaces, lists and objects in JSON as they stand; empty becomes null."""
    if column.dtype != pl.String:
        return texts(column).values
    return without_null_words(piecewise(column, lambda piece: normalised(stripped(piece))))[0]


def normalised(strings: pl.Series) -> pl.Series:
    """NFC, without control characters: vertical tabs and form feeds become spaces."""
    if strings.str.contains(r"[^\x09\x0a\x0d\x20-\x7e]").any():
        odd = strings.str.contains(ODD).fill_null(False)
        if odd.any():
            rest = strings.filter(odd).str.replace_many(WINDOWS).str.replace_all(r"[\x0b\x0c]", " ")
            rest = rest.str.replace_all(ODD, "").str.strip_chars()
            strings = strings.scatter(odd.arg_true(), rest)
        strings = strings.str.normalize("NFC")
        strings = strings.set((strings == "").fill_null(False), None)
    return strings


def without_null_words(strings: pl.Series) -> tuple[pl.Series, dict[str, int]]:
    """Null in place of words that stand for it, and how often each stood there."""
    short = strings.filter((strings.str.len_bytes() <= LONGEST).fill_null(False))
    found = short.filter(short.str.to_lowercase().is_in(list(NULL_WORDS)) | short.is_in(list(EXACT_WORDS)))
    if found.is_empty():
        return strings, {}
    counts = found.value_counts(sort=True)
    words = counts[counts.columns[0]]
    absent = dict(zip(words.to_list(), counts["count"].to_list(), strict=True))
    return piecewise(strings, lambda piece: piece.set(piece.is_in(words.implode()).fill_null(False), None)), absent


def garbled(strings: pl.Series) -> pl.Series:
    """Where a text was decoded in the wrong way before, such as `CafÃ©`."""
    return strings.str.contains(GARBLED).fill_null(False)


class Ids(NamedTuple):
    """A column of ids."""

    values: pl.Series
    bad: pl.Series  # lists and objects that are no single id
    absent: Mapping[str, int]  # words that stand for nothing, and how often each stood there
    doubtful: pl.Series  # ids that look as if a spreadsheet had changed them
    notes: tuple[str, ...]


def ids(column: pl.Series) -> Ids:
    """Ids as text, those of whole numbers that a gap or a spreadsheet turned into floats without their `.0`."""
    inexact = pl.repeat(False, len(column), dtype=pl.Boolean, eager=True)
    if column.dtype.is_float():
        inexact = (column.abs() >= EXACT[type(column.dtype)]).fill_null(False)
        whole = column.cast(pl.Int64, strict=False)
        if bool((whole.cast(column.dtype) == column).fill_null(True).all()):
            column = whole
    values, bad, absent, _ = texts(column, flatten=flat_id)
    notes: tuple[str, ...] = ()
    # Whole floats: all of them, so that version numbers such as 1.0 beside 1.1 stay.
    if column.dtype == pl.String or column.dtype.is_decimal():
        floats = values.str.contains(r"^-?\d+\.0+$")
        if floats.any() and values.str.contains(r"^-?\d+(?:\.0+)?$").all():
            values = piecewise(values, lambda piece: piece.str.replace(r"\.0+$", ""))
    marked = (values.str.starts_with("'") & ~values.str.ends_with("'")).fill_null(False)
    if marked.any():
        # The mark of a spreadsheet for text.
        first = values.filter(marked)[0]
        values = values.zip_with(~marked, values.str.strip_chars_start("'"))
        notes = (f"the apostrophe before ids such as {first} was left out x {marked.sum()}",)
    changed = [SCIENTIFIC, DATES, TRUTHS, *([] if values.str.contains(DECIMAL).any() else [WHOLE])]
    doubtful = inexact | values.str.contains("|".join(changed)).fill_null(False)
    return Ids(values, bad, absent, doubtful, notes)


def identifiers(column: pl.Series) -> pl.Series:
    """Ids as text; a column of whole floats (integers that once had a gap) loses its `.0`."""
    return ids(column).values

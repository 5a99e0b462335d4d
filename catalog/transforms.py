"""What a mapping reads a canonical column from: columns, each in a form, as in `item_id=article_id:zfill10`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace

import polars as pl

from ..errors import InvalidDataError
from . import parsing

Transform = Callable[[pl.Series], pl.Series]
# Between columns: of one the first that holds a value counts, row by row; of the other all have to say yes.
ELSE, ALL = "|", "&"
# What RecBole writes behind the names of columns.
RECBOLE = re.compile(r":(token|token_seq|float|float_seq)$")
ZFILL = re.compile(r"zfill(\d{1,2})")


def _whole(texts: pl.Series) -> pl.Series:
    """`00123` and `123.0` as `123`; what is no whole number stays."""
    return pl.select(pl.coalesce(texts.str.extract(r"^0*(\d+)(?:\.0*)?$"), texts)).to_series()


# What systems write in place of the id of a shopper whom they do not know, in lower case.
NOBODY = ("guest", "anonymous", "anon", "unknown", "not logged in", "not_logged_in", "(not set)", "not set", "-1")


def is_nobody(texts: pl.Series) -> pl.Series:
    """Where an id stands for everybody who is not known."""
    return texts.str.to_lowercase().is_in(NOBODY).fill_null(False)


def _above_zero(texts: pl.Series) -> pl.Series:
    return parsing.numbers(texts)[0] > 0


def _with_points(texts: pl.Series) -> pl.Series:
    """`1.299,50` as `1299.50`."""
    return texts.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)


# What may stand behind a colon, and what it does to a text, in words that follow "would match".
TRANSFORMS: dict[str, tuple[Transform, str]] = {
    "int": (_whole, "as whole numbers, without '.0' and leading zeros"),
    "upper": (lambda texts: texts.str.to_uppercase(), "in upper case"),
    "lower": (lambda texts: texts.str.to_lowercase(), "in lower case"),
    "strip": (lambda texts: texts.str.strip_chars(" \t\r\n\u00a0\ufeff'\"`"), "without surrounding blanks and quotes"),
    "nfc": (lambda texts: texts.str.normalize("NFC"), "in the Unicode form NFC"),
    "nfkc": (lambda texts: texts.str.normalize("NFKC"), "in the Unicode form NFKC"),
    "last": (lambda texts: texts.str.extract(r"([^/]*)/*$"), "by what follows the last slash"),
    "digits": (lambda texts: texts.str.extract(r"(\d+)\D*$"), "by their last digits"),
    "plain": (lambda texts: texts.str.replace_all(r"[^\pL\pM\pN]", ""), "by letters and digits only"),
    "known": (lambda texts: texts.set(is_nobody(texts), None), "where they name somebody"),
    "positive": (_above_zero, "where the number is above zero"),
    "comma": (_with_points, "with a decimal comma"),
}


def find_transform(name: str) -> Transform | None:
    """What that name does to a column of text; None where there is no such name."""
    if filled := ZFILL.fullmatch(name):
        width = int(filled[1])
        return lambda texts: texts.str.pad_start(width, "0").zip_with(texts.str.contains(r"^\d+$"), texts)
    return TRANSFORMS[name][0] if name in TRANSFORMS else None


def in_words(names: Sequence[str]) -> str:
    """What a chain of transforms does, to follow "would match"."""
    zeros = "with leading zeros to {} places"
    return " and ".join(TRANSFORMS[n][1] if n in TRANSFORMS else zeros.format(n.removeprefix("zfill")) for n in names)


def transformed(column: pl.Series, names: Sequence[str]) -> pl.Series:
    """A column in the form that these names give it, one after the other; without names as it is."""
    for name in names:
        transform = find_transform(name)
        assert transform is not None
        column = transform(parsing.identifiers(column))
    return column


@dataclass(frozen=True)
class Origin:
    """A column and the form that it is read in."""

    column: str
    transforms: tuple[str, ...] = ()
    sign: str = ELSE  # how it is joined to the one before it

    def __str__(self) -> str:
        return ":".join([self.column, *self.transforms])

    def read(self, frame: pl.DataFrame) -> pl.Series:
        """Its values."""
        return transformed(frame[self.column], self.transforms)


def written(origins: Sequence[Origin]) -> str:
    """Origins as a mapping writes them."""
    return "".join(f"{origin.sign if i else ''}{origin}" for i, origin in enumerate(origins))


def read_origins(frame: pl.DataFrame, origins: Sequence[Origin]) -> pl.Series:
    """The values of the first origin joined with those of the others, row by row."""
    values = origins[0].read(frame)
    for origin in origins[1:]:
        other = origin.read(frame)
        if origin.sign == ALL:
            values = _all_of(values, other)
        else:
            texts = parsing.identifiers(values)
            values = texts.zip_with(texts.is_not_null(), parsing.identifiers(other))
    return values


def _all_of(*columns: pl.Series) -> pl.Series:
    """`false` where one says no, else a word that says neither, else `true` where one says yes, else null."""
    read = [parsing.booleans(column) for column in columns]
    odd = [parsing.text(column).set(~own.bad, None) for column, own in zip(columns, read, strict=True)]
    yes = [own.values.cast(pl.String) for own in read]
    no = pl.any_horizontal((~own.values).fill_null(False) for own in read)
    return pl.select(pl.when(no).then(pl.lit("false")).otherwise(pl.coalesce(*odd, *yes))).to_series()


def as_option(option: str, name: str, column: str) -> str:
    """An option that reads a canonical column from that column, as it is typed into a shell."""
    source = f'"{column}"' if "," in column else column
    return f"{option} {shlex.quote(f'{name}={source}')}"


def find_origins(text: str, columns: Sequence[str]) -> tuple[Origin, ...] | None:
    """What `text` reads of a table of these columns; None where it names a column that the table lacks.

    The whole text as the name of a column comes first, whatever signs it holds.
    """
    parts = [part.strip() for part in re.split(r"([|&])", text)]
    with nullcontext() if len(parts) == 1 else suppress(InvalidDataError):
        whole = _find(text, columns)
        if whole is not None:
            return (whole,)
    found = [_find(part, columns) for part in parts[::2]]
    if len(parts) == 1 or None in found:
        return None
    signs = [ELSE, *parts[1::2]]
    return tuple(replace(own, sign=sign) for own, sign in zip(found, signs, strict=True) if own is not None)


def _find(text: str, columns: Sequence[str]) -> Origin | None:
    column = find_column(text, columns)
    if column is not None:
        return Origin(column)
    head, colon, name = text.rpartition(":")
    found = _find(head, columns) if colon else None
    if found is None:
        return None
    name = name.strip().lower()
    if find_transform(name) is None:
        raise InvalidDataError(
            f"{name!r} in {text!r} is no form to read a column in; use one of zfillN, {', '.join(TRANSFORMS)}."
        )
    return Origin(found.column, (*found.transforms, name))


def find_column(text: str, columns: Sequence[str]) -> str | None:
    """The column of that name; else the only one that differs in blanks around it, a RecBole type or case."""
    if text in columns:
        return text
    for form in (str.strip, lambda name: RECBOLE.sub("", name.strip()), lambda name: name.strip().casefold()):
        alike = [column for column in columns if form(column) == form(text)]
        if len(alike) == 1:
            return alike[0]
    return None

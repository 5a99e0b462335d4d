"""One canonical column after the other parsed into its place in an intake, with what is wrong or worth a note."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import polars as pl

from ..errors import InvalidDataError
from . import parsing
from .intake import Intake

# Columns of these names count pieces, so that any number above 0 means that there are some.
STOCK = re.compile(r"stock|quantity|qty|inventory|bestand|lager|pieces", re.IGNORECASE)
# How far ahead of now a clock elsewhere may be.
AHEAD = timedelta(days=1)
START_OF_1970 = datetime(1970, 1, 1, tzinfo=UTC)
LISTED_WORDS = 10  # of unknown words, the most frequent


def add_text(intake: Intake, name: str, markup: bool = False) -> None:
    """Text, without HTML where `markup` is true."""
    raw = _readable(intake, name)
    values, bad, absent, note = parsing.texts(raw, markup=markup)
    intake.columns[name] = values
    message = f"{name} {{value}} is an object without a name; give one text instead."
    intake.add(f"bad_{name}", bad, message, column=name, values=raw, drop=False)
    note_absent(intake, name, absent)
    intake.notes += [f"{name}: {note}"] if note else []
    message = f"{name} {{value}} looks like UTF-8 that was read in another encoding; export it again as UTF-8."
    wrong = parsing.garbled(values)
    intake.add(f"garbled_{name}", wrong, message, column=name, values=values, severity="warning", drop=False)


def add_ids(intake: Intake, name: str) -> None:
    """Ids as text, with a warning where a spreadsheet may have changed them."""
    raw = _readable(intake, name)
    found = parsing.ids(raw)
    if found.bad.sum() * 2 > len(raw) - raw.null_count():
        raise InvalidDataError(
            f"{intake.source}: {name} is read from column {_source(intake, name)!r}, which holds lists or objects such "
            f"as {_as_text(raw.filter(found.bad)[0])!r}; name a column of single ids with {_option(intake)} "
            f"{name}=COLUMN."
        )
    intake.columns[name] = found.values
    message = f"{name} {{value}} is no single id; give one."
    intake.add(f"bad_{name}", found.bad, message, column=name, values=raw)
    note_absent(intake, name, found.absent)
    intake.notes += [f"{name}: {note}" for note in found.notes]
    message = f"{name} {{value}} looks changed by a spreadsheet or another program; export the ids as text."
    code = f"doubtful_{name}"
    intake.add(code, found.doubtful, message, column=name, values=found.values, severity="warning", drop=False)


def add_number(intake: Intake, name: str) -> parsing.Money:
    """A column of numbers."""
    raw = _readable(intake, name)
    found = parsing.money(raw)
    intake.columns[name] = found.values
    message = f"{name} {{value}} is no number; write it like 12.99."
    intake.add(f"bad_{name}", found.bad, message, column=name, values=raw, drop=False)
    note_absent(intake, name, found.absent)
    intake.notes += [f"{name}: {note}" for note in found.notes]
    return found


def add_currency(intake: Intake, prices: parsing.Money) -> None:
    """The currency of each row: its own column, else what stands beside the price."""
    add_text(intake, "currency")
    own = parsing.currency_codes(intake.columns["currency"])
    beside = parsing.code_of(prices.signs)
    currency = own.zip_with(own.is_not_null(), beside)
    intake.columns["currency"] = currency
    intake.notes += [f"price: {note}" for note in parsing.assumptions(prices.signs.filter(own.is_null()))]
    other = (own != beside).fill_null(False) & ~prices.signs.is_in(list(parsing.ASSUMED)).fill_null(False)
    if other.any():
        intake.notes.append(
            f"currency: {other.sum()} rows name {own.filter(other)[0]} in their own column and "
            f"{beside.filter(other)[0]} beside the price; the column counts"
        )
    counts = currency.drop_nulls().value_counts(sort=True).rows()
    if len(counts) > 1:
        intake.notes.append(f"prices are in several currencies: {counted(counts)}")


def add_available(intake: Intake) -> None:
    """Whether an item can be bought: yes where nothing is said, no where the word is unknown."""
    raw = _readable(intake, "available")
    found = parsing.booleans(raw, counts=STOCK.search(_source(intake, "available")) is not None)
    # What nobody knows the meaning of is not recommended.
    intake.columns["available"] = found.values.fill_null(True).set(found.bad, False)
    message = "available {value} is no known word of yes or no; write true or false."
    intake.add("bad_available", found.bad, message, column="available", values=raw, drop=False)
    if found.bad.any():
        counts = parsing.text(raw.filter(found.bad)).value_counts(sort=True).rows()
        intake.notes.append(f"available: unknown words count as not available: {counted(counts)}")


def add_category_path(intake: Intake) -> None:
    """The first category path of each row."""
    raw = _readable(intake, "category_path")
    found = parsing.paths(raw)
    intake.columns["category_path"] = found.values
    message = "category_path {value} is an object without a name; give a text such as Home > Rugs."
    intake.add("bad_category_path", found.bad, message, column="category_path", values=raw, drop=False)
    if found.several:
        intake.notes.append(f"category_path: {found.several} rows name several paths; one of each is read")
    intake.notes += [f"category_path: {found.note}"] if found.note else []


def add_time(intake: Intake, name: str, now: datetime | None) -> parsing.Timestamps:
    """A column of times, with a warning for those of the first moment of 1970 and those to come."""
    layout, now = intake.layout, now or datetime.now(UTC)
    raw = _readable(intake, name)
    unit = layout.time_unit if intake.kind == "events" or layout.time_unit != "order" else None
    found = parsing.timestamps(raw, layout.date_format, unit, now)
    intake.columns[name] = found.values
    if found.kind != "order":
        zero = (found.values == START_OF_1970).fill_null(False)
        message = f"{name} {{value}} is the first moment of 1970, which often stands for an unknown time; correct it."
        intake.add(f"unset_{name}", zero, message, column=name, values=raw, severity="warning", drop=False)
        ahead = (found.values > now + AHEAD).fill_null(False)
        message = (
            f"{name} {{value}} lies in the future; correct it, or name its form with --date-format or --time-unit."
        )
        intake.add(f"future_{name}", ahead, message, column=name, values=raw, severity="warning", drop=False)
    return found


def add_created_at(intake: Intake, now: datetime | None) -> None:
    """When an item came to be; a mere counter is no time."""
    found = add_time(intake, "created_at", now)
    bad, message = found.bad, "created_at {value} is no time; write it like 2017-01-31T14:05:00Z."
    if found.doubt is not None:
        message = f"created_at {{value}} is not read, as all {found.doubt}."
    elif found.kind == "order":
        bad = bad | found.values.is_not_null()
        intake.columns["created_at"] = found.values.clear(len(bad))
    raw = intake.column("created_at")
    intake.add("bad_created_at", bad, message, column="created_at", values=raw, drop=False)
    intake.notes += [f"created_at: {found.span}"] if found.span else []


def note_absent(intake: Intake, name: str, absent: Mapping[str, int]) -> None:
    """Words that were read as missing."""
    if absent:
        intake.notes.append(f"{name}: read as missing: {counted(list(absent.items()))}")


def counted(counts: list[tuple[str, int]]) -> str:
    """Words and how often each stands there, the most frequent first."""
    shown = ", ".join(f"{word} x {n}" for word, n in counts[:LISTED_WORDS])
    return shown + (f" and {len(counts) - LISTED_WORDS} others" if len(counts) > LISTED_WORDS else "")


def _as_text(cell: object) -> str:
    return str(cell.to_list() if isinstance(cell, pl.Series) else cell)


def _source(intake: Intake, name: str) -> str:
    return intake.understood.get(name, name)


def _option(intake: Intake) -> str:
    return "--map" if intake.kind == "items" else "--event-map"


def _readable(intake: Intake, name: str) -> pl.Series:
    """The raw column, refused where it holds bytes that are no text."""
    raw = intake.column(name)
    if parsing.is_bytes(raw):
        raise InvalidDataError(
            f"{intake.source}: {name} is read from column {_source(intake, name)!r}, which holds bytes that are no "
            f"UTF-8 text; name another with {_option(intake)} {name}=COLUMN."
        )
    return raw

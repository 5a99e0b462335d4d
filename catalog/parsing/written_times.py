"""Times that are written out, in ISO 8601 or in the ways of countries, where a column leaves no doubt about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl

from ..schema import TIMESTAMP
from .texts import nulls

TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M%z", "%Y-%m-%d")
# Beginnings of the names of months in English, German, French, Spanish, Italian and Dutch.
MONTHS = (
    ("jan", "ene", "gen"), ("feb", "fév", "fev"), ("mar", "mär", "mrz", "mrt", "maa"), ("apr", "avr", "abr"),
    ("may", "mai", "mag", "mei", "maj"), ("jun", "juin", "giu"), ("jul", "juil", "lug"), ("aug", "aoû", "aou", "ago"),
    ("sep", "set"), ("oct", "okt", "ott"), ("nov",), ("dec", "dez", "déc", "dic"),
)  # fmt: skip
MONTH_OF = {name: number for number, names in enumerate(MONTHS, start=1) for name in names}
CLOCK = (
    r"(?:[ T,]+(?:- |um |at |à )?(?<hour>\d{1,2})[:h.](?<minute>\d{2})(?:[:.](?<second>\d{2})(?<part>[.,]\d+)?)?"
    r"\s*(?:(?<half>[AaPp])\.?[Mm]\.?)?\s*(?:Uhr)?\s*(?:GMT|UTC)?(?<zone>Z|[+-]\d{2}(?::?\d{2})?)?(?:\s*\([^)]*\))?)?$"
)
WEEKDAY = r"(?i)^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+"
# Day and month by number: which is which is for the whole column to say.
NUMERIC = rf"^(?<a>\d{{1,2}})(?<mark>[/.\-])(?<b>\d{{1,2}})[/.\-](?<c>\d{{4}}|\d{{2}}){CLOCK}"
DAY_FIRST = (
    r"^(?<day>\d{1,2})(?:st|nd|rd|th|er)?[.\-/ ]+(?:de )?(?<month>\pL{3,10})\.?(?: de)?[.\-/, ]+"
    r"(?<year>\d{4}|\d{2})" + CLOCK
)
MONTH_FIRST = rf"^(?<month>\pL{{3,10}})\.?[\- ]+(?<day>\d{{1,2}})(?:st|nd|rd|th)?[,\- ]+(?<year>\d{{4}}){CLOCK}"
YEAR_FIRST = rf"^(?<year>\d{{4}})[\-/. ](?<month>\d{{1,2}}|\pL{{3,10}})[\-/. ](?<day>\d{{1,2}}){CLOCK}"
# `Wed May 01 10:07:00 2024`, with or without a zone before the year.
UNIX = (
    r"^(?<month>\pL{3}) +(?<day>\d{1,2}) (?<hour>\d{2}):(?<minute>\d{2})(?::(?<second>\d{2}))?"
    r"(?: (?:UTC|GMT|(?<zone>[+-]\d{4})))? (?<year>\d{4})$"
)
ORDERS = {"day/month/year": "abc", "month/day/year": "bac", "year/month/day": "cba"}
FIRST_YEAR = 1970


class Reordered(NamedTuple):
    """Times rewritten in ISO 8601, null where nobody can tell what they are."""

    iso: pl.Series
    form: str = "written dates"  # how they were written
    doubt: str | None = None  # why none was read, with the remedy


def zoned(column: pl.Series) -> pl.Series:
    """Dates and datetimes of any unit and zone in the canonical dtype; naive is UTC."""
    moments = column.cast(pl.Datetime("us")) if column.dtype == pl.Date else column
    zone = getattr(moments.dtype, "time_zone", None)
    moments = moments.dt.replace_time_zone("UTC") if zone is None else moments.dt.convert_time_zone("UTC")
    return moments.cast(TIMESTAMP)


def iso_moments(strings: pl.Series) -> pl.Series:
    """ISO 8601, basic or extended, with a blank or T and any numeric zone; null where a text is none."""
    if not strings.str.contains(r"^\d{4}").any():
        return pl.Series([None], dtype=TIMESTAMP).new_from_index(0, len(strings))
    plain = strings.str.replace(r"^(\d{4})[/.](\d{1,2})[/.](\d{1,2})", "$1-$2-$3")
    plain = plain.str.replace(r"^(\d{4})(\d{2})(\d{2})[Tt ](\d{2}):?(\d{2}):?(\d{2})?", "$1-$2-$3 $4:$5:$6")
    plain = plain.str.replace(r"^(\d{4}-\d{2}-\d{2} \d{2}:\d{2}):($|[^\d])", "$1$2")
    plain = plain.str.replace(r"^(\d{4}-\d{1,2}-\d{1,2}[Tt ]\d{2})$", "$1:00")
    plain = plain.str.replace(r"^(\d{4}-\d{1,2}-\d{1,2})[Tt]", "$1 ").str.replace(r"(\d{2}),(\d+)", "$1.$2")
    # Beside its offset the name of a zone says nothing more.
    plain = plain.str.replace(r"([Zz]|[+-]\d{2}:?\d{2})\[[A-Za-z_/]+\]$", "$1")
    plain = plain.str.replace(r"\s*([Zz]|UTC|GMT)$", "+00:00")
    plain = plain.str.replace(r"(:\d{2}(?:\.\d+)?) ?([+-]\d{2})$", "$1$2:00")
    plain = plain.str.replace(r"(:\d{2}(?:\.\d+)?) ([+-]\d{2})", "$1$2")
    moments = pl.Series([None], dtype=TIMESTAMP).new_from_index(0, len(plain))
    for pattern in TIME_FORMATS:
        left = moments.is_null() & plain.is_not_null()
        if not left.any():
            break
        rest = plain.filter(left).str
        day = pattern == "%Y-%m-%d"
        parsed = rest.to_date(pattern, strict=False) if day else rest.to_datetime(pattern, strict=False, time_unit="us")
        moments = moments.scatter(left.arg_true(), zoned(parsed))
    return moments


def reorder(strings: pl.Series, now: datetime) -> Reordered:
    """Times in other forms than ISO 8601 rewritten in it."""
    plain = strings.str.normalize("NFKC").str.replace_all(r"\s+", " ").str.replace(WEEKDAY, "")
    # Web servers write `[15/Jan/2024:10:00:00 +0100]`.
    plain = plain.str.replace(r"^\[?(\d{1,2}/\pL{3}/\d{4}):([^\]]*)\]?$", "$1 $2")
    plain = plain.str.replace(r"^(\d{4})[年년] ?(\d{1,2})[月월] ?(\d{1,2})[日일]?", "$1-$2-$3").str.replace(
        r"(\d)[時时点](\d{1,2})分?", "$1:$2"
    )
    iso = nulls(len(plain))
    # Numbers only are no name of a month: long columns of them are looked at once.
    worded = ~plain.str.contains(r"^\d{1,2}[/.\-]\d{1,2}[/.\-]\d").fill_null(True)
    for pattern in (DAY_FIRST, MONTH_FIRST, UNIX, YEAR_FIRST) if worded.any() else ():
        left = worded & iso.is_null()
        parts = plain.filter(left).str.extract_groups(pattern).struct.unnest()
        found = _iso(parts["year"], _month(parts["month"]), parts["day"], parts)
        iso = iso.scatter(left.arg_true(), found)
    parts = plain.str.extract_groups(NUMERIC).struct.unnest()
    numeric = parts["a"].is_not_null() & iso.is_null()
    if not numeric.any():
        return Reordered(iso)
    ordered = {form: _in_order(parts, order) for form, order in ORDERS.items()}
    moments = {form: iso_moments(texts) for form, texts in ordered.items()}
    fitting = _fitting(moments, parts["c"], numeric, now)
    if len(fitting) != 1:
        return Reordered(iso, doubt=_doubt(strings.filter(numeric), parts.filter(numeric), fitting))
    form = fitting[0]
    return Reordered(ordered[form].zip_with(numeric, iso), form)


def _fitting(moments: dict[str, pl.Series], years: pl.Series, numeric: pl.Series, now: datetime) -> list[str]:
    """The orders in which every cell that can be a time at all is one; two digits of a year are none to come."""
    short = years.str.len_bytes() == 2
    late, early = now + timedelta(days=1), datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
    valid = {
        form: (own.is_not_null() & (own >= early) & ((own <= late) | ~short)).fill_null(False) & numeric
        for form, own in moments.items()
    }
    possible = pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(numeric))
    for own in valid.values():
        possible = possible | own
    if not possible.any():
        return []
    return [form for form, own in valid.items() if bool((own == possible).all())]


def _in_order(parts: pl.DataFrame, order: str) -> pl.Series:
    """(day, month, year) by the letters of `order` as ISO 8601."""
    day, month, year = (parts[letter] for letter in order)
    if order == "cba":
        # Four digits at the end are no day.
        day = day.set((day.str.len_bytes() > 2).fill_null(False), None)
    return _iso(year, month.cast(pl.Int64, strict=False), day, parts)


def _month(names: pl.Series) -> pl.Series:
    lower = names.str.to_lowercase()
    known = {**MONTH_OF, **{str(n): n for n in range(1, 13)}, **{f"{n:02}": n for n in range(1, 10)}}
    long = lower.str.slice(0, 4).replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.Int64)
    short = lower.str.slice(0, 3).replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.Int64)
    return long.zip_with(long.is_not_null(), short)


def _iso(year: pl.Series, month: pl.Series, day: pl.Series, parts: pl.DataFrame) -> pl.Series:
    """ISO 8601 of the parts, null where one is missing or an hour of a half day is none."""
    hour = parts["hour"].cast(pl.Int64, strict=False)
    if "half" in parts.columns:
        half = parts["half"].str.to_lowercase()
        wrong = half.is_not_null() & ~hour.is_between(1, 12)
        twelve = (hour % 12) + (half == "p").fill_null(False).cast(pl.Int64) * 12
        hour = twelve.zip_with(half.is_not_null(), hour)
        day = day.set(wrong.fill_null(False), None)
    # 70 to 99 are years of the last century, as strptime has it.
    short = ("19" + year).zip_with((year >= "70").fill_null(False), "20" + year)
    full = short.zip_with((year.str.len_bytes() == 2).fill_null(False), year)
    date = full + "-" + month.cast(pl.String).str.zfill(2) + "-" + day.str.zfill(2)
    fraction = (parts["part"] if "part" in parts.columns else pl.Series([""]).new_from_index(0, len(date))).fill_null(
        ""
    )
    time = hour.cast(pl.String).str.zfill(2) + ":" + parts["minute"] + ":" + parts["second"].fill_null("00")
    time = " " + time + fraction.str.replace(",", ".") + parts["zone"].fill_null("")
    return (date + time).zip_with(time.is_not_null(), date)


def _doubt(cells: pl.Series, parts: pl.DataFrame, fitting: list[str]) -> str:
    short = parts["c"].str.len_bytes()[0] == 2
    letters = {"day": "%d", "month": "%m", "year": "%y" if short else "%Y"}
    clock = " %H:%M" if parts["hour"].is_not_null().any() else ""
    # Two digits may stand for a year in front as well.
    orders = fitting or list(ORDERS)[: 3 if short else 2]
    formats = (parts["mark"][0].join(letters[part] for part in order.split("/")) + clock for order in orders)
    remedy = "say which it is with " + " or ".join(f"--date-format {form!r}" for form in formats)
    if not fitting:
        return f"such as {cells[0]!r} are of no one form; {remedy}"
    return f"such as {cells[0]!r} may be {' or '.join(fitting)}; {remedy}"

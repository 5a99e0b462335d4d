"""Columns of times: datetimes, text in many forms, and numbers that are epochs, compact dates, days or mere counters.

The form is judged by the whole column and told; where the column leaves a doubt, none is taken.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl

from ...errors import UsageError
from ..layout import TimeUnit
from ..schema import TIMESTAMP, TimeKind
from .chunks import piecewise
from .texts import texts
from .written_times import iso_moments, reorder, zoned

PLAUSIBLE = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
DAY_US = 86_400_000_000
# Magnitude of a whole number that stands for a time: from 1973 on, the units do not overlap.
UNITS = (("s", 10**8, 10**11), ("ms", 10**11, 10**14), ("us", 10**14, 10**17), ("ns", 10**17, 2**63 - 1))
FACTORS = {"s": 1_000_000, "ms": 1_000, "us": 1}


class _Compact(NamedTuple):
    """A date and time written as one number of so many digits."""

    width: int
    form: str
    pattern: str
    rest: str = ""  # what must be added to read it
    earliest: int = 1970  # year
    share: float = 0.5  # of a column that must be of that form; the rest is unreadable


# Six digits are counters as easily, and those with a short year count only where no one is anything else.
COMPACT = (
    _Compact(6, "YYMMDD", "%y%m%d", earliest=2000, share=1.0),
    _Compact(8, "YYYYMMDD", "%Y%m%d"),
    _Compact(10, "YYYYMMDDHH", "%Y%m%d%H%M", "00"),
    _Compact(10, "YYMMDDHHMM", "%y%m%d%H%M", earliest=2000, share=1.0),
    _Compact(12, "YYYYMMDDHHMM", "%Y%m%d%H%M"),
    _Compact(12, "YYMMDDHHMMSS", "%y%m%d%H%M%S", earliest=2000, share=1.0),
    _Compact(14, "YYYYMMDDHHMMSS", "%Y%m%d%H%M%S"),
    _Compact(17, "YYYYMMDDHHMMSSmmm", "%Y%m%d%H%M%S%3f"),
)
# Digits with the year behind day and month, and the clock after it.
SCRAMBLED = {8: "", 10: "%H", 12: "%H%M", 14: "%H%M%S"}
FIRST_YEAR = 1990
SAMPLE = 1_000
# Ticks of 100 ns since a year of Windows: as ns since 1970 they would be of times that no such log is from.
TICKS = {"ticks since the year 1": 62_135_596_800 * 10**7, "ticks since 1601": 11_644_473_600 * 10**7}
FIRST_TICKS = datetime(2000, 1, 1, tzinfo=UTC)
EXCEL_ZERO = datetime(1899, 12, 30, tzinfo=UTC)  # day 0 of spreadsheets
EXCEL_DAYS = (20_000, 80_000)  # 1954 to 2119
HOURS = ("%H", "%I", "%k", "%l", "%R", "%T", "%r", "%X", "%c", "%s", "%+")
MINUTES = ("%M", "%R", "%T", "%r", "%X", "%c", "%s", "%+")
EXACT_FLOAT32 = 2**24
EXACT_DIGITS = 7  # behind the point, from which seconds since 1970 are exact to two minutes


class Timestamps(NamedTuple):
    """A parsed time column."""

    values: pl.Series  # microseconds UTC
    bad: pl.Series  # rows that held something unreadable
    kind: TimeKind  # "order" for bare counters, "day" where all times are midnight, else "real"
    unit: str | None  # of numbers since 1970 ("s", "ms", "us", "ns"), "counter", or None where times were written out
    form: str = "ISO 8601"  # what they were read as
    doubt: str | None = None  # why none of them was read, with the remedy
    note: str | None = None  # what they may be instead, or how exact they are

    @property
    def span(self) -> str | None:
        """From when to when they are, and as what they were read."""
        first, last = self.values.min(), self.values.max()
        if self.kind == "order" or not isinstance(first, datetime) or not isinstance(last, datetime):
            return None
        return f"times from {_shown(first)} to {_shown(last)} UTC, read as {self.form}"


class _Read(NamedTuple):
    values: pl.Series
    unit: str | None = None
    form: str = "ISO 8601"
    doubt: str | None = None
    note: str | None = None


def _shown(moment: datetime) -> str:
    seconds = moment.second or moment.microsecond
    midnight = not (moment.hour or moment.minute or seconds)
    return moment.strftime("%Y-%m-%d" if midnight else "%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def utc(moment: datetime) -> datetime:
    """A moment with its zone; a naive one is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def timestamps(
    column: pl.Series,
    date_format: str | None = None,
    time_unit: TimeUnit | None = None,
    now: datetime | None = None,
) -> Timestamps:
    """Times from datetimes, dates, text, or numbers whose magnitude tells their unit; naive is UTC.

    `date_format` (as of strftime) and `time_unit` say what they are. `now` decides what a compact date may be.
    """
    now = now or datetime.now(UTC)
    if column.dtype.is_float():
        column = column.fill_nan(None)
    if column.dtype.is_numeric():
        given = column.is_not_null()
        read = _numeric(column, date_format, time_unit, now)
    elif column.dtype in (pl.Datetime, pl.Date):
        given, read = (
            column.is_not_null(),
            _Read(zoned(column), form="datetimes" if column.dtype == pl.Datetime else "dates"),
        )
    else:
        strings = texts(column).values
        # What databases write where no date is known.
        strings = piecewise(strings, lambda piece: piece.set(piece.str.contains(r"^0000-00-00").fill_null(False), None))
        given = strings.is_not_null()
        read = _textual(strings, date_format, time_unit, now)
    if time_unit == "order":
        read = read._replace(unit="counter")
    # Year 1 and year 9999 are what other systems write for "unknown".
    plausible = read.values.is_between(*PLAUSIBLE, closed="left").fill_null(False)
    values = read.values.set(~plausible, None)
    known = values.drop_nulls().cast(pl.Int64)
    midnights = len(known) > 0 and bool((known % DAY_US == 0).all())
    kind: TimeKind = "order" if read.unit == "counter" else "day" if midnights else "real"
    return Timestamps(values, given & values.is_null(), kind, read.unit, read.form, read.doubt, read.note)


def _numeric(column: pl.Series, date_format: str | None, time_unit: TimeUnit | None, now: datetime) -> _Read:
    largest = column.cast(pl.Float64).abs().max()
    if column.dtype == pl.Float32 and isinstance(largest, float) and largest >= EXACT_FLOAT32:
        doubt = "are float32, which is off by a minute and more; export them as integers, float64 or datetimes"
        return _Read(_none(len(column)), doubt=doubt)
    if date_format is not None:
        return _formatted(column.cast(pl.Int64, strict=False).cast(pl.String), date_format)
    return _from_numbers(column, time_unit, now)


def _textual(strings: pl.Series, date_format: str | None, time_unit: TimeUnit | None, now: datetime) -> _Read:
    if date_format is not None:
        return _formatted(strings, date_format)
    whole = strings.cast(pl.Int64, strict=False)
    floats = piecewise(strings, _as_floats)
    # Rows that are plain numbers are read as numbers.
    if whole.null_count() == strings.null_count():
        return _from_numbers(whole, time_unit, now)
    if floats.null_count() <= (len(strings) + strings.null_count()) // 2:
        read = _from_numbers(floats, time_unit, now)
        return read._replace(note=_coarse(strings) or read.note)
    found = piecewise(strings, iso_moments)
    other = found.is_null() & strings.is_not_null()
    if not other.any():
        return _Read(found)
    written = reorder(strings.filter(other), now)
    moments = iso_moments(written.iso)
    forms = ["ISO 8601"] * bool(found.is_not_null().any()) + [written.form] * bool(moments.is_not_null().any())
    found = found.scatter(other.arg_true(), moments)
    left = found.null_count() - strings.null_count()
    # Of a few cells in doubt the other ones say nothing, so they are only unreadable themselves.
    doubt = written.doubt if 2 * left > len(strings) - strings.null_count() else None
    return _Read(found, form=" and ".join(forms), doubt=doubt)


def _as_floats(strings: pl.Series) -> pl.Series:
    return strings.str.replace(r"^(\d+),(\d+)$", "$1.$2").cast(pl.Float64, strict=False)


def _coarse(strings: pl.Series) -> str | None:
    """That times in scientific notation, such as `1.71E+12`, have lost their last digits."""
    parts = strings.str.extract_groups(r"^\d(?:\.(?<digits>\d+))?[eE]\+?(?<places>\d+)$").struct.unnest()
    if parts["places"].null_count() > strings.null_count() or not len(parts):
        return None
    kept = parts["digits"].str.len_bytes().fill_null(0).cast(pl.Int64).max()
    if not isinstance(kept, int) or kept >= EXACT_DIGITS:
        return None
    return (
        f"times such as {strings.drop_nulls()[0]} are written with {kept + 1} digits at most, and are no more exact; "
        "export them as whole numbers"
    )


def _none(height: int) -> pl.Series:
    return pl.Series([None], dtype=TIMESTAMP).new_from_index(0, height)


def _formatted(strings: pl.Series, date_format: str) -> _Read:
    """Times as the caller says that they are written, or in ISO 8601; what reads otherwise is unreadable."""
    if date_format.startswith(("%d", "%m")) and strings.str.contains(r"^\d+$").all():
        # A number has lost the zero that a day or a month of one digit begins with.
        longest = strings.str.len_bytes().max()
        strings = strings.str.zfill(longest + longest % 2) if isinstance(longest, int) else strings
    pattern, cells = date_format, strings
    if "%H" in pattern and not any(part in pattern for part in MINUTES):
        # An hour alone is one whose minute is 0.
        cells, pattern = strings + " 00", pattern + " %M"
    try:
        if any(part in pattern for part in HOURS):
            moments = zoned(cells.str.to_datetime(pattern, strict=False, time_unit="us"))
        else:
            moments = zoned(cells.str.to_date(pattern, strict=False))
    except pl.exceptions.PolarsError as error:
        raise UsageError(
            f"--date-format {date_format!r} is no whole format of times; write one in the letters of strftime, such as "
            "'%d/%m/%Y %H:%M'."
        ) from error
    return _Read(moments.zip_with(moments.is_not_null(), iso_moments(strings)), form=date_format)


def _from_numbers(column: pl.Series, time_unit: TimeUnit | None, now: datetime) -> _Read:
    """Numbers in the unit that the middle one suggests; a number of another magnitude is unreadable."""
    fractions = column.dtype.is_float() or column.dtype.is_decimal()
    values = column.cast(pl.Float64 if fractions else pl.Int64, strict=False)
    middle = values.median()
    if not isinstance(middle, int | float):
        return _Read(_none(len(values)))
    if time_unit == "order":
        return _Read((values.rank("dense").cast(pl.Int64) * 1_000_000).cast(TIMESTAMP), "counter", "counters")
    if time_unit == "excel":
        return _days(values)
    if time_unit is not None:
        return _epoch(_of_unit(values, time_unit, middle), time_unit)
    written = _compact(values, now) or _serials(values, now) or _scrambled(values, now) or _ticks(values, middle, now)
    if written is not None:
        return written
    unit, low, high = next((u for u in UNITS if u[1] <= middle < u[2]), ("counter", 0, 10**8))
    fits = (values >= low) & (values < high)
    values = values.set(~fits.fill_null(False), None)
    if unit == "counter":
        return _Read(_micros(values, 1_000_000), unit, "counters", note=_perhaps_days(values, now))
    return _epoch(values, unit)


def _of_unit(values: pl.Series, unit: str, middle: float) -> pl.Series:
    """Numbers of the magnitude of their unit, where most are of it: others would be times of another unit."""
    low, high = next((low, high) for name, low, high in UNITS if name == unit)
    return (
        values
        if not low <= middle < high
        else values.set(~values.is_between(low, high, closed="left").fill_null(False), None)
    )


def _perhaps_days(values: pl.Series, now: datetime) -> str | None:
    """That counters may be days of a spreadsheet, where all of them would be recent ones."""
    first, last = ((moment - EXCEL_ZERO).days for moment in (FIRST_TICKS, now + timedelta(days=2)))
    if not bool(values.drop_nulls().is_between(first, last).all()):
        return None
    days = _days(values)
    span = Timestamps(days.values, days.values.is_null(), "day", None, days.form).span
    return None if span is None else f"as days of a spreadsheet they are {span.split(' UTC')[0]}: --time-unit excel"


def _epoch(values: pl.Series, unit: str) -> _Read:
    form = f"{unit} since 1970"
    if unit == "ns":
        return _Read((values.cast(pl.Int64, strict=False) // 1_000).cast(TIMESTAMP), unit, form)
    factor = FACTORS[unit]
    limit = 2**62 // factor
    return _Read(_micros(values.set((values.abs() > limit).fill_null(False), None), factor), unit, form)


def _micros(values: pl.Series, factor: int) -> pl.Series:
    micros = values * factor
    return (micros.round(0).cast(pl.Int64) if values.dtype.is_float() else micros).cast(TIMESTAMP)


def _compact(values: pl.Series, now: datetime) -> _Read | None:
    """Numbers such as 20240131 or 2024013114 as the times that their digits spell, if most of them spell one."""
    whole = values.cast(pl.Int64, strict=False)
    whole = whole.set((whole != values).fill_null(True), None)
    first = whole.drop_nulls().head(SAMPLE)
    width = next(iter(first.cast(pl.String).str.len_bytes().mode().sort()), 0)
    for form in (form for form in COMPACT if form.width == width):
        if form.form == "YYMMDDHHMM" and not _ahead(first, now):
            continue
        # Of epochs hardly one spells a date, so that long columns of them are told by their beginning.
        if _spelled(first, form, now).null_count() == len(first):
            continue
        moments = _spelled(whole, form, now)
        given = len(values) - values.null_count()
        if len(moments) - moments.null_count() >= form.share * given:
            return _Read(moments, form=form.form)
    return None


def _ahead(seconds: pl.Series, now: datetime) -> bool:
    """Whether all of them, as seconds since 1970, are still to come."""
    return bool((seconds > int((now + timedelta(days=1)).timestamp())).all())


def _spelled(whole: pl.Series, form: _Compact, now: datetime) -> pl.Series:
    """The times that digits spell in that form; null where they are none, or none that can have been."""
    digits = whole.cast(pl.String)
    digits = digits.set((digits.str.len_bytes() != form.width).fill_null(False), None) + form.rest
    if "%H" in form.pattern:
        moments = zoned(digits.str.to_datetime(form.pattern, strict=False, time_unit="us"))
    else:
        moments = zoned(digits.str.to_date(form.pattern, strict=False))
    earliest = datetime(form.earliest, 1, 1, tzinfo=UTC)
    latest = datetime(2100, 1, 1, tzinfo=UTC) if form.width == 8 else now + timedelta(days=366)
    return moments.set(~moments.is_between(earliest, latest).fill_null(False), None)


def _scrambled(values: pl.Series, now: datetime) -> _Read | None:
    """Numbers that spell a time with the day or the month first, which may be told but not guessed."""
    first = values.drop_nulls().head(SAMPLE).cast(pl.Int64, strict=False)
    for width, clock in SCRAMBLED.items():
        # A number has lost the zero that its text begins with.
        digits = first.cast(pl.String).str.zfill(width)
        if not digits.str.len_bytes().eq(width).fill_null(False).all():
            continue
        years = digits.str.slice(4, 4).cast(pl.Int64, strict=False)
        recent = years.is_between(FIRST_YEAR, now.year + 1).fill_null(False).all()
        orders = [order + clock for order in ("%d%m%Y", "%m%d%Y")]
        fitting = [order for order in orders if not _formatted(digits, order).values.has_nulls()]
        if recent and fitting:
            remedy = " or ".join(f"--date-format {order!r}" for order in fitting)
            doubt = f"such as {first[0]} look like a day, a month and a year in one number; say so with {remedy}"
            return _Read(_none(len(values)), doubt=doubt)
    return None


def _ticks(values: pl.Series, middle: float, now: datetime) -> _Read | None:
    """Numbers of .NET and of Windows that count tenths of microseconds."""
    first, last = (int(moment.timestamp()) * 10**7 for moment in (FIRST_TICKS, now + timedelta(days=366)))
    form = next((name for name, zero in TICKS.items() if first <= middle - zero <= last), None)
    if form is None:
        return None
    return _Read(((values.cast(pl.Int64, strict=False) - TICKS[form]) // 10).cast(TIMESTAMP), form=form)


def _serials(values: pl.Series, now: datetime) -> _Read | None:
    """Days of a spreadsheet with a time of day as fraction, such as 45413.4167, to the second."""
    if not values.dtype.is_float():
        return None
    known = values.drop_nulls()
    latest = min(EXCEL_DAYS[1], (now - EXCEL_ZERO).days + 2)
    if not bool(known.is_between(EXCEL_DAYS[0], latest).all()) or 2 * int((known != known.floor()).sum()) < len(known):
        return None
    return _days(values)


def _days(values: pl.Series) -> _Read:
    """Days of a spreadsheet, to the second."""
    values = values.set(~values.is_between(*EXCEL_DAYS).fill_null(False), None)
    seconds = (values * 86_400).round(0).cast(pl.Int64)
    start = int(EXCEL_ZERO.timestamp())
    return _Read(((seconds + start) * 1_000_000).cast(TIMESTAMP), form="days of a spreadsheet")

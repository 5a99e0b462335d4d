from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog import parsing
from hubspoke.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime(2024, 6, 1, tzinfo=UTC)
MOMENT = datetime(2017, 1, 31, 14, 5, 6, tzinfo=UTC)


def moments(values: list[Any], dtype: Any = None, **options: Any) -> parsing.Timestamps:
    return parsing.timestamps(pl.Series(values, dtype=dtype), now=NOW, **options)


@pytest.mark.parametrize(
    "text",
    [
        "2017-01-31T14:05:06Z", "2017-01-31 14:05:06", "2017-01-31T15:05:06+01:00", "2017-01-31T15:05:06+0100",
        "2017-01-31 15:05:06 +01", "2017/01/31 14:05:06", "2017-01-31 14:05:06 UTC", "2017-01-31T14:05:06.000000000",
        "2017-01-31 16:05:06 +0200", "20170131T140506Z", "2017-01-31T15:05:06+01:00[Europe/Berlin]",
        "2017-01-31 14:05:06,000", "Tue, 31 Jan 2017 14:05:06 GMT", "Tue, 31 Jan 2017 15:05:06 +0100",
        "Tue Jan 31 14:05:06 2017", "Jan 31, 2017 2:05:06 PM", "31-Jan-2017 14:05:06", "31.01.2017 14:05:06",
        "01/31/2017 2:05:06 pm", "31/01/2017 14:05:06", "31. Januar 2017 14:05:06", "31 janvier 2017 14:05:06",
        "2017年1月31日 14:05:06", "2017-01-31 02:05:06 PM", "31.01.17 14:05:06", "31-Jan-17 14:05:06",
        "Tue Jan 31 15:05:06 +0100 2017", "Tue Jan 31 2017 15:05:06 GMT+0100 (CET)",
        "31/01/2017 - 14:05:06", "31st January 2017, 14:05:06",
        "[31/Jan/2017:15:05:06 +0100]",
    ],
)  # fmt: skip
def test_written_times(text: str) -> None:
    parsed = moments([text, None])
    assert parsed.values.to_list() == [MOMENT, None]
    assert parsed.doubt is None


def test_mixed_forms_and_unreadable_rows() -> None:
    parsed = moments(["2017-01-31", "2017-01-31T14:05", "31.01.2017", None, "2017-02-30", "0000-00-00 00:00:00"])
    day = datetime(2017, 1, 31, tzinfo=UTC)
    assert parsed.values.to_list() == [day, day + timedelta(hours=14, minutes=5), day, None, None, None]
    assert parsed.bad.to_list() == [False, False, False, False, True, False]
    assert parsed.kind == "real"


@pytest.mark.parametrize(
    ("values", "first", "form"),
    [
        (["03/04/2024", "13/04/2024"], datetime(2024, 4, 3), "day/month/year"),
        (["03/04/2024", "04/13/2024"], datetime(2024, 3, 4), "month/day/year"),
        (["31.02.2024", "13.04.2024"], None, "day/month/year"),  # no day in either order, so it proves nothing
        (["24/05/01", "23/12/31"], datetime(2024, 5, 1), "year/month/day"),
    ],
)
def test_a_column_decides_between_day_and_month(values: list[str], first: datetime | None, form: str) -> None:
    parsed = moments(values)
    assert parsed.values.to_list()[0] == (first and first.replace(tzinfo=UTC))
    assert parsed.form == form
    assert parsed.doubt is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["03/04/2024", "05/06/2024"], "may be day/month/year or month/day/year"),
        (["03.04.2024 10:00"], "--date-format '%d.%m.%Y %H:%M' or --date-format '%m.%d.%Y %H:%M'"),
        (["13/04/2024", "04/13/2024"], "are of no one form"),
        (["01/02/03"], "year/month/day; say which it is with --date-format '%d/%m/%y' or"),
        (["15.01.24 10:00"], "--date-format '%d.%m.%y %H:%M' or --date-format '%y.%m.%d %H:%M'"),
        (["01052024", "02052024"], "--date-format '%d%m%Y' or --date-format '%m%d%Y'"),
        ([310120241008], "say so with --date-format '%d%m%Y%H%M'"),
    ],
)
def test_a_column_that_leaves_a_doubt_is_not_read(values: list[str], words: str) -> None:
    parsed = moments(values)
    assert parsed.values.is_null().all()
    assert parsed.bad.all()
    assert parsed.doubt is not None
    assert words in parsed.doubt


def test_a_date_format_goes_over_any_guess() -> None:
    assert moments(["03/04/2024", "2024-04-05"], date_format="%m/%d/%Y").values.to_list() == [
        datetime(2024, 3, 4, tzinfo=UTC), datetime(2024, 4, 5, tzinfo=UTC),
    ]  # fmt: skip
    hours = moments([2024011510], date_format="%Y%m%d%H")
    assert hours.values.to_list() == [datetime(2024, 1, 15, 10, tzinfo=UTC)]
    assert hours.form == "%Y%m%d%H"
    assert moments([1052024], date_format="%d%m%Y").values.to_list() == [datetime(2024, 5, 1, tzinfo=UTC)]
    assert moments(["15/01/2024 2:05 PM"], date_format="%d/%m/%Y %I:%M %p").values[0].hour == 14
    with pytest.raises(UsageError, match="'%d/%m/%Y %p' is no whole format"):
        moments(["15/01/2024 PM"], date_format="%d/%m/%Y %p")


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("as_text", [False, True])
def test_magnitude_decides_the_unit(unit: str, factor: int, as_text: bool) -> None:
    values = [1_485_871_506 * factor, 1_485_957_906 * factor]
    parsed = moments([str(v) for v in values] if as_text else values)
    assert (parsed.unit, parsed.kind, parsed.form) == (unit, "real", f"{unit} since 1970")
    assert parsed.values[0] == MOMENT


@pytest.mark.parametrize(
    ("values", "first", "form"),
    [
        ([20170131, 20170201], datetime(2017, 1, 31), "YYYYMMDD"),
        (["170131", "170201"], datetime(2017, 1, 31), "YYMMDD"),
        ([2017013114, 2017013115], datetime(2017, 1, 31, 14), "YYYYMMDDHH"),
        (["201701311405"], datetime(2017, 1, 31, 14, 5), "YYYYMMDDHHMM"),
        ([20170131140506], MOMENT, "YYYYMMDDHHMMSS"),
        ([20170131140506.0, None], MOMENT, "YYYYMMDDHHMMSS"),
        ([1701311405], datetime(2023, 11, 30, 2, 30, 5), "s since 1970"),  # a time that has been is no 17-01-31 14:05
        ([2401311405], datetime(2024, 1, 31, 14, 5), "YYMMDDHHMM"),
        (["170131140506"], MOMENT, "YYMMDDHHMMSS"),
        ([20170131, 20170201, 20171301], datetime(2017, 1, 31), "YYYYMMDD"),
        (["42766.586875", "42767"], MOMENT, "days of a spreadsheet"),
        (["42766,586875", "42767"], MOMENT, "days of a spreadsheet"),
        ([636214683060000000], MOMENT, "ticks since the year 1"),
        ([131303451060000000], MOMENT, "ticks since 1601"),
    ],
)
def test_compact_times_are_never_seconds(values: list[Any], first: datetime, form: str) -> None:
    parsed = moments(values)
    assert parsed.values[0] == first.replace(tzinfo=UTC)
    assert parsed.form == form
    assert parsed.unit == ("s" if form.startswith("s ") else None)


def test_what_is_no_compact_time_among_many_is_bad() -> None:
    parsed = moments([2024011510, 2024011511, 2024013225, 0])
    assert parsed.bad.to_list() == [False, False, True, True]
    assert moments([240101, 240132]).kind == "order"  # six digits that are not all days count


def test_counters_and_what_time_unit_makes_of_them() -> None:
    parsed = moments([0, 1, 2])
    assert (parsed.kind, parsed.unit, parsed.span) == ("order", "counter", None)
    assert parsed.values.to_list() == [datetime(1970, 1, 1, 0, 0, s, tzinfo=UTC) for s in range(3)]
    ordered = moments([2024011510, 5, 2024011510], time_unit="order")
    assert ordered.kind == "order"
    assert ordered.values.rank("dense").to_list() == [2, 1, 2]
    assert moments(["2024-01-01"], time_unit="order").kind == "order"
    assert moments([31_536_000], time_unit="s").values.to_list() == [datetime(1971, 1, 1, tzinfo=UTC)]
    assert moments([20240115], time_unit="s").form == "s since 1970"


@pytest.mark.parametrize(
    ("values", "unit", "words"),
    [
        ([45306, 45308], None, "they are times from 2024-01-15 to 2024-01-17: --time-unit excel"),
        ([45306, 45308], "excel", None),
        ([1, 2], None, None),
        (["1.71E+12", "1.7E+12"], None, "times such as 1.71E+12 are written with 3 digits at most"),
        (["1.3903488e+09"], None, None),
        (["1.714558e+09"], None, "times such as 1.714558e+09 are written with 7 digits at most"),
    ],
)
def test_numbers_that_may_be_less_than_they_seem_are_noted(values: list[Any], unit: Any, words: str | None) -> None:
    parsed = moments(values, time_unit=unit)
    assert (parsed.note is None) == (words is None)
    assert words is None or words in str(parsed.note)
    assert unit is None or parsed.values[0] == datetime(2024, 1, 15, tzinfo=UTC)


def test_float32_that_cannot_hold_minutes_is_refused() -> None:
    parsed = moments([1_714_557_600.0], pl.Float32)
    assert parsed.doubt is not None
    assert "float32" in parsed.doubt
    assert moments([1.0, 2.0], pl.Float32).kind == "order"


def test_numbers_of_another_magnitude_and_placeholder_years_are_bad() -> None:
    assert moments(["0001-01-01", "9999-12-31T23:59:59", "2020-01-01"]).bad.to_list() == [True, True, False]
    parsed = moments([1_485_871_506, 0, -5, 1_485_871_507, 1_485_871_508, 1_485_871_509])
    assert parsed.bad.to_list() == [False, True, True, False, False, False]


def test_days_and_the_span_that_is_told() -> None:
    for days in (moments(["20170131", "20170131"]), moments([date(2017, 1, 31)]), moments([1_485_820_800])):
        assert days.kind == "day"
    span = moments(["2024-01-15 10:00", "2024-03-02", "2024-02-01T00:00:05Z"]).span
    assert span == "times from 2024-01-15 10:00 to 2024-03-02 UTC, read as ISO 8601"


def test_zoned_naive_and_fractional_times_and_none() -> None:
    zoned = pl.Series([datetime(2017, 1, 1, 12, tzinfo=UTC)]).dt.convert_time_zone("Europe/Paris")
    naive = pl.Series([datetime(2017, 1, 1, 12)], dtype=pl.Datetime("ns"))
    for column in (zoned, naive):
        assert parsing.timestamps(column).values.to_list() == [datetime(2017, 1, 1, 12, tzinfo=UTC)]
    floats = moments([1_485_871_506.5, float("nan")])
    assert floats.values.to_list() == [MOMENT.replace(microsecond=500_000), None]
    assert moments([None], pl.Null).bad.to_list() == [False]


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(1975, 1, 1), max_value=datetime(2199, 12, 30)), st.integers(-11, 11))
def test_iso_text_with_any_zone_keeps_the_moment(naive: datetime, hours: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert moments([moment.isoformat()]).values.to_list() == [moment.astimezone(UTC)]


PRINTED = (
    "%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%d %b %Y %H:%M:%S", "%B %d, %Y %H:%M:%S",
    "%a, %d %b %Y %H:%M:%S GMT", "%Y%m%d%H%M%S",
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2024, 5, 31)), max_size=5), st.sampled_from(PRINTED))
def test_a_time_in_any_form_reads_back(times: list[datetime], form: str) -> None:
    times = [datetime(2020, 12, 31, 23, 59, 58), *(time.replace(microsecond=0) for time in times)]
    parsed = moments([time.strftime(form) for time in times])
    assert parsed.values.to_list() == [time.replace(tzinfo=UTC) for time in times]


@pytest.mark.parametrize("unit", [None, "s", "ms"])
def test_a_time_in_another_unit_is_unreadable(unit: Any) -> None:
    cells = [1714557600, 1714557660, 1714557720000] if unit != "ms" else [1714557600000, 1714557660000, 1714557720]
    found = moments(cells, time_unit=unit)
    assert found.bad.to_list() == [False, False, True]
    assert found.values[0] == datetime(2024, 5, 1, 10, tzinfo=UTC)

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog import parsing
from hypothesis import given, settings
from hypothesis import strategies as st


def moments(values: list[object], dtype: object = None) -> parsing.Timestamps:
    return parsing.timestamps(pl.Series(values, dtype=dtype))  # type: ignore[arg-type]


WRITTEN = {
    "12.99": 12.99, " $1,299.00 ": 1299.0, "EUR 1.299,00": 1299.0, "12,99 €": 12.99, "1,299": 1299.0, "-3": -3.0,
    "1e3": 1000.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("parse", "given_values", "values", "bad"),
    [
        (parsing.numbers, list(WRITTEN), list(WRITTEN.values()), []),
        (parsing.numbers, ["abc", "", "nan", None, "inf"], [None] * 5, [0, 4]),
        (parsing.numbers, [1.0, float("nan"), float("inf")], [1.0, None, None], [2]),
        (parsing.integers, ["3", "3.0", "3.5", "x", None], [3, 3, None, None, None], [2, 3]),
        (parsing.booleans, ["Yes", "0", "in stock", "maybe", None], [True, False, True, None, None], [3]),
        (parsing.booleans, [1, 0, None], [True, False, None], []),
    ],
)
def test_values_and_the_rows_that_cannot_be_read(parse: Any, given_values: list[Any], values: Any, bad: Any) -> None:
    found, unreadable = parse(pl.Series(given_values))
    assert found.to_list() == values
    assert unreadable.arg_true().to_list() == bad


def test_identifiers_and_texts() -> None:
    assert parsing.text(pl.Series([["a", None, "b"]])).to_list() == ["a; b"]
    assert parsing.text(pl.Series([{"a": 1}])).to_list() == ['{"a":1}']
    assert parsing.identifiers(pl.Series([123.0, None])).to_list() == ["123", None]
    assert parsing.identifiers(pl.Series([" 007 ", ""])).to_list() == ["007", None]


def test_string_lists() -> None:
    column = pl.Series(["a > b>c", "x | y", "Clothing, Shoes & Jewelry", '["p", "q"]', " ", None, "[no json"])
    assert parsing.string_lists(column, (">", "|")).to_list() == [
        ["a", "b", "c"], ["x", "y"], ["Clothing, Shoes & Jewelry"], ["p", "q"], None, None, ["[no json"],
    ]  # fmt: skip
    lists = pl.Series([["a", " b ", None, ""], [], None])
    assert parsing.string_lists(lists, (">",)).to_list() == [["a", "b"], None, None]


@pytest.mark.parametrize(
    "text",
    [
        "2017-01-31T14:05:06Z", "2017-01-31 14:05:06", "2017-01-31T15:05:06+01:00", "2017-01-31T15:05:06+0100",
        "2017-01-31 15:05:06 +01", "2017/01/31 14:05:06", "2017-01-31 14:05:06 UTC", "2017-01-31T14:05:06.000000000",
    ],
)  # fmt: skip
def test_iso_times(text: str) -> None:
    assert moments([text]).values.to_list() == [datetime(2017, 1, 31, 14, 5, 6, tzinfo=UTC)]


def test_mixed_iso_forms_and_unreadable_rows() -> None:
    parsed = moments(["2017-01-31", "2017-01-31T14:05", "31.01.2017", None, "2017-02-30"])
    assert parsed.values.to_list() == [
        datetime(2017, 1, 31, tzinfo=UTC), datetime(2017, 1, 31, 14, 5, tzinfo=UTC), None, None, None,
    ]  # fmt: skip
    assert parsed.bad.to_list() == [False, False, True, False, True]
    assert parsed.kind == "real"


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("as_text", [False, True])
def test_magnitude_decides_the_unit(unit: str, factor: int, as_text: bool) -> None:
    values = [1_485_871_506 * factor, 1_485_957_906 * factor]
    parsed = moments([str(v) for v in values] if as_text else values)
    assert parsed.unit == unit
    assert parsed.kind == "real"
    assert parsed.values[0] == datetime(2017, 1, 31, 14, 5, 6, tzinfo=UTC)


def test_bare_counters_are_order() -> None:
    parsed = moments([0, 1, 2])
    assert (parsed.kind, parsed.unit) == ("order", "counter")
    assert parsed.values.to_list() == [datetime(1970, 1, 1, 0, 0, s, tzinfo=UTC) for s in range(3)]


def test_numbers_of_another_magnitude_and_placeholder_years_are_bad() -> None:
    assert moments(["0001-01-01", "9999-12-31T23:59:59", "2020-01-01"]).bad.to_list() == [True, True, False]
    parsed = moments([1_485_871_506, 0, -5, 1_485_871_507, 1_485_871_508, 1_485_871_509])
    assert parsed.bad.to_list() == [False, True, True, False, False, False]


def test_compact_dates_and_days() -> None:
    compact = moments(["20170131", "20170201"])
    assert compact.values.to_list() == [datetime(2017, 1, 31, tzinfo=UTC), datetime(2017, 2, 1, tzinfo=UTC)]
    for days in (compact, moments([date(2017, 1, 31)]), moments([1_485_820_800, 1_485_907_200])):
        assert days.kind == "day"


def test_zoned_naive_and_fractional_times_and_none() -> None:
    zoned = pl.Series([datetime(2017, 1, 1, 12, tzinfo=UTC)]).dt.convert_time_zone("Europe/Paris")
    naive = pl.Series([datetime(2017, 1, 1, 12)], dtype=pl.Datetime("ns"))
    for column in (zoned, naive):
        assert parsing.timestamps(column).values.to_list() == [datetime(2017, 1, 1, 12, tzinfo=UTC)]
    floats = moments([1_485_871_506.5, float("nan")])
    assert floats.values.to_list() == [datetime(2017, 1, 31, 14, 5, 6, 500_000, tzinfo=UTC), None]
    assert moments([None], pl.Null).bad.to_list() == [False]


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(1975, 1, 1), max_value=datetime(2199, 12, 30)), st.integers(-11, 11))
def test_iso_text_with_any_zone_keeps_the_moment(naive: datetime, hours: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert moments([moment.isoformat()]).values.to_list() == [moment.astimezone(UTC)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.none() | st.text("ab", min_size=1), st.none() | st.integers(0, 9)), max_size=8))
def test_attributes_hold_exactly_the_filled_cells(rows: list[tuple[str | None, int | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"x": pl.String, "y": pl.Int64}, orient="row")
    lists = parsing.attributes(frame, ["x", "y"], None, frame.height).to_list()
    expected = [[{"key": k, "value": str(v)} for k, v in zip("xy", row, strict=True) if v is not None] for row in rows]
    assert lists == expected


def test_given_attributes_from_map_struct_and_json() -> None:
    frame = pl.DataFrame({"c": ["red"]})
    pairs = pl.Series([[{"key": "a", "value": "1"}]])
    other_names = pl.Series([[{"name": "a", "v": 1}]])
    for given_column in (pairs, other_names, pl.Series([{"a": "1"}]), pl.Series(['{"a": 1, "b": null}'])):
        assert parsing.attributes(frame, ["c"], given_column, 1).to_list() == [
            [{"key": "a", "value": "1"}, {"key": "c", "value": "red"}]
        ]

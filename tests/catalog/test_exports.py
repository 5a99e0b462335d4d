"""Tables that were exported and read again are the tables that they were."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import polars as pl
import pytest
from hubspoke.catalog.exports import ExportFormat, file_name, write_export
from hubspoke.catalog.readers import read_events, read_items
from hubspoke.catalog.schema import EVENT_SCHEMA, ITEM_SCHEMA, TimeKind
from polars.testing import assert_frame_equal

START = datetime(2024, 3, 2, 9, 0, 0, 123456, UTC)
PAIRS = [{"key": "colour", "value": 'deep "red"'}, {"key": "size, cm", "value": "12\t13"}]
ITEMS = pl.DataFrame(
    {
        "item_id": ["007", "b'8", "c"],
        "title": ["Red kettle", 'Pan 5"', ""],
        "description": ["For tea.\nAnd soup.", None, None],
        "brand": ["Orrby", None, None],
        "category_path": [["Home", "Tea time", "Pots, pans"], ["Cook's"], None],
        "price": [11.5, None, 3.0],
        "currency": ["EUR", None, None],
        "available": [True, False, True],
        "created_at": [START, None, None],
        "attributes": [PAIRS, [], []],
    }
).match_to_schema(pl.Schema(ITEM_SCHEMA), missing_columns="insert")


def events(times: list[datetime], types: list[str], values: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": ["ann", "ann", "bo"],
            "item_id": ["007", None if types[1] == "search" else "c", "c"],
            "timestamp": times,
            "event_type": types,
            "session_id": ["s 1", None, None],
            "query": [None, "tea pots" if types[1] == "search" else None, None],
            "value": values,
            "quantity": [None, None, 2],
            "attributes": [PAIRS, [], []],
        }
    ).match_to_schema(pl.Schema(EVENT_SCHEMA), missing_columns="insert", integer_cast="upcast")


MOMENTS = [START, START + timedelta(microseconds=1), START + timedelta(days=1)]
COUNTS = [datetime(1970, 1, 1, 0, 0, n, tzinfo=UTC) for n in (1, 2, 1)]
DAYS = [datetime(2024, 3, n, tzinfo=UTC) for n in (2, 3, 2)]
MIXED = events(MOMENTS, ["view", "search", "purchase"], [None, None, 23.0])
CASES = {
    "moments": (MIXED, "real"),
    "ratings": (events(MOMENTS, ["rating"] * 3, [4.5, 3.0, 5.0]), "real"),
    "days": (events(DAYS, ["view", "cart", "purchase"], [None, None, 5.25]), "day"),
    "counters": (events(COUNTS, ["purchase"] * 3, [1.0, 2.0, None]), "order"),
}


@pytest.mark.parametrize("format", get_args(ExportFormat))
@pytest.mark.parametrize("case", CASES)
def test_events_come_back_as_they_were(tmp_path: Path, case: str, format: ExportFormat) -> None:
    frame, kind = CASES[case]
    time_kind: TimeKind = kind  # type: ignore[assignment]
    path = tmp_path / file_name("events", format, "tea")
    write_export(frame, "events", path, format, time_kind)
    read = read_events(path, item_ids=ITEMS["item_id"])
    assert_frame_equal(read.frame, frame)
    if format != "parquet":
        assert read.time_kind == kind


@pytest.mark.parametrize("format", get_args(ExportFormat))
def test_items_come_back_as_they_were(tmp_path: Path, format: ExportFormat) -> None:
    path = tmp_path / file_name("items", format, "tea")
    write_export(ITEMS, "items", path, format, "real")
    assert_frame_equal(read_items(path).frame, ITEMS)


def test_recbole_files_name_and_type_what_holds_something(tmp_path: Path) -> None:
    write_export(MIXED.drop("attributes"), "events", tmp_path / "tea.inter", "recbole", "real")
    lines = (tmp_path / "tea.inter").read_text().splitlines()
    assert lines[0].split("\t") == [
        "user_id:token", "item_id:token", "timestamp:float", "event_type:token", "session_id:token",
        "query:token_seq", "value:float", "quantity:float",
    ]  # fmt: skip
    assert lines[1].split("\t") == ["ann", "007", "1709370000.123456", "view", "s 1", "", "", ""]
    write_export(ITEMS.select("item_id", "category_path"), "items", tmp_path / "tea.item", "recbole", "real")
    assert (tmp_path / "tea.item").read_text().splitlines()[1:] == [
        "007\tHome 'Tea time' 'Pots, pans'",
        'b\'8\t"""Cook\'s"""',
        "c\t",
    ]

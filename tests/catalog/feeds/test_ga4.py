"""Google Analytics 4: what the contract does not show of nested tables, amended days and events of other names."""

import json
from pathlib import Path

import polars as pl
import pytest
from hubspoke.catalog.feeds.ga4 import GA4, ITEMS, PARAMS
from hubspoke.catalog.layout import Layout
from hubspoke.catalog.readers import read_events
from hubspoke.catalog.tables import load_table, whole_table
from hubspoke.catalog.validation import ValidationFailedError
from polars.testing import assert_frame_equal

FILE = Path(__file__).with_name("fixtures") / "ga4.jsonl"


def line(name: str, items: object, time: int = 0, user: str = "9.1") -> str:
    return json.dumps(
        {"event_name": name, "event_timestamp": 1709370000000000 + time, "user_pseudo_id": user, "items": items}
    )


def ingest(tmp_path: Path, *lines: str, **event_types: str) -> list[tuple[str, str | None]]:
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(lines))
    frame = read_events(path, layout=Layout(event_types=event_types)).frame
    return list(zip(frame["event_type"], frame["item_id"], strict=True))


@pytest.mark.parametrize("wrapped", [False, True])
def test_nested_parquet_gives_what_json_gives(tmp_path: Path, wrapped: bool) -> None:
    table = load_table(FILE)
    nested = {
        name: table.frame[name].str.json_decode(dtype) for name, dtype in (("items", ITEMS), ("event_params", PARAMS))
    }
    if wrapped:
        # As BigQuery writes repeated fields into Parquet: {"list": [{"element": ...}]}.
        for name, lists in nested.items():
            elements = lists.list.eval(pl.struct(element=pl.element()))
            nested[name] = pl.DataFrame({"list": elements}).to_struct(name)
    frame = table.frame.with_columns(pl.col("event_timestamp").cast(pl.Int64), *nested.values())
    frame.write_parquet(tmp_path / "events.parquet")
    kept = {"on_error": "skip"}
    assert_frame_equal(read_events(tmp_path / "events.parquet", **kept).frame, read_events(FILE, **kept).frame)  # type: ignore[arg-type]


def test_an_amended_day_counts_once_and_items_of_one_event_as_often_as_they_stand(tmp_path: Path) -> None:
    bought = line("purchase", [{"item_id": "cup"}, {"item_id": "cup"}, {"item_id": "pan"}])
    for name in ("events_20240302.jsonl", "events_20240302_amended.jsonl"):
        (tmp_path / name).write_text(bought + "\n" + line("view_item", [{"item_id": "cup"}], user=name[15:]))
    result = read_events(str(tmp_path / "events_*.jsonl"))
    assert result.frame.group_by("event_type").len().sort("event_type").rows() == [("purchase", 3), ("view", 2)]
    assert "3 rows repeat user, time, event and item, and count once" in result.report.notes


def test_events_without_use_are_left_out_by_name_unless_they_are_asked_for(tmp_path: Path) -> None:
    cup = [{"item_id": "cup"}]
    lines = (line("view_item", cup), line("begin_checkout", cup, 1), line("quick_look", cup, 2), line("scroll", [], 3))
    assert ingest(tmp_path, *lines) == [("view", "cup")]
    asked = ingest(tmp_path, *lines, begin_checkout="cart", quick_look="view", view_item="skip")
    assert asked == [("cart", "cup"), ("view", "cup")]
    notes = read_events(tmp_path / "events.jsonl").report.notes
    assert "events without items left out: 1 x scroll" in notes
    assert any("1 x begin_checkout, 1 x quick_look" in note and "--event-types" in note for note in notes)


def test_what_a_search_found_was_shown(tmp_path: Path) -> None:
    found = line("view_search_results", [{"item_id": "cup"}, {"item_id": "pan"}])
    assert ingest(tmp_path, found) == [("search", None), ("impression", "cup"), ("impression", "pan")]


def test_items_that_are_no_list_are_named(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(line("view_item", [{"item_id": "cup"}]) + "\n" + line("view_item", "cup"))
    with pytest.raises(ValidationFailedError, match="row 2: 'cup' is no JSON list of objects"):
        read_events(tmp_path / "events.jsonl")


def test_prices_that_are_no_numbers_are_reported_by_the_reader() -> None:
    frame = pl.DataFrame(
        {
            "event_name": ["purchase"] * 2,
            "event_timestamp": ["1709370000000000"] * 2,
            "user_pseudo_id": ["9.1"] * 2,
            "item_id": ["cup", "pan"],
            "price": ["4.50", "free"],
            "quantity": ["2", "1"],
        }
    )
    assert GA4().shape(whole_table(frame), Layout()).table.frame["value"].to_list() == ["9.0", "free"]


def test_a_map_that_names_the_list_of_items_says_what_is_read_anyway() -> None:
    result = read_events(FILE, {"item_id": "items", "user_id": "user_pseudo_id"}, on_error="skip")
    assert set(result.frame["user_id"]) == {"9.1"}
    assert set(result.frame["item_id"]) == {"cup", "pan", None}


def test_a_device_on_which_one_user_alone_signed_in_is_theirs(tmp_path: Path) -> None:
    def seen(time: int, device: str, user: str | None) -> str:
        cup = {"event_name": "view_item", "items": [{"item_id": "cup"}], "event_timestamp": 1709370000000000 + time}
        return json.dumps({**cup, "user_pseudo_id": device, "user_id": user})

    days = [("own", None), ("own", "ann"), ("own", None), ("shared", "ann"), ("shared", "bo"), ("shared", None)]
    (tmp_path / "e.jsonl").write_text("\n".join(seen(time, *who) for time, who in enumerate([*days, ("new", None)])))
    result = read_events(tmp_path / "e.jsonl")
    assert sorted(result.frame["user_id"]) == ["ann", "ann", "ann", "ann", "bo", "new", "shared"]
    assert {
        "users are known by their id in 3 rows, by their device alone in 2",
        "2 rows without a user are of devices where just one ever signed in, and count as theirs",
    } <= set(result.report.notes)

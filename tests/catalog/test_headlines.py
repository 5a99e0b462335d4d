"""What is said first of a table that cannot be used: the reason with its remedy."""

from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.readers import read_events, read_items
from hubspoke.catalog.validation import ValidationFailedError

IDS = pl.Series(["00123", "00045"])
EVENTS = {"user_id": ["u", "v"], "item_id": ["00123", "00045"], "timestamp": ["2020-01-01", "2020-01-02"]}


def headline(columns: dict[str, list[Any]], kind: str = "events", **given: Any) -> str:
    with pytest.raises(ValidationFailedError) as caught:
        if kind == "items":
            read_items(pl.DataFrame(columns), on_error="skip", **given)
        else:
            read_events(pl.DataFrame(columns), item_ids=IDS, on_error="skip", **given)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"item_id": ["123", "45"]}, "are on an item that the catalog lacks, such as '123'; all 2 would match with"),
        ({"item_id": ["x", "y"]}, "such as 'x'; give the catalog that they belong to"),
        ({"timestamp": ["31st", "1st"]}, "all 2 have a timestamp that cannot be read, such as '31st'; say how times"),
        ({"event_type": ["klick", "klick"]}, "of a type that is not known: 'klick' (2); say what each means with "
                                            "--event-types klick=view"),
        ({"user_id": [None, None]}, "all 2 have no user_id; name another column"),
        ({"event_type": ["refund", "return"]}, "all 2 are returns"),
        ({"user_id": [None, None], "item_id": ["x", "y"]}, "all 2 have no user_id and are on an item that the catalog"),
        ({"user_id": [None, "u"], "item_id": ["x", "y"]}, "lacks, such as 'x' (beside 1 x missing_user_id); give"),
    ],
)  # fmt: skip
def test_why_no_event_is_left(changes: dict[str, list[Any]], said: str) -> None:
    assert said in headline(EVENTS | changes)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"item_id": [None, None], "title": ["x", "y"]},
         "(2 x missing_item_id): no item is left: 2 rows have no item_id; name another column with --map item_id="),
        ({"item_id": [], "title": []}, "no item is left; give a catalog with at least one valid row"),
    ],
)  # fmt: skip
def test_why_no_item_is_left(columns: dict[str, list[Any]], said: str) -> None:
    assert said in headline(columns, "items")


def test_the_cause_that_took_every_item_is_told_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes("item_id,title\n1,Café\n2,Thé\n".encode("cp1252"))
    with pytest.raises(
        ValidationFailedError, match=r"no item is left: 'Caf.' is no UTF-8; .* or say --encoding cp1252"
    ):
        read_items(tmp_path / "items.csv", on_error="skip")


def test_columns_that_are_read_as_something_else_and_rows_that_need_no_item_are_not_proposed() -> None:
    # Users and quantities are called like items by chance; the note is a column of its own.
    ids = pl.Series(["1", "2"])
    events = {**EVENTS, "user_id": ["1", "2"], "quantity": [1, 2], "note": ["2", "2"]}
    with pytest.raises(ValidationFailedError) as caught:
        read_events(pl.DataFrame(events), item_ids=ids)
    said = str(caught.value)
    assert "all 2 would match from column note" in said and "item_id=user_id" not in said and "quantity" not in said
    returned = {**events, "item_id": ["x", "y"], "quantity": [1, -1]}
    with pytest.raises(ValidationFailedError, match="all 1 would match from column note"):
        read_events(pl.DataFrame(returned), item_ids=ids)


def test_the_time_window_is_named_only_where_it_took_all() -> None:
    said = headline(EVENTS, since=datetime(2021, 1, 1))
    assert "the time window holds none of the 2 events, which are from 2020-01-01 00:00 to 2020-01-02 00:00 UTC" in said
    assert "time window" not in headline(EVENTS | {"item_id": ["x", "y"]}, since=datetime(2020, 1, 1))


@pytest.mark.parametrize(
    ("columns", "kind", "said"),
    [
        ({"who": ["u", "u", "v"], "sku": ["00123"] * 3, "at": ["2020-01-01"] * 3}, "events",
         "no column holds user_id; name it with --event-map user_id=COLUMN, out of: who, sku, at (likely who)"),
        ({"who": ["u", "u", "v"], "sku": ["00123"] * 3, "at": ["2020-01-01"] * 3}, "events",
         "user_id=COLUMN, out of: who, sku, at (likely who)"),
        ({"user": ["u"], "ref": ["00123"], "note": ["x"], "time": ["2020-01-01"]}, "events",
         "item_id=COLUMN, out of: user, ref, note, time (likely ref)"),
        ({"session": ["s"], "sku": ["00123"], "time": ["2020-01-01"]}, "events",
         "where only sessions are known, --event-map user_id=session"),
        ({"1": ["1", "2"], "00045": ["00123"] * 2, "pv": ["pv", "buy"], "1511545070": ["1511545130"] * 2}, "events",
         "no column holds user_id, item_id, timestamp: the first line looks like data (1, 00045, pv, 1511545070); say "
         "--no-header --columns column1,item_id,event_type,timestamp, with a name for each of the 4 columns"),
        ({"1": ["7", "8"], "2": ["00123"] * 2}, "events", "the first line looks like data (7, 00123)"),
        ({"session_id": ["s"], "sku": ["00123"], "time": ["2020-01-01"]}, "events", "--event-map user_id=session_id"),
        ({"user": ["u"], "properties": ['{"product_id": "00123", "price": 3}'], "time": ["2020-01-01"]}, "events",
         "(column properties holds objects: write their fields as columns of their own first)"),
        ({"1": ["151603712", "151603712", "7"], "2": ["00123"] * 3, "3": ["buy"] * 3}, "events",
         "--columns user_id,item_id,event_type, with"),
        ({"ref": ["a", "b"], "shade": ["x", "x"]}, "items", "out of: ref, shade (likely ref)"),
        ({"itemid": ["1", "1"], "property": ["a", "b"], "value": ["x", "y"]}, "items",
         "the table holds one row per property (columns property and value)"),
        ({"sku": ["1", "2"], "label": ["Mug", "Pan"]}, "items",
         "(no column is read as title), so that nothing tells the items apart; map one with --map title=label"),
        ({"sku": ["1"], "title": [None], "price": ["2"]}, "items", "(column title, read as title, is empty)"),
    ],
)  # fmt: skip
def test_what_a_table_lacks(columns: dict[str, list[Any]], kind: str, said: str) -> None:
    assert said in headline(columns, kind)


def test_a_catalog_without_text_is_fine_where_that_is_meant() -> None:
    frame = pl.DataFrame({"sku": ["1"], "label": ["Mug"]})
    assert read_items(frame, {"title": ""}).report.counts == {"no_content": 1}
    read = read_items(frame.with_columns(description=pl.lit("A mug.")))
    assert "no column is read as title, so titles are empty; --map title=COLUMN names one" in read.report.notes


def test_pictures_alone_are_content(tmp_path: Path) -> None:
    frame = pl.DataFrame({"sku": ["1"], "image": ["a.png"]})
    assert read_items(frame).frame["title"].to_list() == [""]

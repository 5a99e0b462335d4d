"""`hubspoke data inspect` and `data formats`: what is told before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ITEMS = (
    "code,sku,name,price,Currency,in_stock,category,notes\n"
    "a,007,The mug for tea,4.5,EUR,1,Cups,\nb,008,The pan with a lid,9,EUR,0,Pans,x\n"
    "c,009,The pan with a lid,20,SEK,1,Pans,\n"
)
EVENTS = "user,item,date\nann,a,2024-05-01 10:00\nann,b,2024-05-02 10:00\nbob,a,2024-05-03 10:00\n"


@pytest.fixture
def files(home: Path) -> Path:
    (home / "seen.csv").write_text(EVENTS)
    (home / "shop.csv").write_text(ITEMS)
    return home


def test_files_are_told_apart_and_told_of(run: Any, files: Path) -> None:
    found = run("data", "inspect", "seen.csv", "shop.csv", "--json").json
    shop, seen = found["files"]
    assert (shop["file"], shop["kind"], shop["because"]) == ("shop.csv", "items", "it has no times of users")
    assert (seen["kind"], seen["because"]) == ("events", "it has times (date) and user_id (user)")
    assert (shop["rows"], shop["kept"], shop["usable"], seen["usable"]) == (3, 3, True, False)
    assert shop["mapping"]["item_id"] == "sku"
    assert shop["reasons"]["currency"] == "by its name"
    assert {column["name"]: column["type"] for column in shop["columns"]}["price"] == "number"
    assert shop["columns"][-1] == {"name": "notes", "type": "text", "missing": 2, "distinct": 1, "samples": ["x"]}
    facts = shop["facts"]
    assert facts["languages"] == {"en": 1.0}
    assert facts["prices"] == [
        {"currency": "EUR", "items": 2, "lowest": 4.5, "median": 6.75, "highest": 9.0},
        {"currency": "SEK", "items": 1, "lowest": 20.0, "median": 20.0, "highest": 20.0},
    ]
    assert (facts["available"], facts["not_available"], facts["same_title"]) == (2, 1, 2)
    assert facts["largest_categories"] == {"Pans": 2, "Cups": 1}
    assert [(own["code"], own["count"]) for own in seen["problems"]] == [("no_events", 1), ("unknown_item", 3)]
    assert found["ids"]["events_not_in_catalog"] == 3
    assert found["ids"]["catalog_columns"] == {"code": 1.0}
    text = run("data", "inspect", "seen.csv", "shop.csv").out
    assert "100% of the events' ids are in column code of the catalog: --map item_id=code" in text
    assert "item_id <- sku (by a common name)" in text
    assert "prices              2 in EUR: 4.5 to 9, median 6.75; 1 in SEK: 20 to 20, median 20" in text
    assert not (files / ".hubspoke").exists()


def test_the_mapping_is_written_to_be_edited_and_passed_on(run: Any, files: Path) -> None:
    assert run("data", "inspect", "shop.csv", "seen.csv", "--map", "item_id=code", "-o", "map.yaml").code == 0
    written = (files / "map.yaml").read_text()
    assert '  item_id: "code"  # by hand' in written.splitlines()
    assert "  # kept as attributes: sku, notes" in written.splitlines()
    (files / "map.yaml").write_text(written.replace('title: "name"', 'title: "category"'))
    maps = ("--map", "map.yaml", "--event-map", "map.yaml")
    read = run("domain", "add", "x", "--items", "shop.csv", "--events", "seen.csv", *maps, "--dry-run", "--json").json
    assert (read["items"]["mapping"]["title"], read["events"]["rows"]) == ("category", 3)


def test_kinds_can_be_forced_and_what_is_unreadable_ends_with_4(run: Any, files: Path) -> None:
    forced = run("data", "inspect", "--events", "shop.csv", "--json")
    assert (forced.code, forced.json["files"][0]["because"]) == (0, "as asked")
    assert "no column holds user_id" in forced.json["files"][0]["error"]
    (files / "none.parquet").write_bytes(b"no table")
    broken = run("data", "inspect", "none.parquet", "shop.csv")
    assert (broken.code, "shop.csv: items" in broken.out) == (4, True)
    assert run("data", "inspect").code == 2


def test_formats(run: Any, home: Path) -> None:
    listed = run("data", "formats", "--json").json["formats"]
    assert {"shopify", "ga4", "generic"} <= {own["name"] for own in listed}
    assert all(own["title"] and own["export"] and own["reads"] for own in listed)
    assert run("data", "formats").lines[1][:3] == ["shopify", "items", "Shopify product export (CSV or JSON)"]
    shown = run("data", "formats", "shopify").out
    assert shown.startswith(
        "Shopify product export (CSV or JSON): items, exported by Admin > Products > Export, or products.json\n"
    )
    assert "brand          Vendor" in shown
    assert run("data", "formats", "shopware").code == 5


def test_counters_have_no_first_moment_and_lists_are_no_numbers(run: Any, home: Path) -> None:
    (home / "log.csv").write_text('user,item,step,tags\nann,a,1,"[1, 2]"\nann,b,2,[3]\n')
    (seen,) = run("data", "inspect", "--events", "log.csv", "--event-map", "timestamp=step", "--json").json["files"]
    assert (seen["facts"]["first"], seen["facts"]["last"]) == (None, None)
    assert {column["name"]: column["type"] for column in seen["columns"]}["tags"] == "nested"

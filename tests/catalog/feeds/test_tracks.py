"""Calls of analytics tools: what the contract does not show of names, ids and broken properties."""

import json
from pathlib import Path
from typing import Any

import pytest
from hubspoke.catalog.intake import ReadResult
from hubspoke.catalog.readers import read_events
from hubspoke.catalog.transforms import find_origins
from hubspoke.catalog.validation import ValidationFailedError


def track(event: str | None, properties: Any, second: int = 0, **more: Any) -> str:
    time = f"2024-03-02T09:00:{second:02}Z"
    call = {"type": "track", "event": event, "anonymousId": "d1", "timestamp": time, "properties": properties}
    return json.dumps({**call, **more})


def read(folder: Path, *lines: str) -> ReadResult:
    (folder / "calls.jsonl").write_text("\n".join(lines))
    return read_events(folder / "calls.jsonl")


def test_the_id_is_the_property_that_most_items_have(tmp_path: Path) -> None:
    lines = (track("Product Viewed", {"sku": f"s{n}", "product_id": "p" if n == 0 else None}, n) for n in range(3))
    result = read(tmp_path, *lines)
    assert result.frame["item_id"].to_list() == ["s0", "s1", "s2"]
    assert result.mapping["item_id"] == "sku in properties, also of products"
    # Its name is in words, and no form of a column that the file has.
    assert find_origins(result.mapping["item_id"], ["event", "properties"]) is None


def test_calls_without_items_and_of_other_names_are_left_out_and_counted(tmp_path: Path) -> None:
    cup = {"product_id": "cup"}
    lines = (
        track("Product Viewed", cup), track(None, {}, 1, type="page"), track("Coupon Entered", {}, 2),
        track("Quick Look", cup, 3),
    )  # fmt: skip
    result = read(tmp_path, *lines)
    assert result.frame["event_type"].to_list() == ["view"]
    assert "events without items left out: 1 x Coupon Entered, 1 x page" in result.report.notes
    assert "events of other kinds left out: 1 x Quick Look (--event-types NAME=TYPE keeps them)" in result.report.notes


def test_properties_that_are_no_object_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationFailedError, match="row 2: 'cup' is no JSON"):
        read(tmp_path, track("Product Viewed", {"product_id": "cup"}), track("Product Viewed", "cup", 1))

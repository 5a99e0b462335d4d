from pathlib import Path
from typing import Any

import pytest
from hubspoke.catalog.layout import Layout
from hubspoke.workflows.ingest import IngestRequest

ITEMS, EVENTS, LOG = (
    "item_id,title\n77,Mug\n78,Cup\n",
    "user_id,item_id,timestamp\n1,77,1500000000\n",
    "a,77,x\nb,78,x\n",
)
NAMES = ["user_id", "item_id", "timestamp"]


@pytest.mark.parametrize(
    ("tables", "given", "items", "events"),
    [
        ((ITEMS, LOG), {"columns": NAMES}, Layout(), Layout(columns=tuple(NAMES))),
        ((ITEMS, LOG), {"columns": ["item_id", "title", "x"]}, Layout(columns=("item_id", "title", "x")), Layout()),
        (
            (ITEMS, LOG),
            {"columns": ["u", "i", "x"], "event_map": {"user_id": "u"}},
            Layout(),
            Layout(columns=("u", "i", "x")),
        ),
        ((None, LOG), {"columns": ["u", "i", "x"]}, None, Layout(columns=("u", "i", "x"))),
        ((ITEMS, LOG), {"header": False}, Layout(), Layout(header=False)),
        ((None, EVENTS), {"header": False}, None, Layout(header=False)),
    ],
)
def test_options_for_a_file_without_header_go_to_the_table_that_they_fit(
    tmp_path: Path, tables: tuple[str | None, str], given: dict[str, Any], items: Layout | None, events: Layout
) -> None:
    paths = [None if text is None else tmp_path / f"{i}.csv" for i, text in enumerate(tables)]
    for path, text in zip(paths, tables, strict=True):
        if path is not None and text is not None:
            path.write_text(text)
    request = IngestRequest(*paths, **given)
    assert request.layout("events") == events
    assert items is None or request.layout("items") == items


def test_a_remembered_lack_of_a_header_is_not_held_against_a_file_that_has_one(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(ITEMS)
    request = IngestRequest(tmp_path / "items.csv").completed({"header": False})
    assert request.layout("items") == Layout()

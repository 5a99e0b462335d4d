"""Domains: added whole or not at all, the same call twice, what another call with the same name may and may not do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.catalog.validation import ValidationFailedError
from hubspoke.errors import InvalidDataError, NotFoundError, UsageError
from hubspoke.workflows.workspace import Workspace

Look = Callable[[Path], dict[str, str]]


def test_a_domain_with_its_snapshots_on_both_databases(each_ws: Workspace, files: Any) -> None:
    added = each_ws.domain.add("garden", files.items, files.events, description="plants")
    assert added.items is not None and added.events is not None and added.domain is not None
    assert (added.items.ref, added.items.rows) == ("snapshot:garden/items/1", 4)
    assert (added.events.ref, added.events.rows) == ("snapshot:garden/events/1", 9)
    assert not added.cached
    assert (added.domain.counts.item_snapshots, added.domain.counts.event_snapshots) == (1, 1)
    # ann's 3 and bob's last 3; bob's first view and cid's two are too short.
    assert added.events.sessions is not None
    assert (added.events.sessions["sessions"], added.events.sessions["rows"]) == (2, 6)
    assert each_ws.lineage.upstream("snapshot:garden/events/1").refs == ("domain:garden",)


def test_the_same_call_again_is_cached_and_changes_nothing(garden: Workspace, files: Any, tree: Look) -> None:
    before = tree(garden.settings.workspace)
    again = garden.domain.add("garden", files.items, files.events)
    assert again.cached
    assert again.items is not None and again.items.cached
    assert again.items.ref == "snapshot:garden/items/1"
    assert tree(garden.settings.workspace) == before


def test_a_dry_run_checks_everything_and_changes_nothing(ws: Workspace, files: Any, tree: Look) -> None:
    before = tree(ws.settings.workspace)
    planned = ws.domain.add("garden", files.items, files.events, dry_run=True)
    assert planned.domain is None
    assert planned.events is not None
    assert (planned.events.ref, planned.events.rows, planned.events.cached) == (None, 9, False)
    assert tree(ws.settings.workspace) == before
    assert ws.domain.list() == []
    bad = files.write("bad.csv", "item_id,title\n,nameless\n")
    with pytest.raises(ValidationFailedError):
        ws.domain.add("garden", bad, dry_run=True)


@pytest.mark.parametrize(
    "events",
    [
        "user_id,item_id,timestamp\nann,tulip,2024-05-01\nbob,oak,2024-05-02\n",
        "user_id,item_id,timestamp\nann,rose,soon\n",
        "user_id,timestamp\nann,2024-05-01\n",
    ],
    ids=["unknown items", "bad time", "missing column"],
)
def test_bad_events_leave_neither_domain_nor_snapshot(ws: Workspace, files: Any, tree: Look, events: str) -> None:
    before = tree(ws.settings.workspace)
    with pytest.raises(InvalidDataError):
        ws.domain.add("garden", files.items, files.write("bad.csv", events))
    assert ws.domain.list() == []
    assert tree(ws.settings.workspace) == before


def test_tables_in_memory_do_as_well_as_files(ws: Workspace) -> None:
    items = pl.DataFrame({"sku": ["a", "b"], "name": ["A", "B"]})
    events = pl.DataFrame({"user": ["u"] * 3, "sku": ["a", "b", "a"], "time": ["2024-05-01T10:00:00Z"] * 3})
    added = ws.domain.add("garden", items, events)
    assert added.items is not None and added.events is not None
    assert added.items.mapping == {"item_id": "sku", "title": "name"}
    assert added.events.rows == 3


def test_what_is_missing_is_added_and_what_differs_is_refused(garden: Workspace, files: Any) -> None:
    garden.domain.add("pots", files.items)
    completed = garden.domain.add("pots", files.items, files.events)
    assert not completed.cached
    assert completed.items is not None and completed.items.cached
    assert completed.events is not None and not completed.events.cached
    other = files.write("other.csv", "item_id,title\nrose,White rose\n")
    with pytest.raises(UsageError, match="hubspoke data ingest garden --items"):
        garden.domain.add("garden", other)
    with pytest.raises(UsageError, match="other session settings"):
        garden.domain.add("garden", files.items, sessions=SessionSettings(mode="per_user"))
    with pytest.raises(UsageError, match="described as"):
        garden.domain.add("garden", files.items, description="trees")


def test_what_is_no_name_and_events_without_a_catalog_are_refused(ws: Workspace, files: Any) -> None:
    for name in ("Garden", "hub", "a b", "", "1st"):
        with pytest.raises(UsageError):
            ws.domain.add(name)
    with pytest.raises(UsageError, match="--items FILE"):
        ws.domain.add("garden", events=files.events)


def test_skip_leaves_bad_rows_out(ws: Workspace, files: Any) -> None:
    more = files.write("more.csv", files.events.read_text() + "dan,tulip,2024-05-04T08:00:00Z,view\n")
    added = ws.domain.add("garden", files.items, more, on_error="skip")
    assert added.events is not None
    assert added.events.rows == 9
    assert added.events.report["counts"] == {"unknown_item": 1}


def test_show_tells_what_a_domain_has(garden: Workspace) -> None:
    shown = garden.domain.show("garden")
    assert shown.items is not None and shown.items.ref == "snapshot:garden/items/1"
    assert shown.events is not None and shown.events.rows == 9
    assert (shown.spokes, shown.aliases) == ((), ())
    with pytest.raises(NotFoundError, match="did you mean garden"):
        garden.domain.show("gardn")


def test_archiving_takes_out_of_the_listing_and_back(garden: Workspace, files: Any) -> None:
    assert garden.domain.archive("garden", dry_run=True).domain.status == "active"
    assert not garden.domain.archive("garden").cached
    assert garden.domain.archive("garden").cached
    assert garden.domain.list() == []
    assert [domain.name for domain in garden.domain.list(archived=True)] == ["garden"]
    with pytest.raises(UsageError, match="--restore"):
        garden.domain.add("garden", files.items)
    garden.domain.archive("garden", restore=True)
    assert garden.domain.add("garden", files.items).cached


def test_validate_files_reports_every_problem_and_needs_no_workspace(ws: Workspace, files: Any) -> None:
    bad = files.write("bad.csv", "item_id,title,price\nrose,Rose,cheap\nrose,Other,1\n,Nameless,2\n")
    result = Workspace(ws.settings).domain.validate(items=bad, events=files.events)
    assert not result.ok
    assert result.reports[0]["counts"] == {"bad_price": 1, "missing_item_id": 1, "duplicate_item_id": 1}
    assert "rows 1" in result.text
    assert Workspace(ws.settings).domain.validate(items=files.items, events=files.events).ok
    with pytest.raises(UsageError, match="nothing to validate"):
        ws.domain.validate()


def test_validate_events_against_the_stored_catalog(garden: Workspace, files: Any) -> None:
    stray = files.write("stray.csv", "user_id,item_id,timestamp\nann,tulip,2024-05-01\n")
    assert not garden.domain.validate("garden", events=stray).ok
    assert garden.domain.validate("garden", events=files.events).ok


def test_validate_a_domain_checks_tables_and_pictures(garden: Workspace, files: Any) -> None:
    sound = garden.domain.validate("garden")
    assert sound.ok
    assert [check.message for check in sound.checks] == ["4 rows", "9 rows", "2 pictures of 2 items"]
    (files.folder / "rose.png").write_bytes(b"no picture")
    changed = garden.domain.validate("garden")
    assert [check.ok for check in changed.checks] == [True, True, False]
    assert "rose.png has changed" in changed.text

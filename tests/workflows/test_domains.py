"""Domains: added whole or not at all, the same call twice, what another call with the same name may and may not do."""

from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.catalog.validation import ValidationFailedError
from hubspoke.errors import InvalidDataError, NotFoundError, UsageError
from hubspoke.workflows.workspace import Workspace


def test_a_domain_with_its_snapshots_on_both_databases(each_ws: Workspace, files: Any) -> None:
    added = each_ws.domain.add("garden", files.items, files.events, description="plants")
    assert (added.items.ref, added.items.rows) == ("snapshot:garden/items/1", 4)
    assert (added.events.ref, added.events.rows, added.cached) == ("snapshot:garden/events/1", 9, False)
    assert (added.domain.counts.item_snapshots, added.domain.counts.event_snapshots) == (1, 1)
    # ann's 3 and bob's last 3; bob's first view and cid's two are too short.
    assert (added.events.sessions["sessions"], added.events.sessions["rows"]) == (2, 6)
    assert each_ws.lineage.upstream("snapshot:garden/events/1").refs == ("domain:garden",)


def test_a_dry_run_and_bad_tables_leave_neither_domain_nor_snapshot(ws: Workspace, files: Any, tree: Any) -> None:
    before = tree(ws.settings.workspace)
    planned = ws.domain.add("garden", files.items, files.events, dry_run=True)
    assert (planned.domain, planned.events.ref, planned.events.rows, planned.events.cached) == (None, None, 9, False)
    with pytest.raises(ValidationFailedError):
        ws.domain.add("garden", files.write("bad.csv", "item_id,title\n,nameless\n"), dry_run=True)
    for events in (
        "user_id,item_id,timestamp\nann,tulip,2024-05-01\nbob,oak,2024-05-02\n",  # unknown items
        "user_id,item_id,timestamp\nann,rose,soon\n",
        "user_id,timestamp\nann,2024-05-01\n",
    ):
        with pytest.raises(InvalidDataError):
            ws.domain.add("garden", files.items, files.write("bad.csv", events))
        left = tree(ws.settings.workspace)
        left.pop("artifacts/owner.json")  # whose store it is: nothing of what was refused
        assert (ws.domain.list(), left) == ([], before)


def test_tables_in_memory_do_as_well_as_files_and_bad_rows_can_be_skipped(ws: Workspace, files: Any) -> None:
    items = pl.DataFrame({"sku": ["a", "b"], "name": ["A", "B"]})
    events = pl.DataFrame({"user": ["u"] * 3, "sku": ["a", "b", "a"], "time": ["2024-05-01T10:00:00Z"] * 3})
    added = ws.domain.add("garden", items, events)
    assert (added.items.mapping, added.events.rows) == ({"item_id": "sku", "title": "name"}, 3)
    # Bad rows are left out where that is wanted.
    more = files.write("more.csv", files.events.read_text() + "dan,tulip,2024-05-04T08:00:00Z,view\n")
    added = ws.domain.add("beds", files.items, more, on_error="skip")
    assert (added.events.rows, added.events.report["counts"]) == (9, {"unknown_item": 1})


def test_what_is_missing_is_added_and_what_differs_is_refused(garden: Workspace, files: Any, refused: Any) -> None:
    garden.domain.add("pots", files.items)
    completed = garden.domain.add("pots", files.items, files.events)
    assert (completed.cached, completed.items.cached, completed.events.cached) == (False, True, False)
    other = files.write("other.csv", "item_id,title\nrose,White rose\n")
    refused(UsageError, "hubspoke data ingest garden --items", garden.domain.add, "garden", other)
    with pytest.raises(UsageError, match="other session settings"):
        garden.domain.add("garden", files.items, sessions=SessionSettings(mode="per_user"))
    refused(UsageError, "described as", garden.domain.add, "garden", files.items, description="trees")
    for name in ("Garden", "hub", "a b", "", "1st"):
        refused(UsageError, "", garden.domain.add, name)
    refused(UsageError, "--items FILE", garden.domain.add, "beds", events=files.events)


def test_a_domain_is_added_once_shown_and_archived(garden: Workspace, files: Any, tree: Any, refused: Any) -> None:
    before = tree(garden.settings.workspace)
    again = garden.domain.add("garden", files.items, files.events)
    assert (again.cached, again.items.cached, again.items.ref) == (True, True, "snapshot:garden/items/1")
    assert tree(garden.settings.workspace) == before
    shown = garden.domain.show("garden")
    assert (shown.items.ref, shown.events.rows) == ("snapshot:garden/items/1", 9)
    assert (shown.spokes, shown.aliases) == ((), ())
    refused(NotFoundError, "did you mean garden", garden.domain.show, "gardn")
    assert garden.domain.archive("garden", dry_run=True).domain.status == "active"
    assert [garden.domain.archive("garden").cached for _ in range(2)] == [False, True]
    assert (garden.domain.list(), [own.name for own in garden.domain.list(archived=True)]) == ([], ["garden"])
    refused(UsageError, "--restore", garden.domain.add, "garden", files.items)
    garden.domain.archive("garden", restore=True)
    assert garden.domain.add("garden", files.items).cached


def test_validate_files_reports_every_problem_and_needs_no_workspace(ws: Workspace, files: Any, refused: Any) -> None:
    bad = files.write("bad.csv", "item_id,title,price\nrose,Rose,cheap\nrose,Other,1\n,Nameless,2\n")
    unopened = Workspace(ws.settings).domain
    result = unopened.validate(items=bad, events=files.events)
    assert result.reports[0]["counts"] == {"bad_price": 1, "missing_item_id": 1, "duplicate_item_id": 1}
    assert not result.ok and "rows 1" in result.text
    assert unopened.validate(items=files.items, events=files.events).ok
    refused(UsageError, "nothing to validate", ws.domain.validate)


def test_validate_a_domain_checks_tables_pictures_and_new_events(garden: Workspace, files: Any) -> None:
    stray = files.write("stray.csv", "user_id,item_id,timestamp\nann,tulip,2024-05-01\n")
    assert not garden.domain.validate("garden", events=stray).ok
    assert garden.domain.validate("garden", events=files.events).ok
    sound = garden.domain.validate("garden")
    assert sound.ok
    assert [check.message for check in sound.checks] == ["4 rows", "9 rows", "2 pictures of 2 items"]
    (files.folder / "rose.png").write_bytes(b"no picture")
    changed = garden.domain.validate("garden")
    assert [check.ok for check in changed.checks] == [True, True, False]
    assert "rose.png has changed" in changed.text

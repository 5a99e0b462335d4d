"""The event log into snapshots: added once to what was there, whatever is killed; what dry runs and reports say."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.line_log import LineLog, LogSettings
from hubspoke.catalog.shopper_events import event_ids, read_event
from hubspoke.errors import UsageError
from hubspoke.workflows import logged_events
from hubspoke.workflows.datasets import load_dataset, read_table
from hubspoke.workflows.workspace import Workspace

START = datetime(2024, 5, 3, 9, 0, tzinfo=UTC)


def log_of(workspace: Workspace, domain: str = "garden") -> LineLog:
    return LineLog(workspace.settings.events_dir / domain, LogSettings(sync_seconds=0))


def append(log: LineLog, *rows: tuple[str, str, int], **told: Any) -> None:
    """Views of (user, item, minutes after the start)."""
    for user, item, minutes in rows:
        at = (START + timedelta(minutes=minutes)).isoformat()
        raw = {"user_id": user, "item_id": item, "timestamp": at, "event_id": f"{user}{minutes}", **told}
        log.append([read_event(raw, datetime.now(UTC))])


def table(workspace: Workspace, ref: str = "snapshot:garden/events/latest") -> pl.DataFrame:
    return read_table(workspace, workspace.registry.snapshots.get(ref))


def test_events_of_the_log_are_added_once_to_those_that_are_there(garden: Workspace, tree: Any) -> None:
    log = log_of(garden)
    append(log, ("zoe", "rose", 0), ("zoe", "pot", 1), ("ann", "pot", 2), recommendation_id="r1")
    append(log, ("zoe", "oak", 3))
    append(log, ("ann", "pot", 2))  # again
    before = tree(garden.settings.workspace)
    planned = garden.data.ingest("garden", from_log=True, dry_run=True)
    assert (planned.events.ref, planned.events.rows, planned.cached, planned.log.added) == (None, 13, False, 4)
    assert tree(garden.settings.workspace) == before
    result = garden.data.ingest("garden", from_log=True)
    assert (result.events.ref, result.events.rows, result.cached) == ("snapshot:garden/events/2", 13, False)
    assert result.log.to_dict() == {
        "segments": 1, "rows": 5, "added": 4, "duplicates": 1, "unknown_items": 1, "damaged": 0,
    }  # fmt: skip
    assert result.events.report["counts"] == {"unknown_item": 1}
    found = table(garden)
    assert found["user_id"].to_list() == ["ann"] * 4 + ["bob"] * 4 + ["cid"] * 2 + ["zoe"] * 3
    assert found["item_id"].to_list()[3] == "pot"
    old = table(garden, "snapshot:garden/events/1")
    assert found.filter(event_ids(found).is_null()).equals(old)
    told = {row["key"]: row["value"] for row in found["attributes"].to_list()[-3]}
    assert told == {"event_id": "zoe0", "recommendation_id": "r1"}
    assert result.events.snapshot.as_of == START + timedelta(minutes=3)
    # Again there is nothing to add; nor is there after the same events have come once more.
    again = garden.data.ingest("garden", from_log=True)
    assert (again.events, again.cached, again.log.rows) == (None, True, 0)
    append(log, ("zoe", "rose", 0))
    again = garden.data.ingest("garden", from_log=True)
    assert (again.events, again.cached, again.log.duplicates) == (None, True, 1)
    log.close()
    assert [*log.folder.iterdir()] == []
    assert len(garden.data.snapshots("garden", "events")) == 2
    # What is trained on them leaves out what the catalog lacks.
    assert load_dataset(garden, "garden").sequences.user_ids == ("ann", "bob")


def test_a_category_without_events_gets_its_first_from_the_log(ws: Workspace, files: Any, refused: Any) -> None:
    ws.domain.add("bare", files.items)
    append(log_of(ws, "bare"), ("zoe", "rose", 0), ("zoe", "pot", 1), ("zoe", "fern", 2))
    result = ws.data.ingest("bare", from_log=True)
    assert (result.events.ref, result.events.sessions["sessions"]) == ("snapshot:bare/events/1", 1)
    assert result.events.snapshot.details["time_kind"] == "real"
    for options in ({"events": files.events}, {"since": START}, {"until": START}):
        refused(UsageError, "taken up whole", ws.data.ingest, "bare", from_log=True, **options)


def test_a_new_catalog_comes_in_with_the_log(garden: Workspace, files: Any) -> None:
    append(log_of(garden), ("zoe", "oak", 0))
    more = files.write("more.csv", "item_id,title\nrose,Red rose\nfern,Fern\nspade,Spade\npot,Pot\noak,Oak\n")
    result = garden.data.ingest("garden", more, from_log=True)
    assert (result.items.ref, result.events.ref) == ("snapshot:garden/items/2", "snapshot:garden/events/2")
    assert result.log.unknown_items == 0


def test_days_without_times_stay_days(ws: Workspace, files: Any) -> None:
    days = files.write("days.csv", "user_id,item_id,timestamp\nann,rose,2024-05-01\nann,pot,2024-05-02\n")
    ws.domain.add("garden", files.items, days)
    append(log_of(ws), ("ann", "fern", 0))
    result = ws.data.ingest("garden", from_log=True)
    assert (result.events.sessions["mode"], result.events.sessions["sessions"]) == ("per_user", 1)
    assert "no times of day" in result.events.report["notes"][0]


def test_damaged_lines_are_told_and_kept(garden: Workspace) -> None:
    log = log_of(garden)
    append(log, ("zoe", "rose", 0))
    log.close()
    (segment,) = log.folder.iterdir()
    segment.write_bytes(b"garbage\n" + segment.read_bytes())
    result = garden.data.ingest("garden", from_log=True)
    assert (result.log.added, result.log.damaged) == (1, 1)
    assert [path.suffix for path in log.folder.iterdir()] == [".damaged"]
    assert garden.data.ingest("garden", from_log=True).log.rows == 0


def test_what_comes_in_during_an_ingest_waits_for_the_next(garden: Workspace, monkeypatch: Any) -> None:
    log, real = log_of(garden), logged_events.seal
    append(log, ("zoe", "rose", 0))

    def seal_and_go_on(folder: Path) -> None:
        real(folder)
        append(log, ("zoe", "pot", 1))

    monkeypatch.setattr(logged_events, "seal", seal_and_go_on)
    assert garden.data.ingest("garden", from_log=True).log.rows == 1
    append(log, ("zoe", "fern", 2))
    monkeypatch.undo()
    assert garden.data.ingest("garden", from_log=True).log.added == 2
    assert table(garden).filter(user_id="zoe")["item_id"].to_list() == ["rose", "pot", "fern"]


@pytest.mark.parametrize(
    ("place", "snapshots"),
    [
        ("hubspoke.workflows.logged_events:read_segments", 1),  # sealed, not read
        ("hubspoke.registry.stores.snapshots:SnapshotStore.add", 1),  # written, not committed
        ("hubspoke.catalog.event_log:Segment.remove", 2),  # committed, not removed
    ],
)
def test_a_kill_loses_nothing_and_doubles_nothing(garden: Workspace, killed: Any, place: str, snapshots: int) -> None:
    log = log_of(garden)
    append(log, ("zoe", "rose", 0), ("zoe", "pot", 1))
    folder: Path = garden.settings.workspace
    killed(place, 1, "data", "ingest", "garden", "--from-log", "--workspace", folder)
    append(log, ("zoe", "fern", 2))
    assert len(garden.data.snapshots("garden", "events")) == snapshots
    result = garden.data.ingest("garden", from_log=True)
    assert (result.log.rows, result.log.added) == (3, 3 if snapshots == 1 else 1)
    assert table(garden).filter(user_id="zoe")["item_id"].to_list() == ["rose", "pot", "fern"]
    log.close()
    assert [*log.folder.iterdir()] == []

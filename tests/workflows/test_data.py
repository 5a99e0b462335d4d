"""Snapshots: new content, known content, a moved clock, moved pictures, damage repaired, differences counted."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.errors import CorruptArtifactError, HubspokeError, InvalidDataError, NotFoundError, UsageError
from hubspoke.workflows.datasets import image_paths, load_dataset
from hubspoke.workflows.workspace import Workspace

Look = Callable[[Path], dict[str, str]]
NOON = datetime(2024, 5, 2, tzinfo=UTC)


def test_the_clock_decides_which_events_are_seen(garden: Workspace, files: Any) -> None:
    early = garden.data.ingest("garden", events=files.events, until=NOON)
    assert early.events is not None and early.events.snapshot is not None
    assert (early.events.ref, early.events.rows) == ("snapshot:garden/events/2", 3)
    assert early.events.snapshot.as_of == NOON
    again = garden.data.ingest("garden", events=files.events, until=NOON)
    assert again.cached
    assert again.events is not None and again.events.ref == "snapshot:garden/events/2"
    known = [snapshot.ref for snapshot in garden.data.snapshots("garden", "events")]
    assert known == ["snapshot:garden/events/1", "snapshot:garden/events/2"]


def test_a_dry_run_changes_nothing(garden: Workspace, files: Any, tree: Look) -> None:
    before = tree(garden.settings.workspace)
    planned = garden.data.ingest("garden", files.items, files.events, until=NOON, dry_run=True)
    assert planned.items is not None and planned.events is not None
    assert (planned.items.ref, planned.items.cached, planned.items.dry_run) == ("snapshot:garden/items/1", True, True)
    assert (planned.events.ref, planned.events.cached) == (None, False)
    assert tree(garden.settings.workspace) == before


def test_nothing_to_ingest_and_nowhere_to_are_told(garden: Workspace, files: Any) -> None:
    with pytest.raises(UsageError, match="nothing to ingest"):
        garden.data.ingest("garden")
    with pytest.raises(NotFoundError, match="did you mean garden"):
        garden.data.ingest("gardne", files.items)
    with pytest.raises(NotFoundError):
        garden.data.ingest("garden", files.folder / "none.csv")


def test_a_mapping_is_remembered_from_the_first_time_or_a_later_one(ws: Workspace, files: Any) -> None:
    first = files.write("first.csv", "key,label\na,A\n")
    second = files.write("second.csv", "key,label\na,A\nb,B\n")
    ws.domain.add("pots", first, item_map={"item_id": "key", "title": "label"})
    result = ws.data.ingest("pots", second)
    assert result.items is not None
    assert (result.items.rows, result.items.mapping) == (2, {"item_id": "key", "title": "label"})
    events = files.write("events.csv", "who,item_id,timestamp\nu,a,2024-05-01T10:00:00Z\n")
    with pytest.raises(InvalidDataError, match="--event-map user_id=COLUMN"):
        ws.data.ingest("pots", events=events)
    ws.data.ingest("pots", events=events, event_map={"user_id": "who"})
    assert ws.registry.domains.get("pots").settings["event_map"] == {"user_id": "who"}
    assert ws.data.ingest("pots", events=events).cached


def test_sessions_show_the_waterfall_and_can_be_changed(garden: Workspace) -> None:
    shown = garden.data.sessions("garden")
    assert (shown.mode, shown.sessions, shown.rows) == ("gap", 2, 6)
    assert shown.waterfall[-1]["rows_out"] == 6
    tried = garden.data.sessions("garden", settings=SessionSettings(mode="per_user"))
    assert (tried.mode, tried.sessions, tried.rows) == ("per_user", 2, 7)
    assert garden.data.ingest("garden", sessions=SessionSettings(mode="per_user", min_length=2)).cached is False
    assert garden.data.ingest("garden", sessions=SessionSettings(mode="per_user", min_length=2)).cached is True
    assert garden.data.sessions("garden").sessions == 3
    assert len(load_dataset(garden, "garden").sequences) == 3


def test_sessions_of_a_domain_without_events_are_not_found(ws: Workspace, files: Any) -> None:
    ws.domain.add("garden", files.items)
    with pytest.raises(NotFoundError, match="no events yet"):
        ws.data.sessions("garden")
    with pytest.raises(UsageError, match="holds items of garden"):
        ws.data.sessions("garden", "snapshot:garden/items/1")


def test_diff_of_items_and_of_events(garden: Workspace, files: Any) -> None:
    changed = files.write(
        "items2.csv", "item_id,title,price\nrose,Red rose,5\nfern,Green fern,7\npot,Clay pot,3\nivy,Ivy,2\n"
    )
    garden.data.ingest("garden", changed)
    found = garden.data.diff("snapshot:garden/items/1", "snapshot:garden/items/2")
    # rose has another price and, like spade, had a picture; spade is gone.
    assert (found.added, found.removed, found.changed) == (("ivy",), ("spade",), ("rose",))
    garden.data.ingest("garden", events=files.events, until=NOON, items=files.items)
    events = garden.data.diff("snapshot:garden/events/1", "snapshot:garden/events/2")
    assert (events.n_added, events.n_removed) == (0, 6)
    with pytest.raises(UsageError, match="same kind"):
        garden.data.diff("snapshot:garden/items/1", "snapshot:garden/events/1")


def test_moved_pictures_are_found_where_they_were_given_last(garden: Workspace, files: Any) -> None:
    moved = files.folder.parent / "photos"
    moved.mkdir()
    for name in ("rose.png", "spade.png"):
        (files.folder / name).rename(moved / name)
    with pytest.raises(InvalidDataError, match="cannot be read"):
        image_paths(load_dataset(garden, "garden"))
    assert garden.data.ingest("garden", files.items, images=moved).cached
    assert image_paths(load_dataset(garden, "garden")) == [[moved / "rose.png"], [], [moved / "spade.png"], []]


@pytest.mark.parametrize("lost", [False, True])
def test_damage_is_told_and_the_same_ingest_repairs_it(garden: Workspace, files: Any, lost: bool) -> None:
    snapshot = garden.registry.snapshots.get("snapshot:garden/items/1")
    data = garden.artifacts.open(snapshot.artifact) / "table" / "data.parquet"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0xFF
    data.write_bytes(content)
    if lost:
        shutil.rmtree(data.parent.parent)
    with pytest.raises((CorruptArtifactError, NotFoundError), match="data ingest garden --items FILE"):
        load_dataset(garden, "garden")
    assert garden.data.ingest("garden", files.items).cached
    assert load_dataset(garden, "garden").items.height == 4


def test_a_full_disk_leaves_everything_as_it_was(
    ws: Workspace, files: Any, tree: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(ws.settings.workspace)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(HubspokeError, match="No space is left") as caught:
        patched.setattr("os.fsync", full)
        ws.domain.add("garden", files.items, files.events)
    assert caught.value.exit_code == 1
    assert ws.domain.list() == []
    assert tree(ws.settings.workspace) == before
    assert not list((ws.settings.artifacts_dir / "staging").iterdir())
    assert not ws.domain.add("garden", files.items, files.events).cached

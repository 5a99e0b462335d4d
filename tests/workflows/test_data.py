"""Snapshots: new content, known content, a moved clock, moved pictures, damage, differences; real kills of ingests."""

import errno
import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hubspoke.catalog.downloads import file_of
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.errors import CorruptArtifactError, HubspokeError, InvalidDataError, NotFoundError, UsageError
from hubspoke.workflows.datasets import image_paths, load_dataset
from hubspoke.workflows.workspace import Workspace, open_workspace
from PIL import Image

NOON = datetime(2024, 5, 2, tzinfo=UTC)


def test_the_clock_decides_which_events_are_seen(garden: Workspace, files: Any, tree: Any, refused: Any) -> None:
    before = tree(garden.settings.workspace)
    planned = garden.data.ingest("garden", files.items, files.events, until=NOON, dry_run=True)
    assert (planned.items.ref, planned.items.cached, planned.items.dry_run) == ("snapshot:garden/items/1", True, True)
    assert (planned.events.ref, planned.events.cached) == (None, False)
    assert tree(garden.settings.workspace) == before
    early = garden.data.ingest("garden", events=files.events, until=NOON)
    assert (early.events.ref, early.events.rows) == ("snapshot:garden/events/2", 3)
    assert early.events.snapshot.as_of == NOON
    again = garden.data.ingest("garden", events=files.events, until=NOON)
    assert (again.cached, again.events.ref) == (True, "snapshot:garden/events/2")
    known = [snapshot.ref for snapshot in garden.data.snapshots("garden", "events")]
    assert known == ["snapshot:garden/events/1", "snapshot:garden/events/2"]
    # Nothing to ingest and nowhere to are told.
    refused(UsageError, "nothing to ingest", garden.data.ingest, "garden")
    refused(NotFoundError, "did you mean garden", garden.data.ingest, "gardne", files.items)
    refused(NotFoundError, "", garden.data.ingest, "garden", files.folder / "none.csv")


def test_pictures_at_addresses_are_fetched_where_that_is_asked_for(ws: Workspace, files: Any, monkeypatch: Any) -> None:
    def fetched(addresses: list[str], downloads: Any, limits: Any) -> dict[str, str]:
        downloads.folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(downloads.folder / file_of("https://p.example/a.png"), "PNG")
        return {address: "gone" for address in addresses if not address.endswith("a.png")}

    monkeypatch.setattr("hubspoke.catalog.pictures.download", fetched)
    table = files.write("far.csv", "sku,name,image\na,A,https://p.example/a.png\nb,B,https://p.example/b.png\n")
    planned = ws.domain.add("far", table, download_images=True, dry_run=True)
    assert planned.items.report["counts"] == {"image_address": 2}
    assert not (ws.settings.workspace / "images").exists()
    assert ws.domain.add("far", table, download_images=True).items.report["counts"] == {"image_not_fetched": 1}
    picture = ws.settings.workspace / "images" / file_of("https://p.example/a.png")
    assert image_paths(load_dataset(ws, "far")) == [[picture], []]


def test_a_mapping_is_remembered_from_the_first_time_or_a_later_one(ws: Workspace, files: Any, refused: Any) -> None:
    first = files.write("first.csv", "key,label\na,A\n")
    second = files.write("second.csv", "key,label\na,A\nb,B\n")
    ws.domain.add("pots", first, item_map={"item_id": "key", "title": "label"})
    result = ws.data.ingest("pots", second)
    assert (result.items.rows, result.items.mapping) == (2, {"item_id": "key", "title": "label"})
    events = files.write("events.csv", "who,item_id,timestamp\nu,a,2024-05-01T10:00:00Z\n")
    refused(InvalidDataError, "--event-map user_id=COLUMN", ws.data.ingest, "pots", events=events)
    ws.data.ingest("pots", events=events, event_map={"user_id": "who"})
    assert ws.registry.domains.get("pots").settings["event_map"] == {"user_id": "who"}
    assert ws.data.ingest("pots", events=events).cached


def test_sessions_show_the_waterfall_and_can_be_changed(garden: Workspace, files: Any, refused: Any) -> None:
    shown = garden.data.sessions("garden")
    assert (shown.mode, shown.sessions, shown.rows) == ("gap", 2, 6) and shown.waterfall[-1]["rows_out"] == 6
    tried = garden.data.sessions("garden", settings=SessionSettings(mode="per_user"))
    assert (tried.mode, tried.sessions, tried.rows) == ("per_user", 2, 7)
    for cached in (False, True):
        settings = SessionSettings(mode="per_user", min_length=2)
        assert garden.data.ingest("garden", sessions=settings).cached is cached
    assert (garden.data.sessions("garden").sessions, len(load_dataset(garden, "garden").sequences)) == (3, 3)
    garden.domain.add("bare", files.items)
    refused(NotFoundError, "no events yet", garden.data.sessions, "bare")
    refused(UsageError, "holds items of garden", garden.data.sessions, "garden", "snapshot:garden/items/1")


def test_diff_of_items_and_of_events(garden: Workspace, files: Any, refused: Any) -> None:
    changed = "item_id,title,price\nrose,Red rose,5\nfern,Green fern,7\npot,Clay pot,3\nivy,Ivy,2\n"
    garden.data.ingest("garden", files.write("items2.csv", changed))
    found = garden.data.diff("snapshot:garden/items/1", "snapshot:garden/items/2")
    # rose has another price and, like spade, had a picture; spade is gone.
    assert (found.added, found.removed, found.changed) == (("ivy",), ("spade",), ("rose",))
    garden.data.ingest("garden", events=files.events, until=NOON, items=files.items)
    events = garden.data.diff("snapshot:garden/events/1", "snapshot:garden/events/2")
    assert (events.n_added, events.n_removed) == (0, 6)
    refused(UsageError, "same kind", garden.data.diff, "snapshot:garden/items/1", "snapshot:garden/events/1")


def test_moved_pictures_are_found_where_they_were_given_last(garden: Workspace, files: Any, refused: Any) -> None:
    moved = files.folder.parent / "photos"
    moved.mkdir()
    for name in ("rose.png", "spade.png"):
        (files.folder / name).rename(moved / name)
    refused(InvalidDataError, "cannot be read", image_paths, load_dataset(garden, "garden"))
    assert garden.data.ingest("garden", files.items, images=moved).cached
    assert image_paths(load_dataset(garden, "garden")) == [[moved / "rose.png"], [], [moved / "spade.png"], []]


@pytest.mark.parametrize("lost", [False, True])
def test_damage_is_told_and_the_same_ingest_repairs_it(garden: Workspace, files: Any, lost: bool, refused: Any) -> None:
    snapshot = garden.registry.snapshots.get("snapshot:garden/items/1")
    data = garden.artifacts.open(snapshot.artifact) / "table" / "data.parquet"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0xFF
    data.write_bytes(content)
    if lost:
        shutil.rmtree(data.parent.parent)
    refused((CorruptArtifactError, NotFoundError), "data ingest garden --items FILE", load_dataset, garden, "garden")
    assert garden.data.ingest("garden", files.items).cached
    assert load_dataset(garden, "garden").items.height == 4


def test_a_full_disk_leaves_everything_as_it_was(ws: Workspace, files: Any, tree: Any, monkeypatch: Any) -> None:
    before = tree(ws.settings.workspace)
    with monkeypatch.context() as patched, pytest.raises(HubspokeError, match="No space is left") as caught:
        patched.setattr("os.fsync", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        ws.domain.add("garden", files.items, files.events)
    assert caught.value.exit_code == 1
    assert (ws.domain.list(), tree(ws.settings.workspace)) == ([], before)
    assert not list(ws.settings.artifacts_dir.glob("staging/*"))
    assert not ws.domain.add("garden", files.items, files.events).cached


PLACES = [
    ("hubspoke.files:flush", 1),  # the first table and its manifest are written, not yet flushed
    ("hubspoke.registry.artifacts.local:ArtifactStore.commit", 2),  # the second table is staged
    ("hubspoke.registry.stores.domains:DomainStore.add", 1),  # both artifacts stand, no row does
    ("hubspoke.registry.stores.snapshots:SnapshotStore.add", 1),  # the domain stands alone
    ("hubspoke.registry.stores.snapshots:SnapshotStore.add", 2),  # its events are missing
]


def contents(ws: Workspace) -> list[tuple[Any, ...]]:
    snapshots = ws.data.snapshots("garden")
    return [(s.ref, s.content_hash, s.rows, s.artifact, s.as_of, s.details) for s in snapshots]


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_killed_domain_add_is_repeated(garden: Any, files: Any, tmp_path: Path, killed: Any, place: Any) -> None:
    folder = tmp_path / "killed"
    with open_workspace(environ={}, workspace=folder, create=True) as ws:
        add = ("domain", "add", "garden", "--items", files.items, "--events", files.events)
        killed(*place, *add, "--workspace", folder)
        assert not ws.domain.list() or ws.domain.list()[0].counts.event_snapshots == 0
        assert not ws.domain.add("garden", files.items, files.events).cached
        assert contents(ws) == contents(garden)
        # Nothing of the killed process is left: no staged folder, no artifact that no row names.
        assert ws.doctor(verify=True, sweep=True).ok
        assert list((ws.artifacts.root / "staging").iterdir()) == []
        assert sorted(a.digest for a in ws.registry.artifacts.list()) == list(ws.artifacts.digests())
        assert ws.domain.add("garden", files.items, files.events).cached


def test_an_ingest_that_is_ended_leaves_the_earlier_snapshots_alone(garden: Any, files: Any, stopped: Any) -> None:
    before, staging = contents(garden), garden.artifacts.root / "staging"
    ingest = ("data", "ingest", "garden", "--events", str(files.events), "--until", "2024-05-02")
    folder = ("--workspace", str(garden.settings.workspace))
    # A request to end cleans up, a kill does not; both come when the files of the events are about to be committed.
    for sent, code, said in ((signal.SIGTERM, 130, "Interrupted"), (signal.SIGKILL, -signal.SIGKILL, "")):
        process = stopped("hubspoke.registry.artifacts.local:ArtifactStore.commit", 1, *ingest, *folder)
        process.send_signal(sent)
        assert process.wait() == code and said in process.stderr.read()
        assert (contents(garden), bool(list(staging.iterdir()))) == (before, sent == signal.SIGKILL)
    result = garden.data.ingest("garden", events=files.events, until=NOON)
    assert (result.events.ref, result.events.cached) == ("snapshot:garden/events/2", False)
    assert list(staging.iterdir()) == []

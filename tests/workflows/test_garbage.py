"""Collection of garbage: what goes, what stays, and a writer or a kill at the wrong moment."""

import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hubspoke.errors import LockedError, UsageError
from hubspoke.registry.artifacts.local import ArtifactStore
from hubspoke.registry.artifacts.manifests import StoredArtifact
from hubspoke.registry.schema import Artifact, Base
from hubspoke.registry.stores import artifacts as artifact_rows
from hubspoke.workflows import garbage as garbage_module
from hubspoke.workflows.garbage import GarbageArtifact
from hubspoke.workflows.workspace import Workspace
from sqlalchemy import Column, ForeignKey, MetaData, Table

DAY = timedelta(hours=24)


def put(ws: Workspace, text: str = "x", days: float | None = 2.0, kind: str = "model") -> StoredArtifact:
    """An artifact that nothing refers to, committed so many days ago, or now."""
    with ws.stage() as staged:
        (staged / "a").write_text(text)
        stored = ws.commit(staged, kind)
    if days is not None:
        age(ws.artifacts.path(stored.digest), days)
    return stored


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY.total_seconds()
    for inner in [*path.rglob("*"), path]:
        os.utime(inner, (then, then))


def record(ws: Workspace, stored: StoredArtifact) -> None:
    """The artifact's row without anything that refers to it."""
    about = {name: getattr(stored, name) for name in ("digest", "kind", "bytes")}
    with ws.registry.database.write() as session:
        session.add(Artifact(**about, files=dict(stored.files), created_at=datetime.now(UTC)))


def rows(ws: Workspace) -> set[str]:
    return {artifact.digest for artifact in ws.registry.artifacts.list()}


def test_only_what_nothing_refers_to_goes(garden: Workspace, refused: Any) -> None:
    wanted = rows(garden)
    for digest in wanted:
        age(garden.artifacts.path(digest), 10)
    old, other, young = put(garden, "old"), put(garden, "other", kind="index"), put(garden, "young", days=0.5)
    record(garden, other)
    folders = [garden.artifacts.path(stored.digest).rglob("*") for stored in (old, other)]
    sizes = [sum(file.stat().st_size for file in folder) for folder in folders]
    expected = {GarbageArtifact(old.digest, "model", sizes[0]), GarbageArtifact(other.digest, "index", sizes[1])}
    planned = garden.gc()
    assert set(planned.artifacts) == expected
    assert (planned.bytes, planned.young, planned.dry_run) == (sum(sizes), 1, True)
    assert (len(list(garden.artifacts.digests())), rows(garden)) == (5, {*wanted, other.digest})
    done = garden.gc(dry_run=False)
    assert (done.artifacts, done.bytes, done.young) == (planned.artifacts, planned.bytes, 1)
    assert (set(garden.artifacts.digests()), rows(garden)) == ({*wanted, young.digest}, wanted)
    assert garden.doctor(verify=True).exit_code == 0
    again = garden.gc(dry_run=False, grace=timedelta(hours=11))
    assert [artifact.digest for artifact in again.artifacts] == [young.digest]
    assert garden.gc(dry_run=False).bytes == 0
    refused(UsageError, "-1 hours is none; give 0 or more", garden.gc, grace=timedelta(hours=-1))


def test_everything_that_a_whole_shop_made_stays(shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    held = list(shop.artifacts.digests())
    for digest in held:
        age(shop.artifacts.path(digest), 10)
    assert shop.gc(dry_run=False).artifacts == ()
    assert list(shop.artifacts.digests()) == held
    # Every column that names an artifact is asked.
    named = {str(column) for column in artifact_rows._columns()}
    assert named >= {"snapshots.artifact", "models.artifact", "index_versions.artifact", "evaluations.artifact"}
    digest = Artifact.__table__.c.digest
    other = Table("later", MetaData(), Column("weights", ForeignKey(digest)), Column("notes", ForeignKey(digest)))
    tables = [*Base.metadata.sorted_tables, other]
    monkeypatch.setattr(Base, "metadata", type("Metadata", (), {"sorted_tables": tables}))
    assert {str(column) for column in artifact_rows._columns()} - named == {"later.weights", "later.notes"}


def test_who_refers_to_an_artifact(each_ws: Workspace, files: Any) -> None:
    each_ws.domain.add("garden", files.items)
    digest = each_ws.registry.snapshots.get("snapshot:garden/items/1").artifact
    assert each_ws.registry.artifacts.users(digest) == ("snapshot:garden/items/1",)
    assert each_ws.registry.artifacts.referenced() == {digest}
    unknown = [f"{number:064x}" for number in range(1200)]
    assert (each_ws.registry.artifacts.forget([digest, *unknown]), rows(each_ws)) == (set(unknown), {digest})


def test_what_is_gone_or_empty_or_cannot_be_read_is_garbage_all_the_same(garden: Workspace, refused: Any) -> None:
    stored = put(garden)
    record(garden, stored)
    shutil.rmtree(garden.artifacts.path(stored.digest))
    assert garden.gc(dry_run=False).artifacts == (GarbageArtifact(stored.digest, "model", 0),)
    assert stored.digest not in rows(garden)
    damaged = garden.artifacts.path(put(garden).digest)
    (damaged / "artifact.json").write_text("{}")
    empty = garden.artifacts.path("ab" + "0" * 62)
    empty.mkdir(parents=True)
    for place in (damaged, empty):
        age(place, 2)
    found = {GarbageArtifact(damaged.name, "unreadable", 3), GarbageArtifact(empty.name, "unreadable", 0)}
    assert set(garden.gc(dry_run=False).artifacts) == found
    assert not empty.exists()
    # Staged folders of dead writers go and count.
    staging = garden.artifacts.root / "staging"
    dead = staging / "elsewhere-1-1-dead"
    dead.mkdir(parents=True)
    (dead / "half").write_bytes(b"x" * 1000)
    age(dead, 2)
    (staging / "elsewhere-1-1-busy").mkdir()
    planned = garden.gc()
    assert [(folder.name, folder.bytes) for folder in planned.folders] == [("elsewhere-1-1-dead", 1000)]
    assert planned.bytes == 1000 and dead.exists()
    assert garden.gc(dry_run=False).folders == planned.folders
    assert [path.name for path in staging.iterdir()] == ["elsewhere-1-1-busy"]
    # One collector works at a time.
    with garden.lock("collect garbage"):
        assert garden.gc().dry_run
        refused(LockedError, "collect garbage", garden.gc, dry_run=False)


MOMENTS = [
    (garbage_module, "_remove"),  # chosen, its row not yet deleted
    (ArtifactStore, "delete"),  # the row is deleted
    (ArtifactStore, "_take_away"),  # about to be moved out of its place
]


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_writer_meanwhile_keeps_its_artifact(garden: Any, monkeypatch: Any, moment: Any, recorded: bool) -> None:
    stored = put(garden)
    if recorded:
        record(garden, stored)
    refer = garden.registry.snapshots.add
    before(*moment, monkeypatch, lambda: refer("garden", "items", "content", 1, put(garden, days=None)))
    result = garden.gc(dry_run=False)
    assert (result.artifacts, result.young) == ((), 1)
    assert (garden.artifacts.open(stored.digest) / "a").read_text() == "x"
    assert stored.digest in rows(garden)
    assert garden.gc().artifacts == ()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_writer_whose_row_comes_after(garden: Workspace, monkeypatch: Any, moment: Any) -> None:
    stored = put(garden)
    record(garden, stored)
    before(*moment, monkeypatch, lambda: put(garden, days=None))
    garden.gc(dry_run=False)
    garden.registry.snapshots.add("garden", "items", "content", 1, stored)  # puts the artifact's row back with its own
    assert garden.artifacts.verify(stored.digest) == 1
    assert stored.digest in rows(garden)


def before(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Have `act` done the first time that a function is called, before it does its work."""
    real = getattr(owner, name)

    def after_acting(*args: Any) -> Any:
        monkeypatch.setattr(owner, name, real)
        act()
        return real(*args)

    monkeypatch.setattr(owner, name, after_acting)


@pytest.mark.parametrize("moment", [*MOMENTS, (shutil, "rmtree")])
def test_a_killed_collection_leaves_no_row_without_bytes(garden: Workspace, monkeypatch: Any, moment: Any) -> None:
    wanted = rows(garden)
    for text in ("x", "y"):
        record(garden, put(garden, text))
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(*moment, Mock(side_effect=SystemExit))  # which no handler of errors takes for one
        garden.gc(dry_run=False)
    staging = list((garden.artifacts.root / "staging").iterdir())
    for number, left in enumerate(staging):  # the process is dead, so what it staged has a dead one's name
        left.rename(left.with_name(f"{left.name.split('-')[0]}-{2**22 + 1}-1-{number}"))
    assert all(digest in rows(garden) for digest in wanted)
    assert rows(garden) - wanted <= set(garden.artifacts.digests())
    garden.gc(dry_run=False)
    garden.gc(dry_run=False)  # what a sweep has put back goes now
    assert set(garden.artifacts.digests()) == rows(garden) == wanted
    assert garden.doctor(verify=True).exit_code == 0


def test_a_remote_store_is_collected_with_its_read_copies(opened: Any, files: Any, s3_url: str) -> None:
    ws = opened("remote", artifacts=s3_url)
    ws.domain.add("garden", files.items)
    stored = put(ws, days=None)
    assert (ws.gc().artifacts, ws.gc().young) == ((), 1)
    # The server's clock cannot be turned back, so the collector is sent into the future.
    later = datetime.now(UTC) + timedelta(hours=1)
    held = ws.artifacts.holdings()
    found, _ = garbage_module._find(ws, held, later)
    assert [(garbage.digest, garbage.kind) for garbage in found] == [(stored.digest, "model")]
    assert garbage_module._remove(ws, held, found, later) == found
    assert set(ws.artifacts.digests()) == rows(ws) and not ws.artifacts.path(stored.digest).exists()
    assert ws.doctor(verify=True).exit_code == 0

"""The artifact store's local folder: its digests, its races with a collector of garbage, its kills, full disks."""

import errno
import os
import shutil
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hubspoke.errors import HubspokeError, NotFoundError
from hubspoke.registry.artifacts import local as artifacts_module
from hubspoke.registry.artifacts.local import ArtifactStore
from hubspoke.registry.artifacts.manifests import StoredArtifact
from hubspoke.registry.artifacts.remote import open_store

WRITE = """
import sys
from pathlib import Path
from hubspoke.registry.artifacts.local import ArtifactStore
store = ArtifactStore(Path(sys.argv[1]))
with store.stage() as staged:
    (staged / "a.bin").write_bytes(b"a" * 1000)
    if sys.argv[2] == "hang":
        print("half", flush=True)
        sys.stdin.read()
    (staged / "b.bin").write_bytes(b"b" * 1000)
    print(store.commit(staged, "model").digest)
"""
COLLECT = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from hubspoke.registry.artifacts import local as artifacts

def hang(*_):
    print("taken", flush=True)
    sys.stdin.read()

artifacts._touched = hang
artifacts.ArtifactStore(Path(sys.argv[1])).delete(sys.argv[2], datetime.now(UTC))
"""
DAY = 24 * 3600
NOW = datetime.now(UTC)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def put(store: ArtifactStore, **files: str) -> StoredArtifact:
    with store.stage() as staged:
        for name, text in files.items():
            (staged / name).write_text(text)
        return store.commit(staged, "model")


def age(path: Path, seconds: float) -> None:
    """Make a folder and all that is in it look untouched for so long."""
    then = time.time() - seconds
    for inner in [*path.rglob("*"), path]:
        os.utime(inner, (then, then))


def left_over(store: ArtifactStore) -> list[str]:
    return [leftover.path.name for leftover in store.leftovers()]


def leave(store: ArtifactStore, name: str, seconds: float) -> Path:
    """A folder of another machine's process in the store's staging, untouched for so long."""
    folder = store.root / "staging" / name
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "data").write_text("x")
    age(folder, seconds)
    return folder


def before_the_next(patch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[], object]) -> None:
    """Do something before the next call of a function, once."""
    real = getattr(owner, name)

    def call(*arguments: Any) -> Any:
        patch.setattr(owner, name, real)
        act()
        return real(*arguments)

    patch.setattr(owner, name, call)


def test_equal_content_is_kept_and_touched(store: ArtifactStore) -> None:
    first = put(store, a="x")
    place = store.open(first.digest)
    before = (place / "a").stat().st_ino
    age(place, DAY)
    assert store.touched(first.digest) < NOW - timedelta(hours=23)
    assert put(store, a="x") == first
    assert (place / "a").stat().st_ino == before
    assert (store.touched(first.digest) >= NOW, left_over(store)) == (True, [])


@pytest.mark.parametrize("kind", [Path, str])
def test_a_store_is_opened_by_its_place(tmp_path: Path, kind: type) -> None:
    opened = open_store(kind(tmp_path / "store"), tmp_path / "copies")
    assert (type(opened), opened.root, opened.where) == (ArtifactStore, tmp_path / "store", str(tmp_path / "store"))


def test_a_full_disk_leaves_nothing_and_says_so(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(HubspokeError, match="No space is left"), store.stage():
        # Where the system has a disk that is really full, that one.
        Path("/dev/full").write_bytes(b"x" * 10_000) if Path("/dev/full").exists() else full(0)
    assert left_over(store) == []
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HubspokeError, match=r"No space is left.*free some and repeat") as caught:
        put(store, a="x")
    assert (caught.value.exit_code, left_over(store), list(store.digests())) == (1, [], [])


def test_a_killed_write_is_swept_and_repeated_to_the_same_result(store: ArtifactStore, start) -> None:
    killed = start(WRITE, str(store.root), "hang")
    assert killed.stdout.readline() == "half\n"
    assert len(left_over(store)) == 1
    assert store.sweep_stale() == []  # its process lives
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert list(store.digests()) == []
    assert [(leftover.bytes, leftover.stale) for leftover in store.leftovers()] == [(1000, True)]
    digest = start(WRITE, str(store.root), "whole").communicate()[0].strip()
    assert (store.open(digest) / "b.bin").read_bytes() == b"b" * 1000
    assert (left_over(store), list(store.digests())) == ([], [digest])


def test_a_process_number_given_again_does_not_keep_a_dead_ones_files(store: ArtifactStore) -> None:
    with store.stage() as staged:
        machine, pid, _start, token = staged.name.split("-")
        (staged.parent / f"{machine}-{pid}-1-{token}").mkdir()
        (staged.parent / f"elsewhere-{pid}-1-{token}").mkdir()
        assert [leftover.path.name for leftover in store.sweep_stale()] == [f"{machine}-{pid}-1-{token}"]
        assert staged.is_dir()


def test_what_other_machines_left_is_swept_after_a_day(store: ArtifactStore) -> None:
    _old, new, deep = (leave(store, f"there-{name}", DAY + 60) for name in ("7-1-old", "7-1-new", "8-1-deep"))
    os.utime(new, (time.time() - DAY + 60,) * 2)
    os.utime(deep / "in" / "data")  # still growing
    assert [leftover.path.name for leftover in store.sweep_stale()] == ["there-7-1-old"]
    assert left_over(store) == ["there-7-1-new", "there-8-1-deep"]


def test_a_sweep_passes_over_what_another_process_removes_under_it(store: ArtifactStore, monkeypatch) -> None:
    walk = os.walk

    def vanishing(folder: Path):
        for step in walk(folder):
            shutil.rmtree(folder)  # what the step names is gone when it is looked at
            yield step

    for name in ("there-7-1-a", "there-7-1-b"):
        leave(store, name, 2 * DAY)
    with monkeypatch.context() as patched:
        patched.setattr(os, "walk", vanishing)
        assert all(leftover.bytes == 0 for leftover in store.leftovers())
        assert store.sweep_stale() == []
    assert left_over(store) == []
    put(store, a="x")


@pytest.mark.parametrize(
    ("owner", "moment", "deleted"),
    [
        (ArtifactStore, "_take_away", False),  # chosen for its age, it is young when it is to be taken away
        (artifacts_module, "_touched", True),  # taken away already: what goes is the old one
    ],
)
def test_a_commit_while_a_collector_is_at_work_stays(
    store, monkeypatch, owner: Any, moment: str, deleted: bool
) -> None:
    stored = put(store, a="x")
    age(store.open(stored.digest), DAY)
    before_the_next(monkeypatch, owner, moment, lambda: put(store, a="x"))
    assert store.delete(stored.digest, NOW) is deleted
    assert (store.open(stored.digest) / "a").read_text() == "x"
    assert (store.touched(stored.digest) >= NOW, left_over(store)) == (True, [])


@pytest.mark.parametrize(("owner", "moment"), [(artifacts_module, "is_sound"), (os, "utime")])
def test_a_commit_whose_place_is_emptied_under_it_places_its_own(store, monkeypatch, owner: Any, moment: str) -> None:
    stored = put(store, a="x")
    age(store.open(stored.digest), DAY)
    deleted: list[bool] = []
    before_the_next(monkeypatch, owner, moment, lambda: deleted.append(store.delete(stored.digest, NOW)))
    assert (put(store, a="x"), deleted) == (stored, [True])
    assert (store.open(stored.digest) / "a").read_text() == "x"
    assert left_over(store) == []


def test_two_commits_of_equal_content_at_once(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before_the_next(monkeypatch, artifacts_module, "_rename_unless_taken", lambda: put(store, a="x"))
    digest = put(store, a="x").digest
    assert (list(store.digests()), left_over(store)) == ([digest], [])


def test_a_collector_killed_before_it_decided_has_lost_nothing(store: ArtifactStore, start) -> None:
    stored = put(store, a="x")
    age(store.open(stored.digest), 2 * DAY)
    collector = start(COLLECT, str(store.root), stored.digest)
    assert collector.stdout.readline() == "taken\n"
    assert list(store.digests()) == []
    assert store.sweep_stale() == []  # its process lives
    collector.kill()
    collector.wait()
    store.sweep_stale()
    assert (store.open(stored.digest) / "a").read_text() == "x"
    assert left_over(store) == []


def test_a_collector_killed_while_it_deleted_leaves_nothing(store: ArtifactStore) -> None:
    stored = put(store, a="x", b="y")
    dead = leave(store, "there-7-1-dead", 0)
    shutil.move(store.open(stored.digest), dead)
    (dead / stored.digest / "a").unlink()
    age(dead, 2 * DAY)
    assert [leftover.bytes > 0 for leftover in store.sweep_stale()] == [True]
    assert (list(store.digests()), left_over(store)) == ([], [])
    with pytest.raises(NotFoundError):
        store.touched(stored.digest)

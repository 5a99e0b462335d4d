from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
from hubspoke.errors import CorruptArtifactError, HubspokeError, NotFoundError, UsageError
from hubspoke.registry.artifacts import ArtifactStore, StoredArtifact

WRITE = """
import sys
from pathlib import Path
from hubspoke.registry.artifacts import ArtifactStore
store = ArtifactStore(Path(sys.argv[1]))
with store.stage() as staged:
    (staged / "a.bin").write_bytes(b"a" * 1000)
    if sys.argv[2] == "hang":
        print("half", flush=True)
        sys.stdin.read()
    (staged / "b.bin").write_bytes(b"b" * 1000)
    print(store.commit(staged, "model").digest)
"""


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def put(store: ArtifactStore, **files: str) -> StoredArtifact:
    with store.stage() as staged:
        for name, text in files.items():
            (staged / name).write_text(text)
        return store.commit(staged, "model")


def left_over(store: ArtifactStore) -> list[str]:
    return [path.name for path in (store.root / "staging").iterdir()]


def test_the_digest_covers_paths_contents_and_sizes(store: ArtifactStore) -> None:
    with store.stage() as staged:
        (staged / "deep").mkdir()
        (staged / "deep" / "w").write_text("weights")
        (staged / "config.json").write_text("{}")
        stored = store.commit(staged, "spoke")
    w, c = hashlib.sha256(b"weights").hexdigest(), hashlib.sha256(b"{}").hexdigest()
    assert stored.files == {"deep/w": w, "config.json": c}
    assert stored.bytes == 9
    assert stored.digest == hashlib.sha256(f"config.json\0{c}\x002\ndeep/w\0{w}\x007\n".encode()).hexdigest()
    path = store.open(stored.digest)
    assert path == store.root / stored.digest[:2] / stored.digest
    assert (path / "deep" / "w").read_text() == "weights"
    assert store.read(stored.digest) == stored
    assert list(store.digests()) == [stored.digest]
    assert left_over(store) == []


def test_equal_content_is_kept_once_and_other_names_are_other_content(store: ArtifactStore) -> None:
    first = put(store, a="x")
    before = (store.open(first.digest) / "a").stat().st_ino
    assert put(store, a="x") == first
    assert (store.open(first.digest) / "a").stat().st_ino == before
    assert put(store, b="x").digest != first.digest
    assert left_over(store) == []


def test_every_kind_of_damage_names_the_file_and_the_remedy(store: ArtifactStore) -> None:
    def changed(path: Path) -> None:
        (path / "a").write_text("y")

    def grown(path: Path) -> None:
        (path / "a").write_text("xx")

    def gone(path: Path) -> None:
        (path / "a").unlink()

    def manifest_changed(path: Path) -> None:
        said = json.loads((path / "artifact.json").read_text())
        said["files"]["a"]["sha256"] = hashlib.sha256(b"y").hexdigest()
        (path / "artifact.json").write_text(json.dumps(said))

    def manifest_cut(path: Path) -> None:
        (path / "artifact.json").write_text('{"files": [')

    def manifest_gone(path: Path) -> None:
        (path / "artifact.json").unlink()

    for damage in (changed, grown, gone, manifest_changed, manifest_cut, manifest_gone):
        stored = put(store, a="x")
        damage(store.open(stored.digest))
        name = "artifact.json" if "manifest" in damage.__name__ else "a"
        with pytest.raises(CorruptArtifactError, match=rf"^{name} of artifact .*--force, or restore a backup"):
            store.open(stored.digest)
        assert store.open(stored.digest, verify=False).is_dir()
        # The same content written once more takes the damaged one's place.
        assert put(store, a="x") == stored
        assert (store.open(stored.digest) / "a").read_text() == "x"
        assert left_over(store) == []


def test_missing_artifacts_and_names_that_are_no_digests(store: ArtifactStore) -> None:
    with pytest.raises(NotFoundError, match="--force, or restore a backup"):
        store.open("0" * 64)
    for name in ("../../etc", "", "0" * 63, "A" * 64):
        with pytest.raises(NotFoundError, match="is not the digest of an artifact"):
            store.open(name)


def test_only_plain_files_are_taken(store: ArtifactStore, tmp_path: Path) -> None:
    with store.stage() as staged, pytest.raises(UsageError, match="write at least one file"):
        store.commit(staged, "model")
    with store.stage() as staged:
        (staged / "link").symlink_to(tmp_path)
        with pytest.raises(UsageError, match="link is not a plain file"):
            store.commit(staged, "model")
    with store.stage() as staged:
        (staged / "artifact.json").write_text("{}")
        with pytest.raises(UsageError, match="the store's own file"):
            store.commit(staged, "model")


def test_an_error_inside_the_block_leaves_nothing(store: ArtifactStore) -> None:
    with pytest.raises(ValueError, match="stop"), store.stage() as staged:
        (staged / "a").write_text("x")
        raise ValueError("stop")
    assert left_over(store) == []
    assert list(store.digests()) == []


def test_a_full_disk_leaves_nothing_and_says_so(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HubspokeError, match=r"No space is left.*free some and repeat") as caught:
        put(store, a="x")
    assert caught.value.exit_code == 1
    assert left_over(store) == []
    assert list(store.digests()) == []
    with pytest.raises(HubspokeError, match="No space is left"), store.stage():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert left_over(store) == []


def test_a_really_full_disk(store: ArtifactStore) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(HubspokeError, match="No space is left"), store.stage():
        Path("/dev/full").write_bytes(b"x" * 10_000)


def test_a_killed_write_is_swept_and_repeated_to_the_same_result(store: ArtifactStore, start) -> None:
    killed = start(WRITE, str(store.root), "hang")
    assert killed.stdout.readline() == "half\n"
    assert len(left_over(store)) == 1
    assert store.sweep_stale() == []  # its process lives
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert list(store.digests()) == []
    assert len(left_over(store)) == 1
    again = start(WRITE, str(store.root), "whole")
    digest = again.communicate()[0].strip()
    assert (store.open(digest) / "b.bin").read_bytes() == b"b" * 1000
    assert left_over(store) == []
    assert list(store.digests()) == [digest]


def test_a_process_number_given_again_does_not_keep_a_dead_ones_files(store: ArtifactStore) -> None:
    with store.stage() as staged:
        machine, pid, _start, token = staged.name.split("-")
        (staged.parent / f"{machine}-{pid}-1-{token}").mkdir()
        (staged.parent / f"elsewhere-{pid}-1-{token}").mkdir()
        assert [path.name for path in store.sweep_stale()] == [f"{machine}-{pid}-1-{token}"]
        assert staged.is_dir()

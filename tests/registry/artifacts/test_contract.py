"""What every artifact store promises: in a local folder, in fsspec's memory, and on a real S3 server."""

import hashlib
import shutil
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import pytest
from hubspoke.errors import CorruptArtifactError, NotFoundError, UsageError
from hubspoke.registry.artifacts.local import ArtifactStore
from hubspoke.registry.artifacts.manifests import StoredArtifact
from hubspoke.registry.artifacts.remote import open_store
from hubspoke.registry.artifacts.remote_files import RemoteFiles

PAST = datetime.now(UTC) - timedelta(hours=1)
FUTURE = datetime.now(UTC) + timedelta(hours=1)


@dataclass(frozen=True)
class Place:
    """A place of artifacts, which several machines use."""

    location: str
    folder: Path

    def machine(self, name: str = "here") -> ArtifactStore:
        """The store as a machine sees it that has its own disk for read copies."""
        return open_store(self.location, self.folder / name)

    @cached_property
    def _files(self) -> RemoteFiles:
        return RemoteFiles(self.location if "://" in self.location else f"file://{self.location}")

    def paths(self) -> list[str]:
        """Every file that lies in the place."""
        return sorted(self._files.list())

    def write(self, digest: str, name: str, content: str) -> None:
        self._files.write(f"{digest[:2]}/{digest}/{name}", content.encode())

    def remove(self, digest: str, name: str) -> None:
        self._files.remove(f"{digest[:2]}/{digest}/{name}")

    def forget_copies(self) -> None:
        shutil.rmtree(self.folder / "here", ignore_errors=True)


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "s3":
        return Place(f"{request.getfixturevalue('s3_url')}/shop/artifacts", tmp_path / "copies")
    (tmp_path / "store").mkdir()
    memory = f"memory://{uuid.uuid4().hex}/artifacts"
    return Place(memory if request.param == "memory" else str(tmp_path / "store"), tmp_path / "copies")


@pytest.fixture
def store(place: Place) -> ArtifactStore:
    return place.machine()


def put(store: ArtifactStore, text: str = "x", kind: str = "model") -> StoredArtifact:
    with store.stage() as staged:
        (staged / "deep").mkdir()
        (staged / "deep" / "b").write_text("weights")
        (staged / "a").write_text(text)
        return store.commit(staged, kind)


class TestContract:
    def test_what_is_committed_is_what_is_read(self, place: Place, store: ArtifactStore) -> None:
        stored = put(store)
        a, b = hashlib.sha256(b"x").hexdigest(), hashlib.sha256(b"weights").hexdigest()
        digest = hashlib.sha256(f"a\0{a}\x001\ndeep/b\0{b}\x007\n".encode()).hexdigest()
        assert stored == StoredArtifact(digest, "model", 8, {"a": a, "deep/b": b})
        folder = f"{digest[:2]}/{digest}"
        assert place.paths() == [f"{folder}/a", f"{folder}/artifact.json", f"{folder}/deep/b"]
        for machine in (store, place.machine("there")):
            assert (list(machine.digests()), machine.read(digest), machine.verify(digest)) == ([digest], stored, 8)
            path = machine.open(digest)
            assert (path, (path / "deep" / "b").read_text()) == (machine.path(digest), "weights")
            assert machine.leftovers() == []
        manifest = len((path / "artifact.json").read_bytes())
        assert store.holdings() == {digest: 8 + manifest}

    def test_equal_content_is_kept_once_and_nothing_of_an_error(self, place: Place, store: ArtifactStore) -> None:
        with pytest.raises(ValueError, match="stop"), store.stage() as staged:
            (staged / "a").write_text("x")
            raise ValueError("stop")
        assert (place.paths(), store.leftovers(), list(store.digests())) == ([], [], [])
        first = put(store)
        assert put(store) == put(place.machine("there")) == first
        assert (put(store, "y").digest != first.digest, len(place.paths())) == (True, 6)

    def test_only_plain_files_are_taken(self, store: ArtifactStore, tmp_path: Path) -> None:
        for add, said in (
            (lambda folder: None, "write at least one file"),
            (lambda folder: (folder / "link").symlink_to(tmp_path), "link is not a plain file"),
            (lambda folder: (folder / "artifact.json").write_text("{}"), "the store's own file"),
        ):
            with store.stage() as staged, pytest.raises(UsageError, match=said):
                add(staged)
                store.commit(staged, "model")

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            *(("a", "y"), ("a", "longer"), ("a", None)),
            ("artifact.json", '{"files": {}}'),
            ("artifact.json", '{"fi'),
            ("artifact.json", "[]"),
            ("artifact.json", '{"files": {"../a": {"sha256": "0", "bytes": 1}}, "bytes": 1, "kind": "x"}'),
        ],
    )
    def test_damage_is_found_named_and_mended_by_the_next_commit(self, place: Place, store, name, content) -> None:
        digest = put(store).digest
        if content is None:
            place.remove(digest, name)
        else:
            place.write(digest, name, content)
        place.forget_copies()
        for read in (store.open, store.verify):
            with pytest.raises(
                CorruptArtifactError,
                match=rf"^{name} of artifact .*--force where it has that option, or",
            ):
                read(digest)
        assert put(store).digest == digest
        place.forget_copies()
        assert (store.open(digest) / "a").read_text() == "x"
        assert store.verify(digest) == 8

    def test_what_is_missing_and_what_is_no_digest(self, store: ArtifactStore) -> None:
        for ask in (store.open, store.read, store.verify, store.touched):
            with pytest.raises(NotFoundError, match="--force where it has that option, or restore a backup"):
                ask("0" * 64)
        assert store.delete("0" * 64, FUTURE) is False
        for name in ("../../etc", "", "0" * 63, "A" * 64):
            for ask in (store.open, store.read, store.verify, store.path, store.touched):
                with pytest.raises(NotFoundError, match="is not the digest of an artifact"):
                    ask(name)

    def test_an_artifact_is_deleted_only_where_it_is_old(self, place: Place, store: ArtifactStore) -> None:
        one, two = put(store, "1"), put(store, "2")
        assert PAST < store.touched(one.digest) < FUTURE
        assert (store.delete(one.digest, PAST), store.verify(one.digest)) == (False, 8)
        assert store.delete(one.digest, FUTURE) is True
        assert list(store.digests()) == [two.digest]
        assert all(two.digest in path for path in place.paths())
        with pytest.raises(NotFoundError):
            store.open(one.digest)
        assert store.delete(one.digest, FUTURE) is False
        assert put(store, "1") == one
        assert store.leftovers() == []

    def test_deleting_may_be_repeated_after_a_kill_at_any_file(self, place: Place, store: ArtifactStore) -> None:
        digest = put(store).digest
        place.remove(digest, "artifact.json")
        assert store.delete(digest, FUTURE) is True
        assert (place.paths(), store.holdings()) == ([], {})

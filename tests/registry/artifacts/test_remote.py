"""The artifact store at a URL: kills, a collector and a writer at once, and a driver's faults in our words."""

import importlib
import importlib.util
import itertools
import socket
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from hubspoke.errors import CorruptArtifactError, HubspokeError, MissingExtraError, NotFoundError, UsageError
from hubspoke.registry.artifacts.manifests import StoredArtifact
from hubspoke.registry.artifacts.remote import RemoteArtifactStore, open_store
from hubspoke.registry.artifacts.remote_files import RemoteFiles, remote_fault

FUTURE = datetime.now(UTC) + timedelta(hours=1)


class Killed(BaseException):
    """What no handler of the package catches, like a kill."""


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4().hex}/store"


@pytest.fixture
def store(url: str, tmp_path: Path) -> RemoteArtifactStore:
    return RemoteArtifactStore(url, tmp_path / "copies")


def put(store: RemoteArtifactStore, **files: str) -> StoredArtifact:
    with store.stage() as staged:
        for name, text in files.items():
            (staged / name).write_text(text)
        return store.commit(staged, "model")


def kill_at(monkeypatch: pytest.MonkeyPatch, count: int, *names: str) -> None:
    """Kill at the next call but `count` of these methods of the remote files."""
    calls = itertools.count()

    def kill(*_: Any) -> bool:
        if next(calls) == count:
            raise Killed
        return False

    for name in names:
        once(monkeypatch, name, kill)


def at(stored: StoredArtifact, name: str) -> str:
    return f"{stored.digest[:2]}/{stored.digest}/{name}"


def once(monkeypatch: pytest.MonkeyPatch, name: str, before: Any) -> None:
    """Do something before the next call of one method of the remote files that this test asks for."""
    real = getattr(RemoteFiles, name)

    def call(self: RemoteFiles, *arguments: Any) -> Any:
        if before(*arguments):
            monkeypatch.setattr(RemoteFiles, name, real)
        return real(self, *arguments)

    monkeypatch.setattr(RemoteFiles, name, call)


def test_a_damaged_copy_is_fetched_anew_and_a_sound_one_not(url: str, store, tmp_path: Path, monkeypatch) -> None:
    stored = put(store, a="x", b="y")
    (store.path(stored.digest) / "a").write_text("z")
    (store.path(stored.digest) / "b").unlink()
    assert [(store.open(stored.digest) / name).read_text() for name in "ab"] == ["x", "y"]
    # Damaged remote bytes never become a copy.
    RemoteFiles(url).write(at(stored, "a"), b"y")
    other = RemoteArtifactStore(url, tmp_path / "other")
    with pytest.raises(CorruptArtifactError, match=rf"^a of artifact {stored.digest[:12]} \({url}\)"):
        other.open(stored.digest)
    assert (other.path(stored.digest).exists(), other.leftovers()) == (False, [])

    def offline(*_: Any) -> None:
        raise AssertionError("a sound copy needs no network")

    monkeypatch.setattr(RemoteFiles, "read", offline)
    assert store.open(stored.digest) == store.path(stored.digest)
    assert ((store.open(stored.digest) / "a").read_text(), store.leftovers()) == ("x", [])


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_killed_upload_is_never_visible_and_is_repeated(url: str, store, monkeypatch, after: int) -> None:
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill_at(patched, after, "upload", "write")  # the manifest is written, after both files
        put(store, a="x", b="y")
    assert (list(store.digests()), len(RemoteFiles(url).list())) == ([], after)
    assert store.verify(put(store, a="x", b="y").digest) == 2


def test_an_unfinished_upload_is_held_dated_and_deleted(url: str, store: RemoteArtifactStore) -> None:
    digest = "ab" + "0" * 62
    RemoteFiles(url).write(f"ab/{digest}/deep/a", b"half")
    RemoteFiles(url).write("notes.txt", b"not ours")
    assert (list(store.digests()), store.holdings()) == ([], {digest: 4})
    assert FUTURE - store.touched(digest) < timedelta(hours=2)
    with pytest.raises(NotFoundError):
        store.read(digest)
    assert [store.delete(digest, cutoff) for cutoff in (FUTURE - timedelta(hours=2), FUTURE)] == [False, True]
    assert list(RemoteFiles(url).list()) == ["notes.txt"]


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_killed_deletion_leaves_no_artifact_that_is_not_whole(url, store, monkeypatch, after) -> None:
    stored = put(store, a="x", b="y")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill_at(patched, after, "remove")
        store.delete(stored.digest, FUTURE)
    assert list(store.digests()) == ([] if after else [stored.digest])
    assert store.delete(stored.digest, FUTURE) is True
    assert RemoteFiles(url).list() == {}


def test_a_commit_before_the_collector_looks_saves_the_artifact(store: RemoteArtifactStore, monkeypatch) -> None:
    # The collector has condemned the artifact; the writer sees that and waits, the collector sees the young manifest.
    stored = put(store, a="x")
    cutoff = datetime.now(UTC)
    pauses: list[float] = []

    def collector_ends(seconds: float) -> None:
        pauses.append(seconds)
        assert store.delete(stored.digest, cutoff) is False  # its own end takes the flag down

    monkeypatch.setattr("hubspoke.registry.artifacts.remote.time.sleep", collector_ends)
    store._files.write(f"condemned/{stored.digest}", b"")
    assert (put(store, a="x"), len(pauses)) == (stored, 1)
    assert store.verify(stored.digest) == 1


@pytest.mark.parametrize("moment", ["before the manifest goes", "before a file goes"])
def test_a_commit_while_the_collector_removes_is_whole_in_the_end(url, store, monkeypatch, tmp_path, moment) -> None:
    """The collector found the artifact old; the writer then finds it whole, and writes its manifest anew."""
    stored = put(store, a="x", b="y")
    writer = RemoteArtifactStore(url, tmp_path / "writer")
    collector = RemoteArtifactStore(url, tmp_path / "collector")
    steps = iter(["artifact.json", "a", "b"] if moment == "before the manifest goes" else ["a", "b"])

    def collector_goes_on(_seconds: float) -> None:
        name = next(steps, None)
        collector._files.remove(at(stored, name) if name else f"condemned/{stored.digest}")

    monkeypatch.setattr("hubspoke.registry.artifacts.remote.time.sleep", collector_goes_on)
    collector._files.write(f"condemned/{stored.digest}", b"")
    if moment == "before a file goes":
        collector._files.remove(at(stored, "artifact.json"))
    assert put(writer, a="x", b="y") == stored
    assert store.verify(stored.digest) == 2
    assert len(RemoteFiles(url).list()) == 3


def test_a_whole_collection_between_two_steps_of_a_commit(store: RemoteArtifactStore, monkeypatch) -> None:
    stored = put(store, a="x")

    def collect(path: str, _content: bytes) -> bool:
        if not path.endswith("artifact.json"):
            return False
        monkeypatch.undo()
        return store.delete(stored.digest, FUTURE)

    once(monkeypatch, "write", collect)  # the writer has found everything there and is about to touch it
    assert put(store, a="x") == stored
    assert store.verify(stored.digest) == 1


def test_a_dead_collectors_flag_is_taken_down(store: RemoteArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("hubspoke.registry.artifacts.remote.time.sleep", pauses.append)
    stored = put(store, a="x")
    store._files.write(f"condemned/{stored.digest}", b"")
    assert put(store, a="x") == stored
    assert sum(pauses) == pytest.approx(60)
    assert not store._files.exists(f"condemned/{stored.digest}")


def test_a_store_that_loses_files_and_a_kind_of_url_that_nobody_knows_are_told(
    store, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(RemoteArtifactStore, "_is_complete", lambda *_: False)
    with pytest.raises(HubspokeError, match="does not stay in memory://"):
        put(store, a="x")
    with pytest.raises(UsageError, match="kind 'floppy' is unknown; set a folder, s3://bucket/prefix"):
        open_store("floppy://a/b", tmp_path)


@pytest.mark.parametrize(("url", "driver", "extra"), [("s3://b/x", "s3fs", "s3"), ("gs://b/x", "gcsfs", "gcs")])
def test_a_missing_driver_names_its_extra(tmp_path: Path, monkeypatch, url: str, driver: str, extra: str) -> None:
    known = vars(importlib.import_module("fsspec.registry"))["_registry"]  # of drivers loaded before
    monkeypatch.delitem(known, url.split("://")[0], raising=False)
    monkeypatch.setitem(sys.modules, driver, None)  # which makes its import fail
    with pytest.raises(MissingExtraError, match=rf"pip install 'hubspoke\[{extra}\]'") as caught:
        open_store(url, tmp_path)
    assert caught.value.exit_code == 7


def test_a_bucket_that_does_not_exist_and_no_credentials(s3_url: str, tmp_path: Path, monkeypatch) -> None:
    gone, store = (RemoteArtifactStore(f"{s3_url}{rest}", tmp_path) for rest in ("-gone/x", "/x"))
    message = rf"^The bucket or folder of {s3_url}-gone/x does not exist; create it, or set HUBSPOKE_ARTIFACTS"
    for ask in (lambda: put(gone, a="x"), lambda: gone.open("0" * 64), lambda: list(gone.digests())):
        with pytest.raises(HubspokeError, match=message) as caught:
            ask()
        assert not isinstance(caught.value, NotFoundError)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for ask in (lambda: put(store, a="x"), lambda: list(store.digests())):
        with pytest.raises(HubspokeError, match=r"There are no valid credentials for s3:.*AWS_ACCESS_KEY_ID"):
            ask()


def test_a_server_that_is_not_there(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs = pytest.importorskip("s3fs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    store = RemoteArtifactStore(f"{s3_url}/x", tmp_path)
    with pytest.raises(HubspokeError, match=r"cannot be reached \(Could not connect.*AWS_ENDPOINT_URL\.$"):
        list(store.digests())
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(HubspokeError, match=r"cannot be reached .*nonsense"):
        list(RemoteArtifactStore(f"{s3_url}/x", tmp_path).digests())


NO_KEYS = OSError("refused")
NO_KEYS.__cause__ = NoCredentialsError()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError("Access Denied"), "Access to s3://b is denied .*give these credentials the right"),
        (PermissionError("The provided token has expired."), r"denied \(The provided token has expired\)"),
        (FileNotFoundError("nothing"), "The bucket or folder of s3://b does not exist"),
        (NO_KEYS, r"no valid credentials for s3://b \(refused\)"),
        (EndpointConnectionError(endpoint_url="http://x"), r"s3://b cannot be reached \(Could not connect"),
        (TimeoutError(), r"cannot be reached \(TimeoutError\)"),
        (OSError(5, "disk of the server"), r"s3://b refused \(.*disk of the server\); check that it can be listed"),
        (NotImplementedError("read only"), r"refused \(read only\)"),
    ],
)
def test_what_a_driver_may_raise_and_what_is_left_as_it_is(error: Exception, said: str) -> None:
    fault = remote_fault(error, "s3://b")
    with pytest.raises(HubspokeError, match=said):
        raise fault or error
    for ours in (OSError(28, "No space left on device", "/copies/a"), TypeError("seven")):
        assert remote_fault(ours, "s3://b") is None


def test_a_local_store_loads_no_driver(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from hubspoke.registry.artifacts.remote import open_store; "
    code += "open_store(Path(sys.argv[1]), Path(sys.argv[1])); "
    code += "print([n for n in ('fsspec', 's3fs', 'botocore') if n in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
    assert importlib.util.find_spec("fsspec") is not None

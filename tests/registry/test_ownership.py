"""Whose an artifact store is: to its registry, to others, and to copies that were made before."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hubspoke.errors import IncompatibleError, InvalidDataError
from hubspoke.registry.artifacts.local import ArtifactStore
from hubspoke.registry.artifacts.marks import MARK, Mark, parse_mark
from hubspoke.registry.artifacts.remote import open_store
from hubspoke.registry.ownership import Belonging, Ownership, holdings
from hubspoke.registry.store import Registry
from hubspoke.registry.transfer.backup import back_up, restore

Opened = Callable[[str], Registry]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens registries, which are closed at the end."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(Registry(url))


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    if request.param == "folder":
        return ArtifactStore(tmp_path / "store")
    url = request.getfixturevalue("s3_url") if request.param == "s3" else f"memory://{tmp_path.name}"
    return open_store(f"{url}/artifacts", tmp_path / "copies")


@pytest.fixture
def other(opened: Opened, tmp_path: Path, sqlite_template: Path) -> Registry:
    shutil.copy(sqlite_template, tmp_path / "other.db")
    return opened(f"sqlite:///{tmp_path / 'other.db'}")


def put(registry: Registry, store: ArtifactStore, text: str, record: bool = True) -> str:
    """An artifact in a store, written as version 0.1.0 did; its digest."""
    with store.stage() as staged:
        (staged / "data").write_text(text)
        stored = store.commit(staged, "test")
    if record:
        if not registry.domains.list():
            registry.domains.add("garden")
        registry.snapshots.add("garden", "items", hashlib.sha256(text.encode()).hexdigest(), 1, stored)
    return stored.digest


def test_a_registry_owns_what_it_marks_and_another_does_not(registry, other, store) -> None:
    mine, theirs = Ownership(registry, store), Ownership(other, store)
    assert (mine.look(), theirs.look(), store.mark()) == (Belonging.FREE, Belonging.FREE, None)
    mine.require()
    assert store.mark() is None
    mine.claim()
    assert (mine.look(), theirs.look()) == (Belonging.OWN, Belonging.FOREIGN)
    identity = registry.stamps.identity()
    first = store.mark()
    assert first == Mark(identity, identity)
    mine.claim()
    assert store.mark() == first
    mine.stored()
    assert store.mark().registry == identity != store.mark().stamp
    for act in (theirs.require, theirs.claim, theirs.stored):
        with pytest.raises(
            IncompatibleError, match=r"belong to another registry than .*hubspoke registry adopt"
        ) as told:
            act()
        assert store.where in str(told.value)
    assert mine.look() is Belonging.OWN


@pytest.mark.slow
def test_of_two_copies_the_one_that_goes_on_owns_the_store(registry, blank_url, store, opened, tmp_path) -> None:
    mine = Ownership(registry, store)
    mine.stored()
    back_up(registry.database.url.render_as_string(hide_password=False), tmp_path / "copy.db")
    restore(blank_url, tmp_path / "copy.db")
    moved, left = Ownership(opened(blank_url), store), Ownership(opened(f"sqlite:///{tmp_path / 'copy.db'}"), store)
    assert [own.look() for own in (mine, moved, left)] == [Belonging.OWN] * 3
    moved.stored()
    assert [own.look() for own in (mine, moved, left)] == [Belonging.AHEAD, Belonging.OWN, Belonging.AHEAD]
    with pytest.raises(IncompatibleError, match="an older copy of the registry"):
        mine.stored()
    mine.adopt()
    assert [own.look() for own in (mine, moved, left)] == [Belonging.OWN, Belonging.AHEAD, Belonging.AHEAD]


def test_a_store_that_was_left_alone_for_a_while_is_still_its_registrys(registry, store, tmp_path) -> None:
    mine, elsewhere = Ownership(registry, store), Ownership(registry, ArtifactStore(tmp_path / "elsewhere"))
    mine.stored()
    elsewhere.claim()
    elsewhere.stored()
    assert mine.look() is elsewhere.look() is Belonging.OWN


def test_a_kill_between_the_stamp_and_the_mark_shuts_nobody_out(registry, store) -> None:
    mine = Ownership(registry, store)
    mine.stored()
    before = store.mark()
    registry.stamps.add()
    assert (mine.look(), store.mark()) == (Belonging.OWN, before)
    mine.stored()
    assert mine.look() is Belonging.OWN


def test_without_a_mark_it_is_whose_newest_artifact_it_holds(registry, other, tmp_path) -> None:
    store = ArtifactStore(tmp_path / "store")
    old, new = put(registry, store, "old"), put(registry, store, "new")
    other.domains.add("garden")
    other.snapshots.add("garden", "items", "o" * 64, 1, store.read(old))
    mine, theirs = Ownership(registry, store), Ownership(other, store)
    for artifact in (old, new):  # as in a copy of the folder
        os.utime(store.path(artifact), (2_000_000_000, 2_000_000_000))
    assert (mine.look(), theirs.look()) == (Belonging.FREE, Belonging.UNKNOWN)
    os.utime(store.path(old), (1_000_000_000, 1_000_000_000))
    assert (mine.look(), theirs.look()) == (Belonging.FREE, Belonging.UNKNOWN)
    with pytest.raises(IncompatibleError, match=r"of no known owner, and .* knows nothing of the newest"):
        theirs.claim()
    assert (holdings(mine).known, holdings(theirs).known, holdings(theirs).unknown) == (2, 1, 1)
    assert holdings(theirs).unknown_bytes == store.holdings()[new]
    mine.claim()
    assert (mine.look(), theirs.look()) == (Belonging.OWN, Belonging.FOREIGN)


@pytest.mark.parametrize("content", [b"", b"garbage", b"[1]", b'{"registry": 1, "stamp": "x"}', b'{"registry": "x"}'])
def test_an_unreadable_mark_is_told_and_adopting_mends_it(registry, store, content: bytes) -> None:
    mine = Ownership(registry, store)
    mine.claim()
    if isinstance(store, ArtifactStore) and store.where == str(store.root):
        (store.root / MARK).write_bytes(content)
    else:
        store._files.write(MARK, content)  # type: ignore[attr-defined]  # the way in that a bucket's other writers have
    with pytest.raises(
        InvalidDataError, match=r"owner\.json in .* take them over with `hubspoke registry adopt --yes`"
    ):
        mine.require()
    mine.adopt()
    assert mine.look() is Belonging.OWN


def test_a_mark_with_more_in_it_is_read() -> None:
    assert parse_mark(b'{"registry": "a", "stamp": "b", "since": 1}', "here") == Mark("a", "b")
    assert parse_mark(Mark("a", "b").to_bytes(), "here") == Mark("a", "b")


def test_a_mark_is_no_artifact(registry, store) -> None:
    Ownership(registry, store).claim()
    digest = put(registry, store, "x")
    assert (list(store.digests()), set(store.holdings()), store.leftovers()) == ([digest], {digest}, [])

"""Bundles: the same recommendations elsewhere to the last bit, on either database, and no file that was touched."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hubspoke.errors import (
    CorruptArtifactError,
    HubspokeError,
    InvalidDataError,
    LockedError,
    NotFoundError,
    SchemaVersionError,
    UsageError,
)
from hubspoke.registry.database import REVISIONS
from hubspoke.registry.migrate import upgrade
from hubspoke.workflows import bundle_files
from hubspoke.workflows.bundle_files import Member, encode, member_name, write_bundle
from hubspoke.workflows.bundles import file_name
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.indexes import index_of, load_index
from hubspoke.workflows.workspace import Workspace, open_workspace
from hypothesis import given
from hypothesis import strategies as st

SESSION = ["lamps-0003", "lamps-0011", "lamps-0003", "lamps-0020"]
Opener = Callable[..., Workspace]


@pytest.fixture
def opened(tmp_path: Path, sqlite_template: Path) -> Iterator[Opener]:
    """Opens an empty workspace: on SQLite, or on the database of a URL."""
    workspaces: list[Workspace] = []

    def begin(name: str, url: str | None = None, **settings: Any) -> Workspace:
        folder = tmp_path / name
        folder.mkdir()
        if url is None:
            shutil.copy(sqlite_template, folder / "registry.db")
        else:
            upgrade(url)
        workspaces.append(open_workspace(url, environ={}, cwd=tmp_path, workspace=folder, actor="tester", **settings))
        return workspaces[-1]

    yield begin
    for workspace in workspaces:
        workspace.close()


@pytest.fixture
def postgres_url(postgres: Any) -> Iterator[str]:
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, shop_template: Path) -> Iterator[Workspace]:
    """A shop whose live release has been measured; it is only read."""
    folder = tmp_path_factory.mktemp("released")
    shutil.copytree(shop_template, folder / "shop")
    with open_workspace(environ={}, cwd=folder, workspace=folder / "shop", actor="tester") as ws:
        ws.evaluate.run("lamps", "lamps:1")
        yield ws


@pytest.fixture(scope="module")
def bundle(released: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That release in a file."""
    return released.bundle.export("lamps", tmp_path_factory.mktemp("bundle")).file


def served(ws: Workspace, ref: str) -> tuple[Any, ...]:
    """What a release answers, and the bits of every vector behind it."""
    answer = ws.recommend(ref, SESSION, k=20)
    loaded = load_index(ws, index_of(ws, ref))
    vectors = loaded.index.vectors()
    rows = np.array([loaded.index.item_ids.index(item) for item in SESSION])
    queries = loaded.spoke.embed_sessions(vectors, [rows], exclude_seen=True)
    similar = ws.similar(ref, SESSION[0], k=5)
    return answer.items, similar.items, loaded.index.item_ids, vectors.tobytes(), queries.tobytes()


def edges(ws: Workspace, ref: str, refs: dict[str, str]) -> set[tuple[Any, ...]]:
    lineage = ws.registry.upstream(ref)
    return {(refs[e.parent], refs[e.child], e.relation, e.part, e.reason) for e in lineage.edges}


def check_moved(source: Workspace, target: Workspace, loaded: Any, ref: str = "release:lamps/1") -> None:
    """The target serves, knows and has measured what the source does."""
    refs = dict(loaded.refs)
    assert served(target, loaded.ref) == served(source, ref)
    assert edges(source, ref, refs) == edges(target, loaded.ref, {new: new for new in refs.values()})
    for old, new in refs.items():
        if old.startswith("evaluation:"):
            ours, theirs = source.registry.get_evaluation(old), target.registry.get_evaluation(new)
            assert (theirs.metrics, theirs.details, theirs.created_at) == (ours.metrics, ours.details, ours.created_at)
    diagnosis = target.doctor(verify=True)
    assert [
        check for check in diagnosis.checks if check.name in ("artifacts", "leftovers") and check.status != "ok"
    ] == []
    assert diagnosis.exit_code == 0


# ---- there and back ----


def test_a_release_travels_to_postgresql_and_back_to_the_same_bytes(
    released: Workspace, bundle: Path, opened: Opener, postgres_url: str
) -> None:
    production = opened("production", postgres_url)
    there = production.bundle.load(bundle)
    assert (there.ref, there.cached, set(there.created)) == ("release:lamps/1", False, set(there.refs))
    check_moved(released, production, there)
    back = production.bundle.export(there.ref, production.settings.workspace)
    assert back.file.read_bytes() == bundle.read_bytes()
    third = opened("third")
    check_moved(released, third, third.bundle.load(back.file))
    home = released.bundle.load(back.file)
    assert (home.cached, home.created, home.artifacts, home.ref) == (True, (), 0, "release:lamps/1")


def test_numbers_that_are_taken_go_on(
    released: Workspace, bundle: Path, opened: Opener, market: Any, tiny_hub: Any, tiny_spoke: Any
) -> None:
    other = opened("other")
    other.domain.add("lamps", market["mugs"].items, market["mugs"].events)
    other.hub.train(domains=[], config={**tiny_hub, "recent_events": 3})
    other.spoke.train("lamps", config=tiny_spoke)
    before = other.recommend("lamps", ["mugs-0001"])
    loaded = other.bundle.load(bundle)
    assert loaded.refs == {
        "domain:lamps": "domain:lamps",
        "snapshot:lamps/items/1": "snapshot:lamps/items/2",
        "snapshot:lamps/events/1": "snapshot:lamps/events/2",
        "hub:1": "hub:2",
        "lamps:1": "lamps:2",
        "index:lamps/1": "index:lamps/2",
        "evaluation:lamps/1": "evaluation:lamps/1",
        "release:lamps/1": "release:lamps/2",
    }
    check_moved(released, other, loaded)
    assert loaded.promotion is None
    assert other.recommend("lamps", ["mugs-0001"]) == before
    assert other.index.check("index:lamps/2").ok
    again = other.bundle.load(bundle)
    assert (again.cached, again.refs, again.created) == (True, loaded.refs, ())
    moved = other.bundle.load(bundle, alias="live", reason="from staging").promotion
    assert moved is not None
    assert (moved.before, moved.after, moved.hub) == ("release:lamps/1", "release:lamps/2", "hub:2")
    assert other.history("lamps")[-1].reason == "from staging"
    assert served(other, "lamps") == served(released, "lamps")


def test_the_same_catalog_is_one_snapshot(released: Workspace, bundle: Path, opened: Opener, market: Any) -> None:
    other = opened("other")
    other.domain.add("lamps", market["lamps"].items, market["lamps"].events)
    loaded = other.bundle.load(bundle)
    assert not [ref for ref in loaded.created if ref.startswith(("snapshot", "domain"))]
    check_moved(released, other, loaded)
    user = str(load_dataset(released, "lamps").sequences.user_ids[0])
    ours, theirs = (ws.recommend("release:lamps/1", user=user) for ws in (released, other))
    assert ours.items == theirs.items


def test_a_store_on_s3_is_filled_and_emptied_alike(
    released: Workspace, bundle: Path, opened: Opener, s3_url: str
) -> None:
    cloud = opened("cloud", artifacts=f"{s3_url}/shop")
    loaded = cloud.bundle.load(bundle)
    shutil.rmtree(cloud.settings.artifacts_dir)  # the read copies
    check_moved(released, cloud, loaded)
    again = cloud.bundle.export("release:lamps/1", cloud.settings.workspace)
    assert again.file.read_bytes() == bundle.read_bytes()
    assert cloud.bundle.load(bundle).cached


def test_a_damaged_artifact_is_mended(released: Workspace, bundle: Path, opened: Opener) -> None:
    other = opened("other")
    other.bundle.load(bundle)
    hub = other.registry.get_model("hub:1")
    damaged = next(path for path in other.artifacts.path(str(hub.artifact)).iterdir() if path.name != "artifact.json")
    damaged.write_bytes(b"\0")
    lost = other.artifacts.path(other.registry.get_index("index:lamps/1").artifact)
    shutil.rmtree(lost)
    mended = other.bundle.load(bundle)
    assert (mended.cached, mended.created, mended.artifacts) == (False, (), 2)
    check_moved(released, other, mended)


# ---- the file ----


def test_a_release_gives_the_same_bytes_and_says_what_they_are(
    released: Workspace, bundle: Path, tmp_path: Path
) -> None:
    made = released.bundle.export("release:lamps/1", tmp_path / "again")
    content = (tmp_path / "again").read_bytes()
    assert content == bundle.read_bytes()
    assert made.sha256 == hashlib.sha256(content).hexdigest()
    assert (made.bytes, made.ref, made.dry_run) == (len(content), "release:lamps/1", False)
    assert made.nodes == {
        "domain": 1,
        "evaluation": 1,
        "event_snapshot": 1,
        "hub": 1,
        "index": 1,
        "item_snapshot": 1,
        "release": 1,
        "spoke": 1,
    }
    assert made.artifacts == 5 + bool(released.registry.get_evaluation("evaluation:lamps/1").artifact)
    assert any("data of shoppers" in note for note in made.notes)
    assert (tmp_path / "again").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_any_tar_reads_a_bundle(bundle: Path) -> None:
    with tarfile.open(bundle, "r:") as archive:
        members = archive.getmembers()
        names = [member.name for member in members]
        assert names[0] == "bundle.json"
        assert names[-1] == "bundle.sha256"
        assert names[1:-1] == sorted(names[1:-1])
        assert all(m.isreg() and (m.mtime, m.uid, m.gid, m.mode) == (0, 0, 0, 0o644) for m in members)
        document, seal = (archive.extractfile(name).read() for name in ("bundle.json", "bundle.sha256"))  # type: ignore[union-attr]
        assert seal.decode() == f"{hashlib.sha256(document).hexdigest()}  bundle.json\n"
        said = json.loads(document)
        release = next(node for node in said["tables"]["nodes"] if node["ref"] == "release:lamps/1")
        assert (said["format"], said["root"], said["created_at"]) == (1, "release:lamps/1", release["created_at"])


def test_the_form_of_the_file_is_the_same_with_every_python(tmp_path: Path) -> None:
    # Long and foreign names take the most room for change; the sum was computed with Python 3.11.
    names = ["a", "folder/" + "x" * 120, "é" * 40, "b c/d"]
    members, places = [], {}
    for name in names:
        (tmp_path / str(len(name))).write_text(name)
        content = name.encode()
        members.append(Member(member_name("0" * 64, name), len(content), hashlib.sha256(content).hexdigest()))
        places[members[-1].name] = tmp_path / str(len(name))
    digest = write_bundle(tmp_path / "out", b"{}", members, lambda member: places[member.name])
    assert digest == "836f72c0c5c04bbabb77ebe0f678f0f0a81f32e45915dc5e9e4cb0e88c9e92c1"
    with tarfile.open(tmp_path / "out", "r:") as archive:
        assert [m.name.partition(f"{'0' * 64}/")[2] for m in archive.getmembers()[1:-1]] == names


def test_a_dry_run_writes_nothing(released: Workspace, bundle: Path, opened: Opener, tmp_path: Path, tree: Any) -> None:
    planned = released.bundle.export("lamps", tmp_path / "out", dry_run=True)
    assert (planned.bytes, planned.sha256) == (bundle.stat().st_size, None)
    assert not (tmp_path / "out").exists()
    other = opened("other")
    before = tree(tmp_path)
    said = other.bundle.load(bundle, alias="live", dry_run=True)
    assert (said.ref, said.artifacts > 0, said.promotion, said.cached) == ("release:lamps/1", True, None, False)
    assert tree(tmp_path) == before
    done = other.bundle.load(bundle)
    assert (done.refs, done.created, done.artifacts) == (said.refs, said.created, said.artifacts)
    would = other.bundle.load(bundle, alias="live", dry_run=True).promotion
    assert would is not None
    assert (would.after, would.dry_run) == ("release:lamps/1", True)
    assert other.registry.list_aliases() == []


def test_a_file_that_is_there_is_not_replaced_unasked(released: Workspace, tmp_path: Path) -> None:
    first = released.bundle.export("snapshot:lamps/items/1", tmp_path)
    assert first.file.name == "lamps-items-1.hubspoke"
    with pytest.raises(UsageError, match=r"lamps-items-1.hubspoke is there already; .* --force"):
        released.bundle.export("snapshot:lamps/items/1", tmp_path)
    assert released.bundle.export("snapshot:lamps/items/1", tmp_path, force=True).sha256 == first.sha256
    with pytest.raises(NotFoundError, match="There is no folder"):
        released.bundle.export("lamps", tmp_path / "no" / "where")


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("release:garden/2", "garden-release-2"),
        ("snapshot:garden/items/3", "garden-items-3"),
        ("index:garden/12", "garden-index-12"),
        ("hub:4", "hub-4"),
        ("garden:7", "garden-7"),
        ("domain:garden", "domain-garden"),
    ],
)
def test_a_file_is_named_after_its_node(ref: str, name: str) -> None:
    assert file_name(ref) == f"{name}.hubspoke"


def test_damage_in_the_store_is_not_bundled(shop: Workspace, tmp_path: Path) -> None:
    folder = shop.artifacts.path(shop.registry.get_index("index:lamps/1").artifact)
    next(path for path in folder.iterdir() if path.name != "artifact.json").write_bytes(b"\0")
    with pytest.raises(CorruptArtifactError, match="no longer matches its checksum"):
        shop.bundle.export("lamps", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_row_that_is_no_json_is_told(shop: Workspace, tmp_path: Path) -> None:
    shop.registry.set_domain_settings("lamps", {"share": float("nan")})
    with pytest.raises(InvalidDataError, match="cannot be written as JSON"):
        shop.bundle.export("lamps", tmp_path / "out")


def test_folders_of_pictures_go_with_the_snapshots_that_travel(shop: Workspace, opened: Opener, tmp_path: Path) -> None:
    roots = {"snapshot:lamps/items/1": "/here", "snapshot:lamps/items/9": "/there"}
    shop.registry.set_domain_settings("lamps", {"sessions": {"mode": "gap"}, "image_roots": roots})
    file = shop.bundle.export("lamps", tmp_path / "out").file
    other = opened("other")
    assert [note for note in other.bundle.load(file).notes if "settings" in note] == []
    settings = other.registry.get_domain("lamps").settings
    assert settings == {"sessions": {"mode": "gap"}, "image_roots": {"snapshot:lamps/items/1": "/here"}}
    other.registry.set_domain_settings("lamps", {"sessions": {"mode": "per_user"}})
    assert [note for note in other.bundle.load(file).notes if "settings" in note] == [
        "The settings of lamps here differ from those in the bundle, and are kept."
    ]
    assert other.registry.get_domain("lamps").settings == {"sessions": {"mode": "per_user"}}


# ---- aliases ----


def test_an_alias_that_cannot_point_at_it_is_told_first(
    released: Workspace, opened: Opener, tmp_path: Path, tree: Any
) -> None:
    file = released.bundle.export("snapshot:lamps/items/1", tmp_path).file
    other = opened("other")
    before = tree(other.settings.workspace)
    with pytest.raises(UsageError, match=r"snapshot:lamps/items/1 of the bundle cannot serve, .* leave out --alias"):
        other.bundle.load(file, alias="live")
    with pytest.raises(UsageError, match="cannot be an alias"):
        other.bundle.load(file, alias="LIVE")
    assert tree(other.settings.workspace) == before


def test_a_move_that_is_refused_leaves_the_content(
    bundle: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = opened("other")

    def refuse(*_: Any, **__: Any) -> Any:
        raise LockedError("lamps@live has moved; repeat the command.")

    monkeypatch.setattr(type(other.registry), "promote", refuse)
    with pytest.raises(LockedError):
        other.bundle.load(bundle, alias="live")
    assert other.registry.list_aliases() == []
    assert other.bundle.load(bundle).cached


# ---- files that were touched ----


@pytest.fixture(scope="module")
def small(released: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of one catalog: a few kilobytes."""
    return released.bundle.export("snapshot:lamps/items/1", tmp_path_factory.mktemp("small")).file


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Workspace]:
    """A workspace that nothing may come into."""
    folder = tmp_path_factory.mktemp("empty")
    shutil.copy(sqlite_template, folder / "registry.db")
    with open_workspace(environ={}, cwd=folder, workspace=folder, actor="tester") as ws:
        yield ws


def refused(ws: Workspace, file: Path) -> str:
    """Why a file is refused; nothing may have come of it, in the store or beside the workspace."""
    with pytest.raises(InvalidDataError) as caught:
        ws.bundle.load(file)
    assert caught.value.exit_code == 4
    assert ws.registry.list_domains() == []
    assert ws.registry.list_artifacts() == []
    assert not ws.settings.artifacts_dir.exists()
    return str(caught.value)


def flipped(small: Path, place: int, bit: int, target: Path) -> Path:
    content = bytearray(small.read_bytes())
    content[place] ^= 1 << bit
    target.write_bytes(content)
    return target


def test_no_byte_of_the_file_can_change(small: Path, empty: Workspace, tmp_path: Path) -> None:
    """Contents, headers, padding and end: there is no byte that an archive may differ in."""
    size = small.stat().st_size
    for place in {*range(0, size, 61), *range(0, 512, 3), *range(size - 2560, size, 7)}:
        assert (
            "damaged" in (told := refused(empty, flipped(small, place, place % 8, tmp_path / "x")))
            or "no bundle" in told
        )


@given(data=st.data())
def test_no_bit_of_the_file_can_change(data: Any, small: Path, empty: Workspace) -> None:
    place = data.draw(st.integers(0, small.stat().st_size - 1))
    refused(empty, flipped(small, place, data.draw(st.integers(0, 7)), small.parent / "x"))


@given(data=st.data())
def test_a_file_cut_short_or_lengthened_is_refused(data: Any, small: Path, empty: Workspace) -> None:
    content, target = small.read_bytes(), small.parent / "y"
    cut = data.draw(st.integers(0, len(content) - 1))
    target.write_bytes(content[:cut])
    refused(empty, target)
    target.write_bytes(content + bytes(data.draw(st.sampled_from([1, 512, 1024, 10240]))))
    refused(empty, target)


Entry = tuple[tarfile.TarInfo, bytes]


def entries(file: Path) -> list[Entry]:
    with tarfile.open(file, "r:") as archive:
        return [(m, archive.extractfile(m).read()) for m in archive.getmembers()]  # type: ignore[union-attr]


def archive(target: Path, members: list[Entry], mode: str = "w") -> Path:
    """An archive that ends as a bundle does, without the filling that Python's own adds."""
    with tarfile.open(target, mode, format=tarfile.PAX_FORMAT) as made:  # type: ignore[call-overload]
        for info, content in members:
            made.addfile(info, io.BytesIO(content) if info.isreg() else None)
        end = made.offset + 1024
    if mode == "w":
        os.truncate(target, end)
    return target


def extra(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b"evil") -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o644
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    return info, content


HOSTILE: dict[str, Callable[[list[Entry]], list[Entry]]] = {
    "a name that climbs out": lambda m: [*m[:-1], extra("../../evil"), m[-1]],
    "an absolute name": lambda m: [*m[:-1], extra("/tmp/evil"), m[-1]],
    "a symbolic link": lambda m: [*m[:-1], extra("link", tarfile.SYMTYPE, "/etc/passwd"), m[-1]],
    "a hard link": lambda m: [*m[:-1], extra("link", tarfile.LNKTYPE, "bundle.json"), m[-1]],
    "a device": lambda m: [*m[:-1], extra("null", tarfile.CHRTYPE), m[-1]],
    "a folder": lambda m: [m[0], extra("artifacts", tarfile.DIRTYPE), *m[1:]],
    "a member twice": lambda m: [m[0], m[1], *m[1:]],
    "another bundle.json behind": lambda m: [*m, m[0]],
    "a member too many": lambda m: [*m, extra("README")],
    "a member too few": lambda m: [m[0], *m[2:]],
    "members in another order": lambda m: [m[0], *reversed(m[1:-1]), m[-1]],
    "a member that is a link": lambda m: [m[0], extra(m[1][0].name, tarfile.SYMTYPE, "/etc/passwd"), *m[2:]],
    "a member that is larger": lambda m: [m[0], extra(m[1][0].name, content=m[1][1] + b"x"), *m[2:]],
    "a member of other bytes": lambda m: [m[0], extra(m[1][0].name, content=bytes(len(m[1][1]))), *m[2:]],
    "no bundle.json": lambda m: m[1:],
    "a bundle.json that is a link": lambda m: [extra("bundle.json", tarfile.SYMTYPE, "/etc/passwd"), *m[1:]],
    "no seal": lambda m: m[:-1],
    "another seal": lambda m: [*m[:-1], extra("bundle.sha256", content=b"0" * 64 + b"  bundle.json\n")],
    "nothing": lambda m: [],
}


def test_hostile_archives_differ_from_a_bundle_in_nothing_else(small: Path, tmp_path: Path) -> None:
    assert archive(tmp_path / "x", entries(small)).read_bytes() == small.read_bytes()
    document = encode(document_of(small))
    assert seal(tmp_path / "x", document, entries(small)[1:-1]).read_bytes() == small.read_bytes()


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused(small: Path, empty: Workspace, tmp_path: Path, tree: Any, what: str) -> None:
    file = archive(tmp_path / "x", HOSTILE[what](entries(small)))
    before = tree(tmp_path)
    told = refused(empty, file)
    assert told.endswith(("copy or export it again.", "make one with `hubspoke bundle export`."))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_compressed_archive_is_never_unpacked(small: Path, empty: Workspace, tmp_path: Path, mode: str) -> None:
    assert "no tar archive" in refused(empty, archive(tmp_path / "x", entries(small), mode))


@pytest.mark.parametrize("size", [1 << 20, 1 << 33, 1 << 60])
def test_a_size_is_not_believed(small: Path, empty: Workspace, tmp_path: Path, size: int) -> None:
    info = tarfile.TarInfo("bundle.json")
    info.size, info.mode = size, 0o644
    head = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")
    (tmp_path / "x").write_bytes(head + small.read_bytes()[512:])
    assert "damaged" in refused(empty, tmp_path / "x")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"{}", b"\0" * 4096, b"x" * 4096])
def test_what_is_no_tar_is_no_bundle(empty: Workspace, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert "is no bundle" in refused(empty, tmp_path / "x")


def test_what_is_no_file_is_not_found(empty: Workspace, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NotFoundError, match="There is no bundle"):
            empty.bundle.load(path)


# ---- files that are sealed, but say what cannot be ----


def document_of(file: Path) -> dict[str, Any]:
    return dict(json.loads(entries(file)[0][1]))


def seal(target: Path, content: bytes, members: list[Entry]) -> Path:
    """A bundle whose every header and hash is right."""
    seals = f"{hashlib.sha256(content).hexdigest()}  bundle.json\n".encode()
    made = [extra("bundle.json", content=content), *members, extra("bundle.sha256", content=seals)]
    return archive(target, made)


def rename_file(name: str) -> Callable[[dict[str, Any]], None]:
    """Another name for an artifact's first file, the digest computed anew."""

    def change(document: dict[str, Any]) -> None:
        artifact = document["artifacts"][0]
        files = list(artifact["files"].items())
        artifact["files"] = dict([(name, files[0][1]), *files[1:]])
        lines = (f"{n}\0{f['sha256']}\0{f['bytes']}\n" for n, f in sorted(artifact["files"].items()))
        artifact["digest"] = hashlib.sha256("".join(lines).encode()).hexdigest()
        document["tables"]["snapshots"][0]["artifact"] = artifact["digest"]

    return change


def edit(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update(values)


def edit_artifact(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["artifacts"][0].update(values)


LYING: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a wrong digest": edit_artifact(digest="0" * 64),
    "a digest that is a path": edit_artifact(digest="../" * 20 + "evil"),
    "a digest that is no text": edit_artifact(digest=None),
    "a wrong sum of bytes": edit_artifact(bytes=1),
    "a kind that is no text": edit_artifact(kind=None),
    "an artifact without files": edit_artifact(files={}),
    "an artifact with files as a list": edit_artifact(files=[]),
    "a key too many": edit_artifact(more=1),
    "a file of negative size": lambda d: next(iter(d["artifacts"][0]["files"].values())).update(bytes=-1),
    "a file of a size that is text": lambda d: next(iter(d["artifacts"][0]["files"].values())).update(bytes="12"),
    "a file without a hash": lambda d: next(iter(d["artifacts"][0]["files"].values())).pop("sha256"),
    "a file outside": rename_file("../../evil"),
    "a file inside that climbs": rename_file("a/../../../evil"),
    "an absolute file": rename_file("/tmp/evil"),
    "a file with a roundabout name": rename_file("a/./b"),
    "a file without a name": rename_file(""),
    "a file with a zero character": rename_file("a\0b"),
    "a file with a line break": rename_file("a\nb"),
    "a file with too long a name": rename_file("x" * 256),
    "the store's own file": rename_file("artifact.json"),
    "a format of lists": edit(artifacts={}, tables=[]),
    "artifacts that are no list": edit(artifacts={}),
    "an artifact that is no object": edit(artifacts=[1]),
    "a part too many": edit(more=1),
    "a part too few": lambda d: d.pop("created_at"),
    "another time": edit(created_at="2020-01-01T00:00:00+00:00"),
    "another root": edit(root="release:lamps/9"),
    "a root that is a list": edit(root=[]),
    "artifacts among the tables": lambda d: d["tables"].update(artifacts=[]),
    "a missing table": lambda d: d["tables"].pop("edges"),
}


@pytest.mark.parametrize("what", LYING)
def test_a_document_that_lies_is_refused(small: Path, empty: Workspace, tmp_path: Path, tree: Any, what: str) -> None:
    document = document_of(small)
    LYING[what](document)
    file = seal(tmp_path / "x", encode(document), entries(small)[1:-1])
    before = tree(tmp_path)
    assert "contradicts itself" in refused(empty, file)
    assert tree(tmp_path) == before


def test_a_file_that_is_also_a_folder_is_refused(small: Path, empty: Workspace, tmp_path: Path) -> None:
    document = document_of(small)
    name = next(iter(document["artifacts"][0]["files"]))
    document["artifacts"][0]["files"][f"{name}/inner"] = {"sha256": "0" * 64, "bytes": 1}
    assert "can be no file of an artifact" in refused(
        empty, seal(tmp_path / "x", encode(document), entries(small)[1:-1])
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b"[" * 200_000,
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        b'{"a": 1}',
        b"9" * 5000,
    ],
)
def test_a_document_that_this_package_would_not_write_is_refused(
    small: Path, empty: Workspace, tmp_path: Path, content: bytes
) -> None:
    refused_or_newer = seal(tmp_path / "x", content, entries(small)[1:-1])
    with pytest.raises(HubspokeError) as caught:
        empty.bundle.load(refused_or_newer)
    assert caught.value.exit_code == 4


def test_a_bundle_of_another_version_says_who_has_to_upgrade(
    small: Path, empty: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for change in ({"schema": "9999"}, {"format": 2}, {"schema": "9999", "tables": {}}):
        file = seal(tmp_path / "x", encode(document_of(small) | change), entries(small)[1:-1])
        with pytest.raises(SchemaVersionError, match=r"a newer one than this .*; upgrade hubspoke here\.") as caught:
            empty.bundle.load(file)
        assert caught.value.exit_code == 6
    old = document_of(small) | {"schema": REVISIONS[0]}
    old["tables"] = {**old["tables"], "nodes": [{**row, "extra": 1} for row in old["tables"]["nodes"]]}
    with pytest.raises(
        SchemaVersionError, match=r"too old for this hubspoke, .* where it was made and export it again"
    ):
        empty.bundle.load(seal(tmp_path / "x", encode(old), entries(small)[1:-1]))


def test_another_file_than_the_one_expected_is_refused(
    small: Path, bundle: Path, opened: Opener, tmp_path: Path
) -> None:
    other = opened("other")
    wanted = hashlib.sha256(small.read_bytes()).hexdigest()
    with pytest.raises(InvalidDataError, match=rf"has SHA-256 [0-9a-f]{{64}}, not {wanted}; copy it again"):
        other.bundle.load(bundle, sha256=wanted)
    assert other.registry.list_domains() == []
    with pytest.raises(UsageError, match="'abc' is no SHA-256"):
        other.bundle.load(small, sha256="abc")
    assert other.bundle.load(small, sha256=f" {wanted.upper()} ").sha256 == wanted


def test_a_bundle_of_known_versions_with_another_content_changes_nothing(
    small: Path, opened: Opener, tmp_path: Path, tree: Any
) -> None:
    other = opened("other")
    other.bundle.load(small)
    before = tree(other.settings.workspace)
    document = copy.deepcopy(document_of(small))
    document["tables"]["snapshots"][0]["rows"] += 1
    with pytest.raises(InvalidDataError, match=r"snapshot:lamps/items/1 here, but has another rows"):
        other.bundle.load(seal(tmp_path / "x", encode(document), entries(small)[1:-1]))
    assert tree(other.settings.workspace) == before


def test_a_file_that_changes_while_it_is_read_is_refused(
    small: Path, opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = opened("other")
    file = shutil.copy(small, tmp_path / "x")
    real = bundle_files.BundleFile.copy

    def swap(self: Any, member: Member, target: Path) -> None:
        real(self, member, target)
        target.write_bytes(target.read_bytes() + b"x")

    monkeypatch.setattr(bundle_files.BundleFile, "copy", swap)
    with pytest.raises(CorruptArtifactError, match="was changed while it was read"):
        other.bundle.load(file)
    assert other.registry.list_domains() == []


# ---- kills ----

KILLED = """
import importlib, os, signal, sys
place, nth, *arguments = sys.argv[1:]
module, _, path = place.partition(":")
owner, name = getattr(importlib.import_module(module), path.split(".")[0]), path.split(".")[1]
real, calls = getattr(owner, name), [0]

def stop(*args, **kwargs):
    calls[0] += 1
    if calls[0] == int(nth):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)

setattr(owner, name, stop)
sys.argv = ["hubspoke", *arguments]
from hubspoke.cli import main
main()
"""


def kill_at(place: str, nth: int, *arguments: str | Path) -> None:
    command = [sys.executable, "-c", KILLED, place, str(nth), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize(
    ("place", "nth"),
    [
        ("hubspoke.registry.artifacts:ArtifactStore.commit", 3),  # two artifacts stand, a third is staged
        ("hubspoke.registry.bundles:BundleStore.place_bundle", 2),  # all artifacts stand, no row does
        ("hubspoke.registry.bundles:_Placing._hang", 2),  # in the middle of the rows
    ],
)
def test_a_killed_import_is_completed_by_the_same_command(
    released: Workspace, bundle: Path, opened: Opener, place: str, nth: int
) -> None:
    other = opened("other")
    kill_at(place, nth, "bundle", "import", bundle, "--workspace", other.settings.workspace)
    assert other.registry.list_domains() == []
    assert other.registry.list_artifacts() == []
    check_moved(released, other, other.bundle.load(bundle))


def test_a_killed_export_leaves_no_file_of_that_name(released: Workspace, bundle: Path, tmp_path: Path) -> None:
    folder, target = released.settings.workspace, tmp_path / "out"
    kill_at(
        "hubspoke.workflows.bundle_files:_Writer.member",
        4,
        "bundle",
        "export",
        "lamps",
        "--output",
        target,
        "--workspace",
        folder,
    )
    assert [re.sub(r"^.*?\.", "", path.name) for path in tmp_path.iterdir()] == ["out.part"]
    released.bundle.export("lamps", target)
    assert target.read_bytes() == bundle.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

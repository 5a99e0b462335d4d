"""The file of a bundle: its form, and that nothing which was touched, cut, forged or made up comes in."""

import hashlib
import io
import json
import os
import shutil
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hubspoke.errors import CorruptArtifactError, InvalidDataError, NotFoundError, SchemaVersionError
from hubspoke.registry.database import REVISIONS
from hubspoke.workflows.bundle_files import BundleFile, Member, encode, member_name, size_of, write_bundle
from hubspoke.workflows.workspace import Workspace, open_workspace


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Workspace]:
    """A workspace that nothing may come into."""
    folder = tmp_path_factory.mktemp("empty")
    shutil.copy(sqlite_template, folder / "registry.db")
    with open_workspace(environ={}, cwd=folder, workspace=folder, actor="tester") as ws:
        yield ws


def test_any_tar_reads_a_bundle(small: Path, tmp_path: Path) -> None:
    with tarfile.open(small, "r:") as opened:
        members = opened.getmembers()
        names = [member.name for member in members]
        assert names == ["bundle.json", *sorted(names[1:-1]), "bundle.sha256"]
        assert all(m.isreg() and (m.mtime, m.uid, m.gid, m.mode) == (0, 0, 0, 0o644) for m in members)
        document, sum_ = (opened.extractfile(name).read() for name in ("bundle.json", "bundle.sha256"))
        assert sum_.decode() == f"{hashlib.sha256(document).hexdigest()}  bundle.json\n"
        said = json.loads(document)
        root = next(node for node in said["tables"]["nodes"] if node["ref"] == "snapshot:lamps/items/1")
        assert (said["format"], said["root"], said["created_at"]) == (1, "snapshot:lamps/items/1", root["created_at"])
    # What is made up below differs from it in nothing else.
    assert archive(tmp_path / "x", entries(small)).read_bytes() == small.read_bytes()
    assert seal(tmp_path / "x", encode(document_of(small)), small).read_bytes() == small.read_bytes()


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


def one(tmp_path: Path, content: bytes) -> tuple[Member, Path]:
    """A member and the file that holds its content."""
    (tmp_path / "content").write_bytes(content)
    return Member(member_name("0" * 64, "a"), len(content), hashlib.sha256(content).hexdigest()), tmp_path / "content"


def test_a_file_that_changes_while_it_is_bundled_leaves_no_bundle(tmp_path: Path) -> None:
    member, path = one(tmp_path, b"as long as before")
    for found in (b"short", b"as long and other"):
        path.write_bytes(found)
        with pytest.raises(CorruptArtifactError, match="changed while it was read"):
            write_bundle(tmp_path / "out", b"{}", [member], lambda _: path)
        assert [left.name for left in tmp_path.iterdir()] == ["content"]


def test_memory_does_not_grow_with_the_artifacts(tmp_path: Path) -> None:
    member, path = one(tmp_path, bytes(24 << 20))
    tracemalloc.start()
    write_bundle(tmp_path / "out", b"{}", [member], lambda _: path)
    with BundleFile(tmp_path / "out") as file:
        file.verify([member], lambda _done, _total: None)
        file.copy(member, tmp_path / "copied")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    sizes = [(tmp_path / name).stat().st_size for name in ("copied", "out")]
    assert (sizes, peak < 6 << 20) == ([24 << 20, size_of(b"{}", [member])], True)


def refused(ws: Workspace, file: Path) -> str:
    """Why a file is refused; nothing may have come of it, in the store or beside the workspace."""
    with pytest.raises(InvalidDataError) as caught:
        ws.bundle.load(file)
    assert caught.value.exit_code == 4
    assert ws.registry.domains.list() == ws.registry.artifacts.list() == []
    assert not ws.settings.artifacts_dir.exists()
    return str(caught.value)


def test_no_bit_of_the_file_can_change_and_none_go_or_come(small: Path, empty: Workspace, tmp_path: Path) -> None:
    content, target = small.read_bytes(), tmp_path / "x"
    size = len(content)
    for place in {*range(0, size, 61), *range(0, 512, 3), *range(size - 2560, size, 7)}:
        target.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        told = refused(empty, target)
        assert "damaged" in told or "no bundle" in told
    shorter = [content[:cut] for cut in {*range(0, size, 211), *range(0, size, 512), size - 1}]
    for other in (*shorter, *(content + bytes(more) for more in (1, 512, 1024, 10240))):
        target.write_bytes(other)
        refused(empty, target)


Entry = tuple[tarfile.TarInfo, bytes]


def entries(file: Path) -> list[Entry]:
    with tarfile.open(file, "r:") as archive:
        return [(m, archive.extractfile(m).read()) for m in archive.getmembers()]


def archive(target: Path, members: list[Entry], mode: str = "w") -> Path:
    """An archive that ends as a bundle does, without the filling that Python's own adds."""
    with tarfile.open(target, mode, format=tarfile.PAX_FORMAT) as made:
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


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused(small: Path, empty: Workspace, tmp_path: Path, tree: Any, what: str) -> None:
    file = archive(tmp_path / "x", HOSTILE[what](entries(small)))
    before = tree(tmp_path)
    told = refused(empty, file)
    assert told.endswith(("copy or export it again.", "make one with `hubspoke bundle export`."))
    assert tree(tmp_path) == before


def test_what_is_no_plain_tar_is_no_bundle(small: Path, empty: Workspace, tmp_path: Path) -> None:
    for mode in ("w:gz", "w:xz", "w:bz2"):  # which are never unpacked
        assert "no tar archive" in refused(empty, archive(tmp_path / "x", entries(small), mode))
    for size in (1 << 20, 1 << 33, 1 << 60):  # a size is not believed
        info = tarfile.TarInfo("bundle.json")
        info.size, info.mode = size, 0o644
        (tmp_path / "x").write_bytes(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict") + small.read_bytes()[512:])
        assert "damaged" in refused(empty, tmp_path / "x")
    for content in (b"", b"PK\x03\x04", b"{}", b"\0" * 4096, b"x" * 4096):
        (tmp_path / "x").write_bytes(content)
        assert "is no bundle" in refused(empty, tmp_path / "x")
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NotFoundError, match="There is no bundle"):
            empty.bundle.load(path)
    # Nor is a document that is never written.
    plain = [b"", b"[]", b"null", b"{", b"\xff", b"[" * 200_000, b"9" * 5000, b'{"a":1,"a":2}', b'{"a": 1}']
    for content in (*plain, b'{"a":NaN}', b'{"a":1e999}', b'{"a":"\\ud800"}'):
        refused(empty, seal(tmp_path / "x", content, small))


def document_of(file: Path) -> dict[str, Any]:
    return dict(json.loads(entries(file)[0][1]))


def seal(target: Path, content: bytes, small: Path) -> Path:
    """A bundle with the members of another, whose every header and hash is right."""
    seals = f"{hashlib.sha256(content).hexdigest()}  bundle.json\n".encode()
    ends = extra("bundle.json", content=content), extra("bundle.sha256", content=seals)
    return archive(target, [ends[0], *entries(small)[1:-1], ends[1]])


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


def add_inner_file(document: dict[str, Any]) -> None:
    """A file whose folder is a file itself."""
    files = document["artifacts"][0]["files"]
    files[f"{next(iter(files))}/inner"] = {"sha256": "0" * 64, "bytes": 1}


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
    "a file that is also a folder": add_inner_file,
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
    file = seal(tmp_path / "x", encode(document), small)
    before = tree(tmp_path)
    assert "contradicts itself" in refused(empty, file)
    assert tree(tmp_path) == before


def test_a_bundle_of_another_version_or_content(small: Path, ws: Workspace, tmp_path: Path, tree: Any) -> None:
    for change in ({"schema": "9999"}, {"format": 2}, {"schema": "9999", "tables": {}}):
        file = seal(tmp_path / "x", encode(document_of(small) | change), small)
        with pytest.raises(SchemaVersionError, match=r"a newer one than this .*; upgrade hubspoke here\.") as caught:
            ws.bundle.load(file)
        assert caught.value.exit_code == 6
    old = document_of(small) | {"schema": REVISIONS[0]}
    old["tables"] = {**old["tables"], "nodes": [{**row, "extra": 1} for row in old["tables"]["nodes"]]}
    with pytest.raises(SchemaVersionError, match=r"too old for .*, .* where it was made and export it again"):
        ws.bundle.load(seal(tmp_path / "x", encode(old), small))
    # Known versions with another content are refused.
    ws.bundle.load(small)
    before = tree(ws.settings.workspace)
    document = document_of(small)
    document["tables"]["snapshots"][0]["rows"] += 1
    with pytest.raises(InvalidDataError, match=r"snapshot:lamps/items/1 here, but has another rows"):
        ws.bundle.load(seal(tmp_path / "x", encode(document), small))
    assert tree(ws.settings.workspace) == before

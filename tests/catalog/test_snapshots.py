import hashlib
import json
import os
import struct
from pathlib import Path

import polars as pl
import pytest
from hubspoke.catalog.readers import read_items
from hubspoke.catalog.schema import EVENT_SCHEMA
from hubspoke.catalog.snapshots import (
    content_hash,
    diff_snapshots,
    dtype_name,
    read_manifest,
    read_snapshot,
    read_user_events,
    write_snapshot,
)
from hubspoke.errors import CorruptArtifactError, HubspokeError, IncompatibleError, InvalidDataError, NotFoundError


def items(**changes: object) -> pl.DataFrame:
    columns: dict[str, object] = {
        "item_id": ["a", "b", "c"],
        "title": ["Spade", "Räke", None],
        "price": [1.5, None, 3.0],
        "category_path": ["Garden > Tools", None, "Garden"],
        "created_at": ["2020-01-01T10:00:00Z", None, None],
        "colour": ["red", None, "blue"],
    }
    return read_items(pl.DataFrame({**columns, **changes})).frame


def test_round_trip(tmp_path: Path) -> None:
    frame = items()
    written = write_snapshot(frame, "items", tmp_path / "s", {"source": "a.csv", "path": tmp_path}, image_root=tmp_path)
    read, manifest = read_snapshot(tmp_path / "s")
    assert read.equals(frame)
    assert read.schema == frame.schema
    assert manifest == written
    assert manifest.rows == 3
    assert manifest.provenance["source"] == "a.csv"
    assert manifest.image_root == str(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]


@pytest.mark.parametrize("name", ["sq[1]*", "q?m", "a%20b", "user_id=7", "a b ", "{a,b}", "n\nl", "#x"])
def test_a_folder_of_any_name_is_that_folder(tmp_path: Path, name: str) -> None:
    """Where the name is a pattern, the folder that it would match lies beside it."""
    events = pl.DataFrame({"user_id": ["ann"], "item_id": ["a"]}, schema=dict(list(EVENT_SCHEMA.items())[:2]))
    for folder, frame in {name: events, "sq1": events.head(0), "qxm": events.head(0)}.items():
        write_snapshot(frame, "events", tmp_path / folder)
    assert read_snapshot(tmp_path / name)[0].equals(events)
    assert read_user_events(tmp_path / name, "ann").rows() == [("ann", "a")]


def test_hash_is_the_content_not_the_encoding(tmp_path: Path) -> None:
    frame = items()
    for options in ({"compression": "snappy"}, {"compression": "zstd", "row_group_size": 1}):
        frame.write_parquet(tmp_path / "x.parquet", **options)  # type: ignore[arg-type]
        assert content_hash(pl.read_parquet(tmp_path / "x.parquet")) == content_hash(frame)
    chunked = pl.concat([frame.head(1), frame.tail(2)], rechunk=False)
    assert content_hash(chunked) == content_hash(frame)


def test_hash_is_the_documented_bytes() -> None:
    frame = pl.DataFrame({"s": ["é", None], "l": [["a", "b"], []], "f": [0.5, None]})
    expected = b"".join(
        [
            b"hubspoke-table-1 2",
            b'["s", "string"]' + b"\x00\x01" + struct.pack("<I", 2) + "é".encode(),
            b'["l", "list<string>"]' + b"\x00\x00" + struct.pack("<II", 2, 0),
            b"\x00\x00" + struct.pack("<II", 1, 1) + b"ab",
            b'["f", "float64"]' + b"\x00\x01" + struct.pack("<d", 0.5),
        ]
    )
    assert content_hash(frame) == hashlib.sha256(expected).hexdigest()


def test_dtype_names() -> None:
    names = [dtype_name(dtype) for dtype in EVENT_SCHEMA.values()]
    assert names[2:3] + names[-2:] == ["datetime[us, UTC]", "int64", "list<struct<key: string, value: string>>"]


@pytest.mark.parametrize(
    "other",
    [
        pl.DataFrame({"s": ["a", "bc"]}),
        pl.DataFrame({"s": ["ab", None]}),
        pl.DataFrame({"s": ["c", "ab"]}),
        pl.DataFrame({"t": ["ab", "c"]}),
        pl.DataFrame({"s": ["ab", "c"], "u": [1, 2]}),
        pl.DataFrame({"s": [["ab"], ["c"]]}),
        pl.DataFrame({"s": [["ab", "c"], []]}),
        pl.DataFrame({"s": ["ab", "c", None]}),
    ],
)
def test_other_content_has_another_hash(other: pl.DataFrame) -> None:
    assert content_hash(other) != content_hash(pl.DataFrame({"s": ["ab", "c"]}))


def test_null_empty_and_nested_values_differ() -> None:
    lists = [[None], [[]], [[None]], [[""]]]
    hashes = {content_hash(pl.DataFrame({"l": v}, schema={"l": pl.List(pl.String)})) for v in lists}
    assert len(hashes) == 4


def test_none_and_one_of_a_newer_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_snapshot(tmp_path / "none")
    write_snapshot(items(), "items", tmp_path / "s")
    path = tmp_path / "s" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(IncompatibleError, match="99"):
        read_manifest(tmp_path / "s")


def test_a_folder_takes_the_same_content_again_and_nothing_else(tmp_path: Path) -> None:
    for name in ("empty", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    first = write_snapshot(items(), "items", tmp_path / "empty", {"source": "one"})
    assert write_snapshot(items(), "items", tmp_path / "empty", {"source": "two"}) == first
    for folder, frame in (("empty", items(title=["x", "y", "z"])), ("full", items())):
        with pytest.raises(InvalidDataError, match="immutable"):
            write_snapshot(frame, "items", tmp_path / folder)
    assert (tmp_path / "full" / "note.txt").read_text() == "mine"


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HubspokeError, match="No space"):
        write_snapshot(items(), "items", tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_cleared_when_stale(tmp_path: Path) -> None:
    for name, age in ((".s.there-1-1-00000000.tmp", 0), (".s.there-2-2-00000000.tmp", 10**6)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.parquet").write_bytes(b"half")
        for path in (tmp_path / name / "data.parquet", tmp_path / name):
            os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime - age))
    write_snapshot(items(), "items", tmp_path / "s")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".s.there-1-1-00000000.tmp", "s"]


@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "other_rows", "other_values", "no_manifest", "bad_manifest"])
def test_damage_is_found(tmp_path: Path, damage: str) -> None:
    directory = tmp_path / "s"
    write_snapshot(items(), "items", directory)
    data, manifest = directory / "data.parquet", directory / "manifest.json"
    content = data.read_bytes()
    if damage == "cut":
        data.write_bytes(content[:-10])
    elif damage == "flip":
        data.write_bytes(b"XXXX" + content[4:-4] + b"XXXX")
    elif damage == "gone":
        data.unlink()
    elif damage == "other_rows":
        items().head(2).write_parquet(data)
    elif damage == "other_values":
        items(title=["Spade", "Rake", None]).write_parquet(data)
    elif damage == "no_manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:-20])
    with pytest.raises(CorruptArtifactError):
        read_snapshot(directory)


def test_diff() -> None:
    new = items(item_id=["a", "c", "d"], title=["Spade", "Hoe", "Axe"], colour=["green", "blue", None])
    old = items(item_id=["a", "b", "c"], title=["Spade", "Räke", "Hoe"], colour=["red", None, "blue"])
    diff = diff_snapshots(old, new)
    assert (diff.added, diff.removed, diff.changed) == (("d",), ("b",), ("a", "c"))
    same = diff_snapshots(old, old.reverse())
    assert (same.added, same.removed, same.changed) == ((), (), ())

"""Sessions on disk and the stream over them: to the last event what the whole table in memory gives."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hubspoke.catalog.schema import EVENT_SCHEMA
from hubspoke.catalog.sequences import Sequences, build_sequences
from hubspoke.catalog.sessions import SessionSettings, clean_sessions
from hubspoke.catalog.streams import (
    MANIFEST_FILE,
    SessionFiles,
    ahead,
    drop_unknown_items,
    user_ranges,
    write_session_files,
)
from hubspoke.errors import CorruptArtifactError, InvalidDataError

THREADS = {"POLARS_MAX_THREADS": "2", "OMP_NUM_THREADS": "1"}
N = 9
ITEM_IDS = pl.Series("item_id", [f"i{n}" for n in range(N)])
SETTINGS = {
    "gap": SessionSettings(mode="gap", min_length=2, max_length=4),
    "per_user": SessionSettings(mode="per_user", collapse_repeats=False, min_length=1),
    "given": SessionSettings(mode="given", min_length=2),
}


def events(seed, users=40):
    """A table sorted by user and time with searches, impressions, repeats, ties and items that no catalog has."""
    rng = np.random.default_rng(seed)
    owner = np.repeat([f"u{n:03d}" for n in range(users)], rng.integers(1, 25, users))
    rows = len(owner)
    kind = rng.choice(["view", "cart", "search", "impression"], rows, p=[0.6, 0.2, 0.1, 0.1])
    item = [None if k == "search" else f"i{n}" for k, n in zip(kind, rng.integers(N + 2, size=rows), strict=True)]
    minutes = rng.choice([0, 1, 45], rows).cumsum()
    session = [None if s == 0 else f"s{s}" for s in rng.integers(4, size=rows)]
    made = {
        "user_id": owner,
        "item_id": item,
        "timestamp": minutes * 60_000_000,
        "event_type": kind,
        "session_id": session,
    }
    blank = {
        name: pl.Series(name, [None] * rows, dtype=kind) for name, kind in EVENT_SCHEMA.items() if name not in made
    }
    return pl.DataFrame({**made, **blank}).select(pl.col(name).cast(kind) for name, kind in EVENT_SCHEMA.items())


@pytest.fixture
def stored(tmp_path):
    def store(frame, name="events.parquet"):
        frame.write_parquet(tmp_path / name, row_group_size=100)
        return tmp_path / name

    return store


def in_memory(frame, settings):
    kept, step = drop_unknown_items(frame, ITEM_IDS)
    cleaned = clean_sessions(kept, settings)
    return build_sequences(cleaned.frame, ITEM_IDS), [s.to_json() for s in (step, *cleaned.waterfall)]


def same(a, b):
    for name in ("items", "timestamps", "offsets", "users", "event_types"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.user_ids, a.n_items) == (b.user_ids, b.n_items)


@pytest.mark.parametrize("mode", SETTINGS)
@pytest.mark.parametrize("range_events", [1, 7, 60, 10_000])
def test_ranges_of_users_give_what_the_whole_table_gives(tmp_path, stored, mode, range_events):
    table = events(3)
    files = write_session_files(
        stored(table), ITEM_IDS, tmp_path / "sessions", SETTINGS[mode], range_events=range_events
    )
    whole, waterfall = in_memory(table, SETTINGS[mode])
    same(files.read(files.manifest.parts), whole)
    assert list(files.manifest.waterfall) == waterfall
    assert files.manifest.mode == mode and files.manifest.events == whole.n_events
    assert (len(files.manifest.parts) == 1) == (range_events == 10_000)


def test_no_user_is_cut_in_two_and_no_row_is_lost(stored):
    table = events(5)
    pieces = list(user_ranges(stored(table), 30))
    assert pl.concat(pieces).equals(table.select(pieces[0].columns))
    owners = [set(piece["user_id"]) for piece in pieces]
    assert sum(map(len, owners)) == len(set().union(*owners)) == 40
    assert len(pieces) > 5 and all(piece.height >= 30 for piece in pieces[:-1])
    one = events(0, users=1)
    (piece,) = user_ranges(stored(pl.concat([one] * 9)), 5)  # a user may be longer than a range
    assert piece.height == 9 * one.height


def test_a_table_without_rows_has_no_sessions(tmp_path, stored):
    files = write_session_files(stored(events(0).head(0)), ITEM_IDS, tmp_path / "sessions")
    assert files.manifest.parts == () and files.manifest.events == 0
    assert files.manifest.waterfall[0]["name"] == "impressions left out"  # none for items that the catalog lacks
    assert {step["rows_out"] for step in files.manifest.waterfall} == {0}


@pytest.mark.parametrize("order", ["user", "range"])
def test_an_unsorted_table_is_refused(tmp_path, stored, order):
    table = events(2)
    later = table.filter(pl.col("user_id") > "u020")
    mixed = table.reverse() if order == "user" else pl.concat([later, table.filter(pl.col("user_id") <= "u020")])
    with pytest.raises(InvalidDataError, match="is not sorted by user; ingest the events again"):
        write_session_files(stored(mixed), ITEM_IDS, tmp_path / "sessions", range_events=20)
    assert [path.name for path in tmp_path.iterdir()] == ["events.parquet"]


def test_sessions_that_no_event_names_are_refused(tmp_path, stored):
    table = events(2).with_columns(session_id=pl.lit(None, pl.String))
    for left in (table, table.drop("session_id")):
        with pytest.raises(InvalidDataError, match="no event has one; use --sessions auto"):
            write_session_files(stored(left), ITEM_IDS, tmp_path / "x", SETTINGS["given"], range_events=20)
    # Where some users have none the others' count.
    some = events(2).with_columns(session_id=pl.when(pl.col("user_id") > "u030").then("session_id"))
    files = write_session_files(stored(some), ITEM_IDS, tmp_path / "y", SETTINGS["given"], range_events=20)
    same(files.read(files.manifest.parts), in_memory(some, SETTINGS["given"])[0])


def test_events_of_another_catalog_are_refused(tmp_path, stored):
    with pytest.raises(InvalidDataError, match=r"None of the \d+ events .* is on an item of the catalog"):
        table = events(2).filter(pl.col("item_id").is_not_null())
        write_session_files(stored(table), pl.Series("item_id", ["other"]), tmp_path / "sessions")


@pytest.mark.parametrize("damage", ["truncated", "text", "gone"])
def test_a_table_that_cannot_be_read_is_refused_and_leaves_nothing(tmp_path, stored, damage):
    path = stored(events(2))
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"no parquet")
    with pytest.raises(CorruptArtifactError, match="cannot be read; ingest the data again"):
        write_session_files(path, ITEM_IDS, tmp_path / "sessions")
    assert not list(tmp_path.glob("*sessions*"))


@pytest.mark.parametrize("damage", ["truncated", "changed", "gone"])
def test_a_damaged_file_is_refused_when_it_is_read(tmp_path, stored, damage):
    files = write_session_files(stored(events(2)), ITEM_IDS, tmp_path / "sessions", range_events=50)
    path = files.folder / files.manifest.parts[1].name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:-9] if damage == "truncated" else content)
    files.read(files.manifest.parts[:1])
    with pytest.raises(CorruptArtifactError, match=r"remove the folder .*sessions and repeat the command"):
        files.read(files.manifest.parts)


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_killed_cut_leaves_no_folder_and_is_repeated(tmp_path, stored, monkeypatch):
    path = stored(events(4))
    whole = contents(write_session_files(path, ITEM_IDS, tmp_path / "whole", range_events=50).folder)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hubspoke.catalog.streams.coded_events", killed)
        with pytest.raises(KeyboardInterrupt):
            write_session_files(path, ITEM_IDS, tmp_path / "sessions", range_events=50)
    assert SessionFiles.open(tmp_path / "sessions") is None
    # What a process leaves that had no time to clean up.
    left = tmp_path / ".sessions.there-1-1-00000000.tmp"
    shutil.copytree(tmp_path / "whole", left)
    for old in (*left.iterdir(), left):
        os.utime(old, (0, 0))
    files = write_session_files(path, ITEM_IDS, tmp_path / "sessions", range_events=50)
    assert contents(files.folder) == whole and not left.exists()


def test_a_folder_without_manifest_or_of_another_format_is_written_anew(tmp_path, stored):
    path, folder = stored(events(4)), tmp_path / "sessions"
    files = write_session_files(path, ITEM_IDS, folder)
    whole = contents(folder)
    manifest = folder / MANIFEST_FILE
    for text in (None, "{", files.manifest.model_copy(update={"format": 99}).model_dump_json()):
        manifest.unlink() if text is None else manifest.write_text(text)
        assert SessionFiles.open(folder) is None
        write_session_files(path, ITEM_IDS, folder)
        assert contents(folder) == whole


def test_two_may_write_at_once(tmp_path, stored):
    path, out = stored(events(4)), tmp_path / "sessions"
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: write_session_files(path, ITEM_IDS, out, range_events=20), range(8)))
    made.append(write_session_files(path, ITEM_IDS, out))  # who comes later takes what is there
    assert all(files == made[0] for files in made)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["events.parquet", "sessions"]
    same(made[0].read(made[0].manifest.parts), in_memory(events(4), SessionSettings())[0])


# ---- read back ----


def sequences(seed=0, users=30):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 9, users)
    return Sequences(
        items=rng.integers(N, size=lengths.sum()),
        timestamps=np.arange(lengths.sum()) * 1000,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        users=np.arange(users),
        user_ids=tuple(f"{user:09d}" for user in range(users)),
        n_items=N,
        event_types=rng.integers(1, 4, lengths.sum()).astype(np.int8),
    )


def rows(found):
    types = found.event_types
    for s, own in enumerate(found):
        span = slice(found.offsets[s], found.offsets[s + 1])
        user = found.user_ids[found.users[s]]
        yield user, tuple(own), tuple(found.timestamps[span]), tuple(types[span])


@pytest.mark.parametrize("shard_events", [1, 10, 40, 10_000])
def test_shards_are_the_whole_in_its_order(stream_of, shard_events):
    whole = sequences()
    stream = stream_of(whole, shard_events)
    assert [row for shard in stream.shards() for row in rows(shard)] == list(rows(whole))
    assert (stream.n_shards == 1) == (shard_events == 10_000)
    sizes = [shard.n_events for shard in stream.shards()]
    assert all(size <= shard_events or len(shard) == 1 for size, shard in zip(sizes, stream.shards(), strict=True))


@pytest.mark.parametrize("shard_events", [10, 10_000])
def test_what_is_counted_is_that_of_the_whole(stream_of, shard_events):
    whole, stream = sequences(), stream_of(sequences(), shard_events)
    np.testing.assert_array_equal(stream.item_counts(), whole.item_counts())
    for mine, expected in zip(stream.length_counts(), whole.length_counts(), strict=True):
        np.testing.assert_array_equal(mine, expected)
    for name in ("n_events", "n_users", "newest", "n_items"):
        assert getattr(stream, name) == getattr(whole, name)
    assert Counter(dict(zip(*stream.length_counts(), strict=True))) == Counter(whole.lengths.tolist())


def early(found):
    return found.keep_events(found.timestamps < 60_000)


def views(found):
    return found.keep_events(found.event_types == 1)


def test_cuts_follow_each_other_and_may_leave_a_shard_empty(stream_of):
    whole, stream = sequences(), stream_of(sequences(), 10)
    kept, cut = views(early(whole)), stream.filter(early).filter(views)
    assert cut.n_shards == stream.n_shards and not cut.shard(cut.n_shards - 1).n_events
    assert [row for shard in cut.shards() for row in rows(shard)] == list(rows(kept))
    np.testing.assert_array_equal(cut.item_counts(), kept.item_counts())
    assert (cut.n_events, cut.n_users, cut.newest) == (kept.n_events, kept.n_users, kept.newest)
    assert stream.n_events == whole.n_events


def test_the_fingerprint_is_that_of_events_cuts_and_shards(stream_of):
    stream = stream_of(sequences(), 10)
    assert stream.fingerprint == stream_of(sequences(), 10).fingerprint
    others = [stream_of(sequences(), 20), stream_of(sequences(seed=1), 10), stream.filter(early)]
    assert len({stream.fingerprint, *(other.fingerprint for other in others)}) == 4
    held = sequences()
    renamed = replace(held, user_ids=tuple(reversed(held.user_ids)))
    assert held.fingerprint == sequences().fingerprint != renamed.fingerprint


def test_nothing_at_all(stream_of):
    stream = stream_of(sequences(users=0), 10)
    assert (stream.n_shards, stream.n_events, stream.n_users, stream.newest) == (0, 0, 0, None)
    assert not stream.item_counts().any() and [len(own) for own in stream.length_counts()] == [0, 0]


def test_the_next_is_read_while_one_is_worked_on():
    read = [threading.Event() for _ in range(4)]

    def reading(number):
        read[number].set()
        return number

    seen = []
    for number in ahead(reading, range(3)):
        assert read[min(number + 1, 2)].wait(10)
        assert not read[min(number + 2, 3)].is_set()
        seen.append(number)
    assert seen == [0, 1, 2] and list(ahead(reading, [])) == []


def test_who_stops_early_leaves_no_reader_behind():
    before = threading.active_count()
    for _ in ahead(lambda number: number, range(9)):
        break
    assert threading.active_count() == before


MEASURE = """
import sys
from pathlib import Path
import polars as pl
from hubspoke.catalog.streams import write_session_files
files = write_session_files(
    Path(sys.argv[1]), pl.Series("item_id", [f"i{n}" for n in range(500)]), Path(sys.argv[2]), range_events=20_000
)
status = Path("/proc/self/status").read_text()
print(files.manifest.events, next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the kernel tells no process's peak memory here")
def test_memory_does_not_grow_with_the_table(tmp_path):
    peaks = []
    for rows in (100_000, 1_000_000):
        rng, path = np.random.default_rng(0), tmp_path / f"{rows}.parquet"
        made = {
            "user_id": pl.Series(np.arange(rows) // 20).cast(pl.String).str.zfill(9),
            "item_id": pl.Series(rng.integers(500, size=rows)).cast(pl.String),
            "timestamp": pl.Series(np.arange(rows) * 1_000_000).cast(pl.Datetime("us", "UTC")),
            "event_type": pl.Series(["view"]).new_from_index(0, rows),
        }
        pl.DataFrame(made).with_columns(item_id="i" + pl.col("item_id")).write_parquet(path, row_group_size=20_000)
        command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / f"sessions-{rows}")]
        told = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | THREADS)
        events, kib = map(int, told.stdout.split())
        assert events > 0.9 * rows
        peaks.append(kib)
    # Ten times the table; the table alone takes more than this in memory, and what is made of it several times that.
    assert peaks[1] - peaks[0] < 60 * 1024, peaks

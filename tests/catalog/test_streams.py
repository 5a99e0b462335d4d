import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hubspoke.catalog.sequences import Sequences
from hubspoke.catalog.streams import ahead
from hubspoke.errors import CorruptArtifactError

N = 7


def made(seed=0, users=30):
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


def rows(sequences):
    types = sequences.event_types
    for s, own in enumerate(sequences):
        span = slice(sequences.offsets[s], sequences.offsets[s + 1])
        user = sequences.user_ids[sequences.users[s]]
        yield user, tuple(own), tuple(sequences.timestamps[span]), tuple(types[span])


@pytest.mark.parametrize("shard_events", [1, 10, 40, 10_000])
def test_shards_are_the_whole_in_its_order(stream_of, shard_events):
    whole = made()
    stream = stream_of(whole, shard_events)
    assert [row for shard in stream.shards() for row in rows(shard)] == list(rows(whole))
    assert (stream.n_shards == 1) == (shard_events == 10_000)
    sizes = [shard.n_events for shard in stream.shards()]
    assert all(size <= shard_events or len(shard) == 1 for size, shard in zip(sizes, stream.shards(), strict=True))


@pytest.mark.parametrize("shard_events", [10, 10_000])
def test_what_is_counted_is_that_of_the_whole(stream_of, shard_events):
    whole, stream = made(), stream_of(made(), shard_events)
    np.testing.assert_array_equal(stream.item_counts(), whole.item_counts())
    for mine, expected in zip(stream.length_counts(), whole.length_counts(), strict=True):
        np.testing.assert_array_equal(mine, expected)
    for name in ("n_events", "n_users", "newest", "n_items"):
        assert getattr(stream, name) == getattr(whole, name)
    assert Counter(dict(zip(*stream.length_counts(), strict=True))) == Counter(whole.lengths.tolist())


def early(sequences):
    return sequences.keep_events(sequences.timestamps < 60_000)


def views(sequences):
    return sequences.keep_events(sequences.event_types == 1)


def test_cuts_follow_each_other_and_may_leave_a_shard_empty(stream_of):
    whole, stream = made(), stream_of(made(), 10)
    kept, cut = views(early(whole)), stream.cut(early).cut(views)
    assert cut.n_shards == stream.n_shards and not cut.shard(cut.n_shards - 1).n_events
    assert [row for shard in cut.shards() for row in rows(shard)] == list(rows(kept))
    np.testing.assert_array_equal(cut.item_counts(), kept.item_counts())
    assert (cut.n_events, cut.n_users, cut.newest) == (kept.n_events, kept.n_users, kept.newest)
    assert stream.n_events == whole.n_events


def test_the_fingerprint_is_that_of_events_cuts_and_shards(stream_of):
    stream = stream_of(made(), 10)
    assert stream.fingerprint == stream_of(made(), 10).fingerprint
    others = [stream_of(made(), 20), stream_of(made(seed=1), 10), stream.cut(early)]
    assert len({stream.fingerprint, *(other.fingerprint for other in others)}) == 4
    held = made()
    renamed = replace(held, user_ids=tuple(reversed(held.user_ids)))
    assert held.fingerprint == made().fingerprint != renamed.fingerprint


def test_nothing_at_all(stream_of):
    stream = stream_of(made(users=0), 10)
    assert (stream.n_shards, stream.n_events, stream.n_users, stream.newest) == (0, 0, 0, None)
    assert not stream.item_counts().any() and [len(own) for own in stream.length_counts()] == [0, 0]


def test_a_damaged_file_stops_whoever_reads(stream_of):
    stream = stream_of(made(), 10)
    files = stream._files
    path = files.folder / files.manifest.parts[-1].name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptArtifactError, match="repeat the command"):
        list(stream.shards())


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

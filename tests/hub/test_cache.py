import contextlib
import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from hubspoke.errors import HubspokeError, InvalidDataError, UsageError
from hubspoke.hub import cache as cache_module
from hubspoke.hub.cache import EmbeddingCache, encode_cached, file_hashes, text_hashes
from hypothesis import given, settings
from hypothesis import strategies as st


class CountingEncoder:
    """Vector of a text: four numbers out of its digest. Remembers what it was asked for."""

    name, dimension = "counting", 4

    def __init__(self, fingerprint="f" * 64, fail_after=99):
        self.fingerprint, self.fail_after, self.ran = fingerprint, fail_after, []

    def encode(self, inputs, progress=None):
        if len(self.ran) >= self.fail_after:
            raise KeyboardInterrupt
        self.ran += inputs
        if progress is not None:
            progress(len(inputs), len(inputs))
        return expected(inputs)


def expected(texts):
    digests = [hashlib.md5(text.encode()).digest()[:16] for text in texts]
    return (np.frombuffer(b"".join(digests), dtype=np.uint32) / 2**32).astype(np.float32).reshape(len(texts), 4)


def run(encoder, texts, directory, progress=None):
    return encode_cached(encoder, texts, text_hashes(texts), EmbeddingCache(directory), progress)


def shards(directory):
    return sorted(Path(directory).rglob("*.safetensors"))


def test_an_interrupted_run_resumes_after_its_last_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "SHARD_ROWS", 2)
    texts, broken = list("abcdefg"), CountingEncoder(fail_after=4)
    with contextlib.suppress(KeyboardInterrupt):
        run(broken, texts, tmp_path)
    assert broken.ran == list("abcd") and len(shards(tmp_path)) == 2
    second = CountingEncoder()
    np.testing.assert_array_equal(run(second, texts, tmp_path), expected(texts))
    assert second.ran == list("efg")
    # Progress starts with what is known and ends at the total; what comes twice runs once.
    third, calls = CountingEncoder(), []
    run(third, ["a", "h", "h", "i", "j"], tmp_path, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (3, 4), (4, 4)] and third.ran == list("hij")


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "text"])
def test_a_damaged_shard_is_set_aside_and_computed_again(tmp_path, caplog, damage):
    run(CountingEncoder(), ["a", "b"], tmp_path)
    (shard,) = shards(tmp_path)
    data = shard.read_bytes()
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    shard.write_bytes({"truncate": data[:-5], "flip": flipped, "empty": b"", "text": b"hello, world"}[damage])
    encoder = CountingEncoder()
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(run(encoder, ["a", "b"], tmp_path), expected(["a", "b"]))
    assert encoder.ran == ["a", "b"]
    assert len([record for record in caplog.records if "computed again" in record.message]) == 1
    caplog.clear()
    run(encoder, ["a", "b"], tmp_path)
    assert encoder.ran == ["a", "b"] and caplog.records == []


def test_a_shard_of_another_width_or_encoder_is_not_used(tmp_path, caplog):
    run(CountingEncoder(), ["a"], tmp_path)
    other = CountingEncoder("1" * 64)
    run(other, ["a"], tmp_path)
    assert other.ran == ["a"]
    wide = CountingEncoder()
    wide.dimension = 6
    wide.encode = lambda inputs, progress=None: np.ones((len(inputs), 6), dtype=np.float32)
    assert run(wide, ["a"], tmp_path).tolist() == [[1.0] * 6]
    assert "width 4 instead of 6" in caplog.text


def test_merging_drops_duplicates_and_old_leftovers_only(tmp_path, monkeypatch):
    cache, key = EmbeddingCache(tmp_path), b"k" * 32
    cache.put("f", [key], np.ones((1, 4), dtype=np.float32))
    old, young = tmp_path / "f" / ".old.tmp", tmp_path / "f" / ".young.tmp"
    for leftover in (old, young):
        leftover.write_bytes(b"x")
    os.utime(old, (0, 0))
    monkeypatch.setattr(cache_module, "COMPACT_AT", 1)
    cache.put("f", [key, b"l" * 32], np.full((2, 4), 2, dtype=np.float32))
    assert len(shards(tmp_path)) == 1 and not old.exists() and young.exists()
    vectors, found = cache.get("f", [key, b"l" * 32, b"m" * 32], 4)
    assert found.tolist() == [True, True, False]
    assert vectors[1].tolist() == [2, 2, 2, 2] and vectors[2].tolist() == [0, 0, 0, 0]


def test_shards_merged_away_while_reading_are_found_again(tmp_path, monkeypatch):
    cache, listed, calls = EmbeddingCache(tmp_path), EmbeddingCache._shards, []
    for key in (b"a", b"b", b"c"):
        cache.put("f", [key * 32], np.full((1, 4), ord(key), dtype=np.float32))

    def merge_after_the_first_listing(self, fingerprint):
        paths = listed(self, fingerprint)
        calls.append(len(paths))
        if len(calls) == 1:
            with monkeypatch.context() as patched:
                patched.setattr(cache_module, "COMPACT_AT", 1)
                patched.setattr(EmbeddingCache, "_shards", listed)
                self._compact(fingerprint)
        return paths

    monkeypatch.setattr(EmbeddingCache, "_shards", merge_after_the_first_listing)
    vectors, found = cache.get("f", [b"a" * 32, b"c" * 32], 4)
    assert found.all() and vectors[:, 0].tolist() == [97, 99]
    assert calls[:2] == [3, 1]


def test_neighbours_may_write_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "SHARD_ROWS", 3)
    monkeypatch.setattr(cache_module, "COMPACT_AT", 2)
    texts = [str(number) for number in range(40)]
    orders = [texts[shift:] + texts[:shift] for shift in (0, 10, 20, 30)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda order: run(CountingEncoder(), order, tmp_path), orders))
    for order, vectors in zip(orders, results, strict=True):
        np.testing.assert_array_equal(vectors, expected(order))
    encoder = CountingEncoder()
    np.testing.assert_array_equal(run(encoder, texts, tmp_path), expected(texts))
    assert encoder.ran == []


def test_bad_hashes_are_refused_and_numbers_that_are_not_finite_and_half_a_shard_never_stored(tmp_path, monkeypatch):
    cache, encoder = EmbeddingCache(tmp_path), CountingEncoder()
    with pytest.raises(UsageError, match="2 inputs came with 1 hashes"):
        encode_cached(encoder, ["a", "b"], text_hashes(["a"]), cache)
    for wrong in ("z" * 64, "abcd"):
        with pytest.raises(UsageError, match=f"'{wrong}' is not 64 hex digits"):
            encode_cached(encoder, ["a"], [wrong], cache)
    encoder.encode = lambda inputs, progress=None: np.full((len(inputs), 4), np.nan, dtype=np.float32)
    with pytest.raises(HubspokeError, match="counting gave vectors that are not finite"):
        run(encoder, ["a"], tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_cache_that_cannot_be_written_costs_a_note_and_not_the_run(tmp_path, monkeypatch):
    texts, notes = ["a", "b", "c"], []
    cache = EmbeddingCache(tmp_path / "cache", notes.append)
    monkeypatch.setattr(cache_module, "SHARD_ROWS", 1)

    def encoded(own):
        return encode_cached(CountingEncoder(), own, text_hashes(own), cache)

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", Mock(side_effect=OSError(28, "No space left on device")))
        np.testing.assert_array_equal(encoded(texts), expected(texts))
    # Three shards, one note.
    said = f"The embedding cache {tmp_path / 'cache'} cannot be written (No space left on device); going on without."
    assert notes == [said]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    np.testing.assert_array_equal(encoded(["d"]), expected(["d"]))
    assert notes == [said, f"The embedding cache {tmp_path / 'cache'} can be written again."]
    (tmp_path / "file").write_text("in the way")
    blocked = EmbeddingCache(tmp_path / "file", notes.append)
    np.testing.assert_array_equal(encode_cached(CountingEncoder(), texts, text_hashes(texts), blocked), expected(texts))
    assert notes[2:] == [
        f"The embedding cache {tmp_path / 'file'} cannot be written (Not a directory); going on without."
    ]


def test_hashes_are_of_the_content(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("abc")
    a, b = file_hashes([tmp_path / "a", str(tmp_path / "b")])
    assert a == b == text_hashes(["abc"])[0]
    assert a == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    with pytest.raises(InvalidDataError, match="cannot be read"):
        file_hashes([tmp_path / "c"])


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6), max_size=5))
def test_each_distinct_input_runs_exactly_once_ever(tmp_path_factory, batches):
    directory, encoder = tmp_path_factory.mktemp("cache"), CountingEncoder()
    for batch in batches:
        np.testing.assert_array_equal(run(encoder, batch, directory), expected(batch).reshape(len(batch), 4))
    assert sorted(encoder.ran) == sorted({text for batch in batches for text in batch})

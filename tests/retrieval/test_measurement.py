"""Measuring an index, tuning its effort, and choosing a kind by what was measured."""

from dataclasses import replace

import numpy as np
import pytest
from hubspoke.errors import QualityGateError
from hubspoke.retrieval.base import ItemIndex
from hubspoke.retrieval.kinds import index_kinds
from hubspoke.retrieval.measurement import BY_COST, FLAT_UP_TO, IndexRequest, Measurement, Sample, Targets, choose
from pydantic import ValidationError

N = 3000
RNG = np.random.default_rng(0)
VECTORS = (RNG.standard_normal((N, 12)) * RNG.uniform(0.5, 1.5, (N, 1))).astype(np.float32)
QUERIES = RNG.standard_normal((60, 12)).astype(np.float32)
FLAT = ItemIndex.build(VECTORS, [str(row) for row in range(N)], "space")
SAMPLE = Sample.of(VECTORS, QUERIES)
FOUND = Measurement("ivf", 8, 1_000_000, 60, 0.98, 1.0, 5.0, 900.0, 512.0, 3.0)


def test_the_order_of_cost_names_every_kind():
    assert set(BY_COST) == set(index_kinds()) - {"listed"}


def test_recall_counts_what_scores_like_the_tenth():
    assert SAMPLE.recall(FLAT) == 1.0
    scores = QUERIES.astype(float) @ VECTORS.T.astype(float)
    np.testing.assert_allclose(SAMPLE.tenth, np.sort(scores, axis=1)[:, -10], rtol=1e-6)
    # Twins of the best answer stand for it, more than ten of them count as ten.
    twins = ItemIndex.build(np.repeat(VECTORS[:40], 30, axis=0), range(1200), "space", "ivf")
    assert Sample.of(twins.vectors(), QUERIES).recall(twins.with_effort(128)) == 1.0
    # Without the five best of each question half of the answers are missing.
    best = np.argsort(-scores[0])[:5]
    lacking = ItemIndex.build(np.delete(VECTORS, best, axis=0), range(N - 5), "space")
    assert Sample(QUERIES[:1], SAMPLE.tenth[:1]).recall(lacking) == 0.5


def test_effort_rises_until_the_recall_is_met_and_no_further():
    built = ItemIndex.build(VECTORS, FLAT.item_ids, "space", "ivf")
    low, high = SAMPLE.tuned(built, 0.3), SAMPLE.tuned(built, 0.999)
    assert low.index.settings["effort"] == built.index.efforts[0] < high.index.settings["effort"]
    assert SAMPLE.recall(low) < 0.999 <= SAMPLE.recall(high)
    found = SAMPLE.measured(high, 2.5)
    assert (found.kind, found.n_vectors, found.n_queries, found.build_seconds) == ("ivf", N, 60, 2.5)
    assert (found.effort, found.recall) == (high.index.settings["effort"], round(SAMPLE.recall(high), 4))
    assert 0 < found.p50_ms <= found.p99_ms and found.per_second > 0
    assert 4 * 13 < found.bytes_per_vector < 120  # the column for the norm, padding, ids, centroids
    assert SAMPLE.measured(FLAT).bytes_per_vector == 48


@pytest.mark.parametrize(
    ("targets", "missed"),
    [
        ({"recall": 0.98, "latency_ms": 5, "memory_gb": 0.6}, []),
        ({}, ["recall@10 0.9800 < 0.99"]),
        ({"recall": 0.9, "latency_ms": 4}, ["p99 5.00 ms > 4 ms"]),
        ({"recall": 0.9, "memory_gb": 0.5}, ["0.512 GB > 0.5 GB"]),
    ],
)
def test_what_was_missed_is_told_with_both_values(targets, missed):
    assert Targets(**targets).missed(FOUND) == missed


def test_targets_are_checked():
    wrong = ({"recall": 1.5}, {"recall": 0}, {"latency_ms": 0}, {"memory_gb": -1}, {"speed": 3}, {"kind": "tree"})
    for fields in wrong:
        with pytest.raises(ValidationError):
            IndexRequest(**fields)


def test_without_a_kind_it_is_the_flat_one_while_that_is_quick():
    small, large = IndexRequest().settled(FLAT_UP_TO), IndexRequest().settled(FLAT_UP_TO + 1)
    assert (small.kind, small.latency_ms, large.kind, large.latency_ms) == ("flat", None, "auto", 20.0)
    assert IndexRequest(kind="hnsw", latency_ms=3).settled(10) == IndexRequest(kind="hnsw", latency_ms=3)


def test_auto_takes_the_cheapest_that_is_good_enough():
    chosen, tried = choose(IndexRequest(kind="auto", latency_ms=1000), FLAT, SAMPLE)
    assert (chosen.measurement.kind, len(tried)) == ("flat", 1)
    # 48 bytes a vector are too many: one byte a column is not.
    chosen, tried = choose(IndexRequest(kind="auto", latency_ms=1000, memory_gb=48 * N / 1e9 / 2), FLAT, SAMPLE)
    assert (chosen.measurement.kind, [trial.measurement.kind for trial in tried]) == ("sq8", ["flat", "sq8"])
    assert tried[0].missed == ["0.000144 GB > 7.2e-05 GB"] and "flat: 0.000144 GB" in tried[0].words
    with pytest.raises(QualityGateError, match=r"No index meets.*flat: p99.*hnsw: p99 .* ms > 1e-06 ms.*--latency-ms"):
        choose(IndexRequest(kind="auto", latency_ms=1e-6), FLAT, SAMPLE)
    with pytest.raises(QualityGateError, match="ivf-pq: 0"):
        choose(IndexRequest(kind="ivf-pq", memory_gb=1e-9), FLAT, SAMPLE)


def test_nothing_to_ask_is_no_fault():
    empty = Sample.of(VECTORS, QUERIES[:0])
    assert (empty.recall(FLAT), empty.measured(FLAT).n_queries) == (1.0, 0)
    assert replace(FLAT).with_effort(3).search(QUERIES[:1], 3) == FLAT.search(QUERIES[:1], 3)

"""The benchmark of index kinds, small: its tables say what was measured."""

import json

import numpy as np
import pytest
from hubspoke.retrieval.base import ItemIndex

pytest.importorskip("torch")

from benchmarks import retrieval


def args(tmp_path, **more):
    given = {"n": 2500, "dimension": 16, "queries": 25, "index": None, "recall": 0.95, "latency_ms": 1000.0}
    given |= {"kinds": "flat,ivf,ivf-pq", "filtered": "ivf", "hnswlib": False, "batches": 2} | more
    return type("Arguments", (), given)()


def test_every_part_is_measured_and_shown(tmp_path):
    report = retrieval.run(args(tmp_path))
    json.dumps(report)
    assert [own["kind"] for own in report["kinds"]] == ["flat", "ivf", "ivf-pq"] and report["auto"] == "flat"
    assert all(own["recall"] >= 0.95 and own["raw"]["batch_per_second"] > 0 for own in report["kinds"])
    assert [row["share"] for row in report["filters"]["ivf"]] == [0.5, 0.1, 0.01, 0.001] * 2
    assert all(row["short"] == 0 and row["recall"] >= 0.9 for row in report["filters"]["ivf"])
    assert report["growth"][-1]["all_found"] and report["growth"][-1]["items"] == 2500
    shown = retrieval.markdown(report)
    assert "`auto` takes **flat**" in shown and shown.count("| ivf") == 2
    assert "Every item is found at the end: True" in shown


def test_stored_vectors_are_repeated_with_a_little_noise(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32)
    ItemIndex.build(vectors, [str(row) for row in range(30)], "space").save(tmp_path)
    made, item = retrieval.repeated(str(tmp_path), 500)
    assert made.shape == (500, 8) and 0.05 < np.abs(made - vectors[item]).std() < 0.2

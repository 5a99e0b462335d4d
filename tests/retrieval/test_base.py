"""What every kind of index promises: exact answers among what is allowed, its vectors, a checked form on disk."""

import gc
import json

import numpy as np
import pytest
from hubspoke.errors import CorruptArtifactError, IncompatibleError
from hubspoke.retrieval.base import ItemIndex
from hubspoke.retrieval.kinds import FLAT, VectorIndex, index_kind, index_kinds
from hypothesis import given, settings
from hypothesis import strategies as st

SPACE = "a" * 64
every_kind = pytest.mark.parametrize("kind", sorted(index_kinds()))


def index(n=20, d=5, seed=0, kind=FLAT):
    vectors = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return ItemIndex.build(vectors, [f"item {i}" for i in range(n)], SPACE, kind)


def queries(b=4, d=5):
    return np.random.default_rng(9).standard_normal((b, d)).astype(np.float32)


@every_kind
@given(k=st.integers(1, 30), n=st.integers(0, 25), seed=st.integers(0, 99), hidden=st.sets(st.integers(0, 24)))
def test_the_search_is_exact_among_what_is_allowed(kind, k, n, seed, hidden):
    made, asked = index(n, seed=seed, kind=kind), queries()
    allowed = np.array([row not in hidden for row in range(n)], dtype=bool)
    scores = np.where(allowed, asked @ made.vectors().T, -np.inf)
    best = np.argsort(-scores, axis=1)[:, : min(k, allowed.sum())]
    found = made.search(asked, k, allowed)
    assert [[row for row, _ in own] for own in found] == best.tolist()
    for b, own in enumerate(found):
        np.testing.assert_allclose([score for _, score in own], scores[b, best[b]], atol=1e-4)
    if allowed.all():
        assert made.search(asked, k) == found
    assert made.search(queries(0), k) == []


@pytest.mark.slow
@every_kind
def test_vectors_are_looked_at_where_they_lie_and_outlive_the_index(kind):
    given_vectors = queries(200)
    seen = ItemIndex.build(given_vectors, range(200), SPACE, kind).vectors()
    gc.collect()
    others = [ItemIndex.build(queries(200) * 7, range(200), SPACE, kind) for _ in range(5)]
    np.testing.assert_array_equal(seen, given_vectors)
    assert others and others[0].vectors() is others[0].vectors()
    with pytest.raises(ValueError, match="read-only"):
        seen[0, 0] = 1.0


def test_another_space_is_refused():
    index().require_space(SPACE)
    with pytest.raises(IncompatibleError, match=r"space aaaaaaaaaaaa but is asked with vectors of bbb.*index build"):
        index().require_space("b" * 64)


@every_kind
@pytest.mark.parametrize("n", [0, 3])
def test_a_saved_index_loads_the_same(tmp_path, n, kind):
    made = ItemIndex.build(np.eye(3, dtype=np.float32)[:n], ["é", "b/c", "😀"][:n], SPACE, kind)
    made.save(tmp_path)
    loaded = ItemIndex.load(tmp_path)
    assert (loaded.item_ids, loaded.space_fingerprint, loaded.dimension) == (made.item_ids, SPACE, 3)
    np.testing.assert_array_equal(loaded.vectors(), made.vectors())
    assert loaded.search(queries(2, 3), 2) == made.search(queries(2, 3), 2)
    about = json.loads((tmp_path / "index.json").read_text())
    assert about == {"factory": kind, "metric": "inner_product", "dimension": 3, "space": SPACE}


@every_kind
@pytest.mark.parametrize("content", [b"", b"{garbage", b"\xff\xfe", b"{}", b"3", None])
def test_a_damaged_part_is_corrupt(tmp_path, kind, content):
    index(kind=kind).save(tmp_path)
    parts = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(parts) > 2
    for path, whole in parts.items():
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(CorruptArtifactError, match="--force"):
            ItemIndex.load(tmp_path)
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("about", "error", "words"),
    [
        ({"metric": "l2"}, IncompatibleError, "ranks by l2, this version by inner_product"),
        ({"factory": "Tree"}, IncompatibleError, "is of kind Tree, this version knows .*flat"),
        ({"dimension": 7}, CorruptArtifactError, "5 columns, not 7"),
    ],
)
def test_what_index_json_says_must_fit(tmp_path, about, error, words):
    index().save(tmp_path)
    said = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(said | about))
    with pytest.raises(error, match=words):
        ItemIndex.load(tmp_path)
    (tmp_path / "item_ids.json").write_text(json.dumps(["only", "three", "ids"]))
    (tmp_path / "index.json").write_text(json.dumps(said))
    with pytest.raises(CorruptArtifactError, match="20 vectors for 3 items"):
        ItemIndex.load(tmp_path)


def test_a_kind_is_known_from_its_class_alone(tmp_path):
    class Listed(VectorIndex):
        kind = "listed"

        def __init__(self, vectors):
            self._own = vectors

        @classmethod
        def build(cls, vectors):
            return cls(vectors)

        @classmethod
        def load(cls, folder):
            return cls(np.load(folder / "own.npy"))

        def save(self, folder):
            np.save(folder / "own.npy", self._own)

        def prepared(self, allowed):
            return allowed

        def search(self, queries, k, allowed=None, effort=1.0):
            scores = queries @ self._own.T if allowed is None else np.where(allowed, queries @ self._own.T, -np.inf)
            rows = np.argsort(-scores, axis=1)[:, :k]
            best = np.take_along_axis(scores, rows, axis=1)
            return np.where(np.isfinite(best), rows, -1)

        @property
        def nbytes(self):
            return self._own.nbytes

        @property
        def vectors(self):
            return self._own

    assert index_kind("listed") is Listed
    flat = index(6)
    made = ItemIndex.build(flat.vectors(), flat.item_ids, SPACE, kind="listed")
    made.save(tmp_path)
    found = ItemIndex.load(tmp_path)
    allowed = np.arange(6) != 2
    for own, other in zip(found.search(queries(), 6, allowed), flat.search(queries(), 6, allowed), strict=True):
        assert own == [(row, pytest.approx(score, abs=1e-5)) for row, score in other]


def test_equal_scores_go_by_row_and_a_shorter_list_begins_a_longer_one() -> None:
    vectors = np.repeat(np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32), 5, axis=0)  # each five times
    index = ItemIndex.build(vectors, [str(row) for row in range(100)], "space")
    queries = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    allowed = np.arange(100) % 7 != 0
    whole = index.search(queries, 100, allowed)
    for k in (1, 3, 4, 9, 50):
        assert index.search(queries, k, allowed) == [found[:k] for found in whole]
        assert index.search(queries[:1], k, allowed)[0] == whole[0][:k]
    exact = queries[0].astype(np.float64) @ vectors.T.astype(np.float64)
    rows = [row for row, _ in whole[0]]
    assert rows == sorted(np.flatnonzero(allowed).tolist(), key=lambda row: (-round(exact[row], 9), row))


@every_kind
@settings(max_examples=12)
@given(st.integers(0, 99), st.integers(1, 40), st.sampled_from([1.0, 1e4]), st.sampled_from([0.0, 1e-7, 1e-4]))
def test_a_question_is_ranked_alike_alone_and_among_others(kind, seed, k, norm, noise):
    """Many rows are equal but for the last bits, and of norms that single precision loses the product in."""
    rng = np.random.default_rng(seed)
    few = rng.standard_normal((5, 12))
    vectors = np.hstack([few[np.arange(60) % 5], np.full((60, 1), norm)])
    vectors[:, :12] *= 1 + noise * rng.standard_normal((60, 12))
    made = ItemIndex.build(vectors.astype(np.float32), range(60), SPACE, kind)
    asked = np.hstack([rng.standard_normal((30, 12)), np.zeros((30, 1))]).astype(np.float32)
    whole = [made.search(one[None], 60)[0] for one in asked]
    scores = np.round(made.vectors().astype(np.float64) @ asked.astype(np.float64).T, 6)
    for own, column in zip(whole, scores.T, strict=True):
        assert [row for row, _ in own] == np.argsort(-column, kind="stable").tolist()
    assert made.search(asked, k) == [own[:k] for own in whole]


def test_a_catalog_of_equal_rows_is_ranked_by_row_without_end():
    made = ItemIndex.build(np.ones((5000, 4), np.float32), range(5000), SPACE)
    found = made.search(np.ones((1, 4), np.float32), 4990)[0]
    assert found == [(row, 4.0) for row in range(4990)] and made.search(np.ones((1, 4), np.float32), 3)[0] == found[:3]
    assert made.search(np.zeros((1, 4), np.float32), 2)[0] == [(0, 0.0), (1, 0.0)]

import json

import numpy as np
import pytest
from hubspoke.errors import CorruptArtifactError, IncompatibleError, UsageError
from hubspoke.retrieval.faiss_index import ItemIndex, build_index
from hypothesis import given
from hypothesis import strategies as st

SPACE = "a" * 64


def index(n=20, d=5, seed=0):
    rng = np.random.default_rng(seed)
    return build_index(rng.standard_normal((n, d)).astype(np.float32), [f"item {i}" for i in range(n)], SPACE)


def queries(b=4, d=5):
    return np.random.default_rng(9).standard_normal((b, d)).astype(np.float32)


def expected(made, asked, k, exclude=()):
    scores = asked @ made.vectors().T
    scores[:, list(exclude)] = -np.inf
    order = np.argsort(-scores, axis=1)[:, :k]
    return [[int(row) for row in own if scores[b, row] > -np.inf] for b, own in enumerate(order)]


def rows(found):
    return [[row for row, _ in own] for own in found]


@given(k=st.integers(1, 30), n=st.integers(1, 25), seed=st.integers(0, 99))
def test_the_search_is_exact(k, n, seed):
    made, asked = index(n, seed=seed), queries()
    found = made.search(asked, k)
    assert rows(found) == expected(made, asked, k)
    scores = asked @ made.vectors().T
    for b, own in enumerate(found):
        for row, score in own:
            assert score == pytest.approx(float(scores[b, row]), abs=1e-4)


@given(st.sets(st.integers(0, 19)), st.integers(1, 20))
def test_excluded_rows_make_room_for_the_next_best(exclude, k):
    made, asked = index(), queries(1)
    assert rows(made.search(asked, k, exclude=[sorted(exclude)])) == expected(made, asked, k, exclude)


def test_each_query_has_its_own_exclusions():
    made, asked = index(), queries(2)
    first = rows(made.search(asked, 1))
    found = rows(made.search(asked, 3, exclude=[first[0] * 2, []]))
    assert first[0][0] not in found[0] and found[1][0] == first[1][0]
    assert [len(own) for own in found] == [3, 3]


def test_added_items_are_searched_beside_the_others():
    made = index(5)
    more = np.eye(5, dtype=np.float32)[:2] * 100
    grown = made.add(["new", "newer"], more, SPACE)
    assert grown.item_ids == (*made.item_ids, "new", "newer") and len(made) == 5
    np.testing.assert_array_equal(grown.vectors(), np.concatenate([made.vectors(), more]))
    assert rows(grown.search(np.eye(5, dtype=np.float32)[:2], 1)) == [[5], [6]]
    assert grown.space_fingerprint == SPACE


def test_vectors_of_another_space_are_never_mixed_in():
    made = index(5)
    with pytest.raises(IncompatibleError, match="embedding space aaaaaaaaaaaa but is asked with vectors of bb"):
        made.add(["new"], np.ones((1, 5), np.float32), "b" * 64)
    with pytest.raises(IncompatibleError, match="holds vectors of 5 columns, not 4"):
        made.add(["new"], np.ones((1, 4), np.float32), SPACE)
    with pytest.raises(UsageError, match="item 3 is in the index already"):
        made.add(["new", "item 3"], np.ones((2, 5), np.float32), SPACE)


def test_a_selection_keeps_vectors_with_their_items():
    made = index(5)
    chosen = made.select(["item 4", "item 0"])
    assert chosen.item_ids == ("item 4", "item 0")
    np.testing.assert_array_equal(chosen.vectors(), made.vectors()[[4, 0]])


def test_an_index_of_another_metric_is_refused(tmp_path):
    index(3).save(tmp_path)
    about = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({**about, "metric": "l2"}))
    with pytest.raises(IncompatibleError, match="ranks by l2, this version by inner_product"):
        ItemIndex.load(tmp_path)


def test_more_than_there_is():
    assert [len(own) for own in index(3).search(queries(), 100)] == [3] * 4
    assert index(3).search(queries(1), 5, exclude=[[0, 1, 2]]) == [[]]


def test_an_empty_index_finds_nothing(tmp_path):
    made = index(0)
    assert len(made) == 0 and made.vectors().shape == (0, 5)
    assert made.search(queries(2), 3) == [[], []]
    made.save(tmp_path)
    assert len(ItemIndex.load(tmp_path)) == 0


def test_no_query():
    assert index().search(queries(0), 3) == []


def test_a_saved_index_loads_the_same(tmp_path):
    made = build_index(np.eye(3, dtype=np.float32), ["é", "b/c", "😀"], SPACE)
    made.save(tmp_path)
    loaded = ItemIndex.load(tmp_path)
    assert (loaded.item_ids, loaded.space_fingerprint, loaded.dimension) == (("é", "b/c", "😀"), SPACE, 3)
    np.testing.assert_array_equal(loaded.vectors(), np.eye(3))
    assert loaded.search(queries(2, 3), 2) == made.search(queries(2, 3), 2)
    about = json.loads((tmp_path / "index.json").read_text())
    assert about == {"factory": "Flat", "metric": "inner_product", "dimension": 3, "space": SPACE}


def test_another_space_is_refused():
    index().require_space(SPACE)
    with pytest.raises(IncompatibleError, match=r"aaaaaaaaaaaa.*bbbbbbbbbbbb.*hubspoke index build"):
        index().require_space("b" * 64)


@pytest.mark.parametrize("name", ["index.json", "item_ids.json", "items.faiss"])
@pytest.mark.parametrize("content", [b"", b"{garbage", b"\xff\xfe", b"{}", b"3", None])
def test_a_damaged_part_is_corrupt(tmp_path, name, content):
    index().save(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptArtifactError, match="--force"):
        ItemIndex.load(tmp_path)


def test_parts_of_two_indexes_are_corrupt(tmp_path):
    index(20).save(tmp_path)
    (tmp_path / "item_ids.json").write_text(json.dumps(["only", "three", "ids"]))
    with pytest.raises(CorruptArtifactError, match="20 vectors for 3 items"):
        ItemIndex.load(tmp_path)
    index(20, d=5).save(tmp_path)
    about = json.loads((tmp_path / "index.json").read_text()) | {"dimension": 7}
    (tmp_path / "index.json").write_text(json.dumps(about))
    with pytest.raises(CorruptArtifactError, match="5 columns, not 7"):
        ItemIndex.load(tmp_path)

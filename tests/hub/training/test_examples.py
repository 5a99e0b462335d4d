import numpy as np
import polars as pl
from hubspoke.hub.config import HubConfig
from hubspoke.hub.content import fit_content_space
from hubspoke.hub.fusion import EncodedItems
from hubspoke.hub.training.examples import EncoderExamples, among, drawn_items, explainable, leaf_numbers
from hypothesis import given, settings
from hypothesis import strategies as st


def examples(pairs, leaves):
    encoded = EncodedItems(np.eye(len(leaves), dtype=np.float32), np.zeros((len(leaves), 0), np.float32))
    known = np.array(pairs, np.int64).reshape(-1, 2)
    return EncoderExamples(encoded, fit_content_space(encoded, HubConfig()), known, known, np.array(leaves))


def test_what_shoppers_met_together_and_an_item_itself_are_no_negatives():
    own = examples([[0, 1], [2, 0]], [0, 0, 0, 0])
    found = own.false_negatives(np.array([0, 1, 3]), np.array([0, 1, 2, 3]))
    assert found.tolist() == [[True, True, True, False], [True, True, False, False], [False, False, False, True]]
    nothing = examples([], [0, 0])
    assert nothing.false_negatives(np.array([0]), np.array([0, 1])).tolist() == [[True, False]]


def test_hard_negatives_are_of_the_same_leaf_and_all_of_it_is_drawn():
    own = examples([], [1, 0, 1, 0, 2, 1])
    drawn = own.hard_negatives(np.array([0, 3, 4]), 60, np.random.default_rng(0)).reshape(3, 60)
    assert [set(row) for row in drawn.tolist()] == [{0, 2, 5}, {1, 3}, {4}]
    assert own.hard_negatives(np.array([0]), 0, np.random.default_rng(0)).size == 0


def test_a_pair_counts_where_the_partner_is_among_the_nearest():
    content = np.array([[1, 0], [0.9, 0.1], [0.5, 0.5], [0, 1]], np.float32)
    pairs = np.array([[0, 1], [0, 2], [0, 3], [3, 2]])
    assert explainable(pairs, content, 0.25).tolist() == [[0, 1], [3, 2]]  # one item of four
    assert explainable(pairs, content, 0.5).tolist() == [[0, 1], [0, 2], [3, 2]]
    assert explainable(pairs, content, 1.0).tolist() == pairs.tolist()
    assert explainable(pairs[:0], content, 0.5).shape == (0, 2)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12), st.integers(1, 10))
def test_drawn_items_are_some_of_the_pairs_and_what_is_among_them_is_all_there_is(rows, at_most):
    pairs = np.array(rows, np.int64).reshape(-1, 2)
    items = drawn_items(pairs, at_most, np.random.default_rng(0))
    assert len(items) == min(at_most, len(np.unique(pairs))) and (np.diff(items) > 0).all()
    kept = items[among(pairs, items)].reshape(-1, 2).tolist()
    assert kept == [list(row) for row in rows if set(row) <= set(items.tolist())]


def test_leaves_are_told_apart_by_the_whole_path():
    paths = [["Home", "Lamps"], ["Garden", "Lamps"], None, ["Home", "Lamps"], []]
    numbers = leaf_numbers(pl.DataFrame({"item_id": list("abcde"), "category_path": paths})).tolist()
    assert numbers[0] == numbers[3] and numbers[2] == numbers[4] and len(set(numbers)) == 3
    assert leaf_numbers(pl.DataFrame({"item_id": ["a", "b"]})).tolist() == [0, 0]

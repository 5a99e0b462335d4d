from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hubspoke.spokes.batches import MASK, PADDING, Batch, BucketedBatches, pad_histories, windows
from hypothesis import given
from hypothesis import strategies as st

ROWS = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=14), max_size=8)


def batches(made, max_length=4, tokens=12, seed=0):
    return BucketedBatches(made, max_length=max_length, tokens=tokens, seed=seed)


def transitions(batch):
    valid = batch.valid
    return list(zip(batch.inputs[valid].tolist(), batch.targets[valid].tolist(), strict=True))


def flat(made, epoch):
    return [(batch.inputs.tolist(), batch.targets.tolist()) for batch in made.epoch(epoch)]


@given(rows=ROWS, max_length=st.integers(2, 6), tokens=st.integers(2, 40), epoch=st.integers(0, 3))
def test_every_transition_exactly_once_an_epoch(sequences, rows, max_length, tokens, epoch):
    made = batches(sequences(*rows), max_length, tokens)
    seen = Counter(pair for batch in made.epoch(epoch) for pair in transitions(batch))
    expected = Counter(pair for row in rows for pair in pairwise(row))
    assert seen == expected
    assert made.n_transitions == expected.total()


@given(rows=ROWS, max_length=st.integers(2, 6), tokens=st.integers(6, 40))
def test_no_batch_exceeds_its_budget_or_the_window(sequences, rows, max_length, tokens):
    made = batches(sequences(*rows), max_length, tokens)
    drawn = list(made.epoch(0))
    assert sum(len(batch.inputs) for batch in drawn) == made.n_windows
    for batch in drawn:
        assert batch.inputs.shape == batch.targets.shape
        assert batch.inputs.shape[1] <= max_length and batch.inputs.size <= tokens
        # Padded on the right only, on both sides at once, and never with an empty row.
        assert (np.diff(batch.valid.astype(int), axis=1) <= 0).all() and batch.valid[:, 0].all()
        np.testing.assert_array_equal(batch.inputs == PADDING, ~batch.valid)


def test_one_window_may_be_wider_than_the_budget(sequences):
    drawn = list(batches(sequences([0, 1, 2, 3]), max_length=4, tokens=2).epoch(0))
    assert [batch.inputs.tolist() for batch in drawn] == [[[0, 1, 2]]]


def test_a_batch_by_hand(sequences):
    made = batches(sequences([0, 1, 2], [3, 4]), tokens=100)
    (batch,) = made.epoch(0)
    assert batch.inputs.tolist() == [[3, PADDING], [0, 1]]
    assert batch.targets.tolist() == [[4, PADDING], [1, 2]]
    assert batch.valid.tolist() == batch.scored.tolist() == [[True, False], [True, True]]


def test_a_hidden_item_is_seen_by_attention_and_only_what_has_a_target_is_scored():
    batch = Batch(inputs=np.array([[MASK, 4], [5, PADDING]]), targets=np.array([[3, PADDING], [PADDING, PADDING]]))
    assert batch.valid.tolist() == [[True, True], [True, False]]
    assert batch.scored.tolist() == [[True, False], [False, False]]


def test_similar_lengths_meet(sequences):
    rows = [[0, 1]] * 20 + [[0, 1, 2, 3, 4]] * 20
    for batch in batches(sequences(*rows), tokens=20).epoch(0):
        assert batch.valid.all()


def test_seed_and_epoch_decide_the_order(sequences):
    rows = [[i % 6, (i + 1) % 6, (i * 5) % 6] for i in range(40)]
    made = sequences(*rows)
    assert flat(batches(made), 3) == flat(batches(made), 3)
    assert flat(batches(made), 3) != flat(batches(made), 4)
    assert flat(batches(made, seed=1), 3) != flat(batches(made, seed=2), 3)


def test_windows_are_aligned_to_the_end_and_overlap_by_one_event(sequences):
    made = sequences([9], [0, 1, 2, 3, 4, 5, 6], [7, 8], n_items=10)
    starts, lengths = windows(made, 3)
    cut = [made.items[start : start + length].tolist() for start, length in zip(starts, lengths, strict=True)]
    assert cut == [[3, 4, 5, 6], [0, 1, 2, 3], [7, 8]]


@pytest.mark.parametrize("rows", [[], [[0]], [[0], [1], [2]]])
def test_nothing_to_predict_no_batches(sequences, rows):
    made = batches(sequences(*rows))
    assert made.n_windows == made.n_transitions == 0 and list(made.epoch(0)) == []


def test_histories_are_cut_to_the_last_events_and_padded_on_the_right():
    histories = [np.array(own, np.int64) for own in ([1, 2, 3, 4], [5], [])]
    padded = pad_histories(histories, 3)
    assert padded.tolist() == [[2, 3, 4], [5, PADDING, PADDING], [PADDING] * 3]
    assert padded.dtype == np.int64


def test_only_empty_histories_keep_one_column():
    assert pad_histories([np.zeros(0, np.int64)] * 2, 3).tolist() == [[PADDING], [PADDING]]
    assert pad_histories([], 3).shape == (0, 1)

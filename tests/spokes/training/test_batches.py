from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hubspoke.catalog.sequences import History
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.features.statistics import user_folds
from hubspoke.spokes.training.batches import (
    CONTEXT_DROPOUT,
    MASK,
    PADDING,
    Batch,
    BucketedBatches,
    ClozeBatches,
    serving_batch,
    training_batches,
    windows,
    with_context,
)
from hypothesis import given
from hypothesis import strategies as st

ROWS = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=14), max_size=8)


@pytest.fixture
def always(monkeypatch):
    """Batches that never keep times and types to themselves."""
    monkeypatch.setattr("hubspoke.spokes.training.batches.CONTEXT_DROPOUT", 0.0)


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


@given(rows=ROWS, tokens=st.integers(2, 40), folds=st.integers(2, 4), epoch=st.integers(0, 2))
def test_with_folds_a_batch_is_of_users_of_one_and_every_transition_still_comes_once(
    sequences, rows, tokens, folds, epoch
):
    # Items tell their user's fold: user n's are shifted by 6 n.
    rows = [[item + 6 * n for item in row] for n, row in enumerate(rows)]
    data = sequences(*rows, n_items=48)
    expected = Counter(pair for row in rows for pair in pairwise(row))
    own = user_folds(data.user_ids, folds)
    for kind in (BucketedBatches, ClozeBatches):
        made = kind(data, max_length=4, tokens=tokens, seed=0, folds=folds)
        drawn = list(made.epoch(epoch))
        assert sum(len(batch.inputs) for batch in drawn) == made.n_windows
        for batch in drawn:
            assert len(set(batch.folds.tolist())) == 1 and batch.folds.shape == (len(batch.inputs),)
            shown = np.where(batch.inputs >= 0, batch.inputs, batch.targets)
            assert set(own[shown[shown >= 0] // 6].tolist()) == {int(batch.folds[0])}
        if kind is BucketedBatches:
            assert Counter(pair for batch in drawn for pair in transitions(batch)) == expected


def test_users_are_folded_only_where_statistics_are_read(sequences):
    data = sequences([0, 1, 2], [3, 4], [5, 1, 0])
    plain = SpokeConfig.model_validate({"statistics": None})
    assert all(batch.folds is None for batch in training_batches(data, plain).epoch(0))
    assert flat(training_batches(data, plain), 1) == flat(batches(data, 50, 1024), 1)
    folded = SpokeConfig.model_validate({"statistics": {"folds": 2}})
    assert all(batch.folds is not None for batch in training_batches(data, folded).epoch(0))
    whole = SpokeConfig.model_validate({"statistics": {"folds": 1}})
    assert all(batch.folds is None for batch in training_batches(data, whole).epoch(0))


def test_batches_by_hand(sequences):
    (batch,) = batches(sequences([0, 1, 2], [3, 4]), tokens=100).epoch(0)
    assert batch.inputs.tolist() == [[3, PADDING], [0, 1]]
    assert batch.targets.tolist() == [[4, PADDING], [1, 2]]
    assert batch.valid.tolist() == batch.scored.tolist() == [[True, False], [True, True]]
    # One window may be wider than the budget; where there is nothing to predict there are no batches.
    drawn = list(batches(sequences([0, 1, 2, 3]), max_length=4, tokens=2).epoch(0))
    assert [batch.inputs.tolist() for batch in drawn] == [[[0, 1, 2]]]
    for rows in ([], [[0]], [[0], [1], [2]]):
        made = batches(sequences(*rows))
        assert made.n_windows == 0 and list(made.epoch(0)) == []
    # A hidden item is seen by attention, and only what has a target is scored.
    batch = Batch(inputs=np.array([[MASK, 4], [5, PADDING]]), targets=np.array([[3, PADDING], [PADDING, PADDING]]))
    assert batch.valid.tolist() == [[True, True], [True, False]]
    assert batch.scored.tolist() == [[True, False], [False, False]]


def test_similar_lengths_meet(sequences):
    rows = [[0, 1]] * 20 + [[0, 1, 2, 3, 4]] * 20
    for batch in batches(sequences(*rows), tokens=20).epoch(0):
        assert batch.valid.all()


@pytest.mark.parametrize("kind", [BucketedBatches, ClozeBatches])
def test_seed_and_epoch_decide_the_order_and_what_is_hidden(sequences, kind):
    data = sequences(*[[i % 6, (i + 1) % 6, (i * 5) % 6, 2] for i in range(40)])

    def drawn(epoch, seed=0):
        return flat(kind(data, max_length=5, tokens=12, seed=seed), epoch)

    assert drawn(3) == drawn(3) != drawn(4)
    assert drawn(3, seed=1) != drawn(3, seed=2)


def test_windows_are_aligned_to_the_end_and_overlap_by_one_event(sequences):
    made = sequences([9], [0, 1, 2, 3, 4, 5, 6], [7, 8], n_items=10)
    starts, lengths = windows(made, 3)
    cut = [made.items[start : start + length].tolist() for start, length in zip(starts, lengths, strict=True)]
    assert cut == [[3, 4, 5, 6], [0, 1, 2, 3], [7, 8]]


def known(*parts):
    return History(*(np.array(own, np.int64) for own in parts))


def test_sessions_to_serve_are_cut_to_the_last_events_and_asked_there_or_at_a_mask_token():
    sessions = [known([1, 2, 3, 4], [-9, -7, -5, -3], [1, 1, 2, 4]), known([5], [8], [3])]
    batch = serving_batch(sessions, 4, cloze=True)
    assert batch.inputs.tolist() == [[2, 3, 4, MASK], [5, MASK, PADDING, PADDING]]
    assert batch.scored.tolist() == batch.hidden.tolist() == [[False] * 3 + [True], [False, True, False, False]]
    assert batch.timestamps[0].tolist() == [-7, -5, -3, -3] and batch.timestamps[1, :2].tolist() == [8, 8]
    assert batch.event_types[0].tolist() == [1, 2, 4, 0] and batch.event_types[1, :2].tolist() == [3, 0]
    # Without one they are asked at their last event.
    batch = serving_batch([History(own.items) for own in sessions], 3)
    assert batch.inputs.tolist() == [[2, 3, 4], [5, PADDING, PADDING]]
    assert batch.scored.tolist() == [[False, False, True], [True, False, False]]
    assert batch.timestamps is None and batch.event_types is None


def test_what_one_session_lacks_no_session_is_read_with():
    full, bare, empty = known([1, 2], [5, 6], [3, 4]), np.array([7]), np.zeros(0, np.int64)
    read = [(own.timestamps is not None, own.event_types is not None) for own in with_context([full, empty], True)]
    assert read[0] == (True, True)
    dated = known([8], [9])
    assert [own.timestamps is not None for own in with_context([full, dated], True)] == [True, True]
    assert [own.event_types for own in with_context([full, dated], True)] == [None, None]
    for given_sessions, reads in (([full, bare], True), ([full], False)):
        for own in with_context(given_sessions, reads):
            assert own.timestamps is None and own.event_types is None


def cloze(made, max_length=5, tokens=12, seed=0, **more):
    return ClozeBatches(made, max_length=max_length, tokens=tokens, seed=seed, **more)


@given(rows=ROWS, max_length=st.integers(2, 6), tokens=st.integers(6, 40))
def test_cloze_windows_are_those_of_sasrec_with_at_least_one_event_hidden(sequences, rows, max_length, tokens):
    made = sequences(*rows)
    starts, lengths = windows(made, max_length - 1)
    expected = Counter(tuple(made.items[s : s + n].tolist()) for s, n in zip(starts, lengths, strict=True))
    seen = Counter()
    for batch in cloze(made, max_length, tokens).epoch(0):
        assert batch.inputs.shape[1] <= max_length and batch.inputs.size <= max(tokens, max_length)
        np.testing.assert_array_equal(batch.hidden, batch.scored)
        assert batch.hidden.any(axis=1).all()
        whole = np.where(batch.hidden, batch.targets, batch.inputs)
        seen.update(tuple(row[real].tolist()) for row, real in zip(whole, batch.valid, strict=True))
    assert seen == expected


@pytest.mark.parametrize(("mask", "last"), [(0.4, 0.0), (0.01, 0.25), (0.2, 1.0)])
def test_the_shares_of_a_cloze(sequences, monkeypatch, mask, last):
    monkeypatch.setattr("hubspoke.spokes.training.batches.MASK_SHARE", mask)
    monkeypatch.setattr("hubspoke.spokes.training.batches.LAST_SHARE", last)
    hidden = np.concatenate([b.hidden for b in cloze(sequences(*[[0, 1, 2, 3, 4]] * 4000)).epoch(0)])
    # A window without a hidden event gets one: mask + (1 - mask)^5 / 5 each.
    share = mask + (1 - mask) ** 5 / 5
    np.testing.assert_allclose(hidden.mean(axis=0), [*[(1 - last) * share] * 4, last + (1 - last) * share], atol=0.03)
    assert ((hidden.sum(axis=1) == 1) & hidden[:, -1]).mean() >= last - 0.03


@pytest.mark.usefixtures("always")
def test_what_is_hidden_is_not_shown(sequences):
    made = replace(sequences(*[[0, 1, 2, 3, 4, 5]] * 30), event_types=np.full(180, 4, np.int8))
    for batch in cloze(made, 6, 60, context=True).epoch(0):
        assert MASK not in batch.rows and len(batch.rows) == batch.valid.sum()
        # Item i comes at the i-th microsecond of its sequence; a hidden one has the time of the last that is shown.
        told = batch.timestamps % 6
        np.testing.assert_array_equal(told[~batch.hidden], batch.inputs[~batch.hidden])
        for row in range(len(told)):
            shown = [int(i) for i in batch.inputs[row]]
            for t in np.flatnonzero(batch.hidden[row]):
                assert told[row, t] == max([0, *(i for i in shown[:t] if i >= 0)])
        np.testing.assert_array_equal(batch.event_types, np.where(batch.hidden, 0, 4))


@pytest.mark.usefixtures("always")
def test_context_is_told_where_it_is_asked_for(sequences):
    made = replace(sequences([0, 1, 2], [3, 4]), event_types=np.array([1, 2, 3, 4, 5], np.int8))
    (batch,) = batches(made, tokens=100).epoch(0)
    assert batch.timestamps is None and batch.event_types is None
    (batch,) = BucketedBatches(made, max_length=4, tokens=100, seed=0, context=True).epoch(0)
    assert batch.timestamps[1].tolist() == [0, 1] and batch.timestamps[0, 0] == 3
    assert batch.event_types[1].tolist() == [1, 2] and batch.event_types[0, 0] == 4
    (batch,) = BucketedBatches(replace(made, event_types=None), max_length=4, tokens=9, seed=0, context=True).epoch(0)
    assert batch.timestamps is not None and batch.event_types is None


def test_some_batches_keep_the_context_to_themselves(sequences):
    made = BucketedBatches(sequences(*[[0, 1]] * 800), max_length=4, tokens=2, seed=0, context=True)
    shown = [batch.timestamps is not None for batch in made.epoch(0)]
    assert np.mean(shown) == pytest.approx(1 - CONTEXT_DROPOUT, abs=0.04)


@pytest.mark.usefixtures("always")
def test_the_config_decides_the_objective(sequences):
    made = sequences([0, 1, 2, 3, 4, 5])
    transformer = {"dimension": 4, "max_length": 3}
    (batch, *_) = training_batches(made, SpokeConfig(transformer=transformer)).epoch(0)
    assert not batch.hidden.any() and batch.timestamps is None
    config = SpokeConfig(model="bert4rec", transformer={**transformer, "time_bias": True})
    drawn = list(training_batches(made, config).epoch(0))
    assert all(batch.hidden.any() and batch.timestamps is not None for batch in drawn)
    assert max(batch.inputs.shape[1] for batch in drawn) == 3

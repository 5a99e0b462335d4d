from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hubspoke.catalog.sequences import History
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.features.statistics import user_folds
from hubspoke.spokes.training import batches as module
from hubspoke.spokes.training.batches import MASK, PADDING, Batch, BucketedBatches, ClozeBatches, training_batches
from hypothesis import given
from hypothesis import strategies as st

CONTEXT_DROPOUT = module.CONTEXT_DROPOUT
ROWS = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=14), max_size=8)


@pytest.fixture(autouse=True)
def _told_of_time(monkeypatch):
    """Batches that never keep times and types to themselves."""
    monkeypatch.setattr(module, "CONTEXT_DROPOUT", 0.0)


def batches(made, max_length=4, tokens=12, kind=BucketedBatches, seed=0, **more):
    return kind(made, max_length=max_length, tokens=tokens, seed=seed, **more)


def transitions(drawn):
    pairs = (zip(own.inputs[own.valid].tolist(), own.targets[own.valid].tolist(), strict=True) for own in drawn)
    return Counter(pair for own in pairs for pair in own)


def flat(made, epoch):
    return [(batch.inputs.tolist(), batch.targets.tolist()) for batch in made.epoch(epoch)]


@given(rows=ROWS, max_length=st.integers(2, 6), tokens=st.integers(2, 40), epoch=st.integers(0, 3))
def test_every_transition_once_an_epoch_within_the_budget_and_the_window(sequences, rows, max_length, tokens, epoch):
    made = batches(sequences(*rows), max_length, tokens)
    drawn = list(made.epoch(epoch))
    assert transitions(drawn) == Counter(pair for row in rows for pair in pairwise(row))
    assert sum(len(batch.inputs) for batch in drawn) == made.n_windows
    for batch in drawn:
        assert batch.inputs.shape == batch.targets.shape
        assert batch.inputs.shape[1] <= max_length and batch.inputs.size <= max(tokens, batch.inputs.shape[1])
        # Padded on the right only, on both sides at once, and never with an empty row.
        assert (np.diff(batch.valid.astype(int), axis=1) <= 0).all() and batch.valid[:, 0].all()
        np.testing.assert_array_equal(batch.inputs == PADDING, ~batch.valid)


@given(rows=ROWS, tokens=st.integers(2, 40), folds=st.integers(2, 4), epoch=st.integers(0, 2))
def test_with_folds_a_batch_is_of_users_of_one_and_all_transitions_come(sequences, rows, tokens, folds, epoch):
    # Items tell their user's fold: user n's are shifted by 6 n.
    rows = [[item + 6 * n for item in row] for n, row in enumerate(rows)]
    data = sequences(*rows, n_items=48)
    own = user_folds(data.user_ids, folds)
    for kind in (BucketedBatches, ClozeBatches):
        made = batches(data, 4, tokens, kind, folds=folds)
        drawn = list(made.epoch(epoch))
        assert sum(len(batch.inputs) for batch in drawn) == made.n_windows
        for batch in drawn:
            assert len(set(batch.folds.tolist())) == 1 and batch.folds.shape == (len(batch.inputs),)
            shown = np.where(batch.inputs >= 0, batch.inputs, batch.targets)
            assert set(own[shown[shown >= 0] // 6].tolist()) == {int(batch.folds[0])}
        if kind is BucketedBatches:
            assert transitions(drawn) == Counter(pair for row in rows for pair in pairwise(row))


def test_batches_and_windows_by_hand(sequences):
    (batch,) = batches(sequences([0, 1, 2], [3, 4]), tokens=100).epoch(0)
    assert batch.inputs.tolist() == [[3, PADDING], [0, 1]]
    assert batch.targets.tolist() == [[4, PADDING], [1, 2]]
    assert batch.valid.tolist() == batch.scored.tolist() == [[True, False], [True, True]]
    # One window may be wider than the budget; where there is nothing to predict there are no batches.
    (batch,) = batches(sequences([0, 1, 2, 3]), tokens=2).epoch(0)
    assert batch.inputs.tolist() == [[0, 1, 2]]
    for rows in ([], [[0]], [[0], [1], [2]]):
        made = batches(sequences(*rows))
        assert made.n_windows == 0 and list(made.epoch(0)) == []
    # A hidden item is seen by attention, and only what has a target is scored.
    batch = Batch(inputs=np.array([[MASK, 4], [5, PADDING]]), targets=np.array([[3, PADDING], [PADDING, PADDING]]))
    assert batch.valid.tolist() == [[True, True], [True, False]]
    assert batch.scored.tolist() == [[True, False], [False, False]]
    # Similar lengths meet.
    made = batches(sequences(*[[0, 1]] * 20, *[[0, 1, 2, 3, 4]] * 20), tokens=20)
    assert all(batch.valid.all() for batch in made.epoch(0))
    made = sequences([9], [0, 1, 2, 3, 4, 5, 6], [7, 8], n_items=10)
    cut = [made.items[start : start + length].tolist() for start, length in zip(*module.windows(made, 3), strict=True)]
    assert cut == [[3, 4, 5, 6], [0, 1, 2, 3], [7, 8]]


@pytest.mark.parametrize("kind", [BucketedBatches, ClozeBatches])
def test_seed_and_epoch_decide_the_order_and_what_is_hidden(sequences, kind):
    data = sequences(*[[i % 6, (i + 1) % 6, (i * 5) % 6, 2] for i in range(40)])

    def drawn(epoch, seed=0):
        return flat(batches(data, 5, kind=kind, seed=seed), epoch)

    assert drawn(3) == drawn(3) != drawn(4)
    assert drawn(3, seed=1) != drawn(3, seed=2)


def known(*parts):
    return History(*(np.array(own, np.int64) for own in parts))


def test_sessions_to_serve_are_cut_to_the_last_events_and_asked_there_or_at_a_mask_token():
    sessions = [known([1, 2, 3, 4], [-9, -7, -5, -3], [1, 1, 2, 4]), known([5], [8], [3])]
    batch = module.serving_batch(sessions, 4, cloze=True)
    assert batch.inputs.tolist() == [[2, 3, 4, MASK], [5, MASK, PADDING, PADDING]]
    assert batch.scored.tolist() == batch.hidden.tolist() == [[False] * 3 + [True], [False, True, False, False]]
    assert batch.timestamps[0].tolist() == [-7, -5, -3, -3] and batch.timestamps[1, :2].tolist() == [8, 8]
    assert batch.event_types[0].tolist() == [1, 2, 4, 0] and batch.event_types[1, :2].tolist() == [3, 0]
    # Without one they are asked at their last event.
    batch = module.serving_batch([History(own.items) for own in sessions], 3)
    assert batch.inputs.tolist() == [[2, 3, 4], [5, PADDING, PADDING]]
    assert batch.scored.tolist() == [[False, False, True], [True, False, False]]
    assert batch.timestamps is None and batch.event_types is None
    # What one session lacks no session is read with.
    full, dated, bare = known([1, 2], [5, 6], [3, 4]), known([8], [9]), np.array([7])

    def told(*sessions, reads=True):
        own = module.with_context(list(sessions), reads)
        return [(one.timestamps is not None, one.event_types is not None) for one in own]

    assert told(full, np.zeros(0, np.int64))[0] == (True, True)
    assert told(full, dated) == [(True, False)] * 2
    assert told(full, bare) == [(False, False)] * 2 and told(full, reads=False) == [(False, False)]


@given(rows=ROWS, max_length=st.integers(2, 6), tokens=st.integers(6, 40))
def test_cloze_windows_are_those_of_sasrec_with_at_least_one_event_hidden(sequences, rows, max_length, tokens):
    made = sequences(*rows)
    starts, lengths = module.windows(made, max_length - 1)
    expected = Counter(tuple(made.items[s : s + n].tolist()) for s, n in zip(starts, lengths, strict=True))
    seen = Counter()
    for batch in batches(made, max_length, tokens, ClozeBatches).epoch(0):
        assert batch.inputs.shape[1] <= max_length and batch.inputs.size <= max(tokens, max_length)
        assert (batch.hidden == batch.scored).all() and batch.hidden.any(axis=1).all()
        whole = np.where(batch.hidden, batch.targets, batch.inputs)
        seen.update(tuple(row[real].tolist()) for row, real in zip(whole, batch.valid, strict=True))
    assert seen == expected


@pytest.mark.parametrize(("mask", "last"), [(0.4, 0.0), (0.01, 0.25), (0.2, 1.0)])
def test_the_shares_of_a_cloze(sequences, monkeypatch, mask, last):
    monkeypatch.setattr(module, "MASK_SHARE", mask)
    monkeypatch.setattr(module, "LAST_SHARE", last)
    made = batches(sequences(*[[0, 1, 2, 3, 4]] * 4000), 5, kind=ClozeBatches)
    hidden = np.concatenate([batch.hidden for batch in made.epoch(0)])
    # A window without a hidden event gets one: mask + (1 - mask)^5 / 5 each.
    share = mask + (1 - mask) ** 5 / 5
    np.testing.assert_allclose(hidden.mean(axis=0), [*[(1 - last) * share] * 4, last + (1 - last) * share], atol=0.03)
    assert ((hidden.sum(axis=1) == 1) & hidden[:, -1]).mean() >= last - 0.03


def test_what_is_hidden_is_not_shown(sequences):
    made = replace(sequences(*[[0, 1, 2, 3, 4, 5]] * 30), event_types=np.full(180, 4, np.int8))
    for batch in batches(made, 6, 60, ClozeBatches, context=True).epoch(0):
        assert MASK not in batch.rows and len(batch.rows) == batch.valid.sum()
        # Item i comes at the i-th microsecond of its sequence; a hidden one has the time of the last that is shown.
        told, shown = batch.timestamps % 6, batch.inputs
        np.testing.assert_array_equal(told[~batch.hidden], shown[~batch.hidden])
        for row, t in np.argwhere(batch.hidden):
            assert told[row, t] == max([0, *(i for i in shown[row, :t] if i >= 0)])
        np.testing.assert_array_equal(batch.event_types, np.where(batch.hidden, 0, 4))


def test_context_is_told_where_it_is_asked_for_but_some_batches_keep_it_to_themselves(sequences, monkeypatch):
    made = replace(sequences([0, 1, 2], [3, 4]), event_types=np.array([1, 2, 3, 4, 5], np.int8))
    (batch,) = batches(made, tokens=100).epoch(0)
    assert batch.timestamps is None and batch.event_types is None
    (batch,) = batches(made, tokens=100, context=True).epoch(0)
    assert batch.timestamps[1].tolist() == [0, 1] and batch.timestamps[0, 0] == 3
    assert batch.event_types[1].tolist() == [1, 2] and batch.event_types[0, 0] == 4
    (batch,) = batches(replace(made, event_types=None), context=True).epoch(0)
    assert batch.timestamps is not None and batch.event_types is None
    monkeypatch.setattr(module, "CONTEXT_DROPOUT", CONTEXT_DROPOUT)
    shown = [batch.timestamps is not None for batch in batches(sequences(*[[0, 1]] * 800), 4, 2, context=True).epoch(0)]
    assert np.mean(shown) == pytest.approx(1 - CONTEXT_DROPOUT, abs=0.04)


def test_the_config_decides_the_objective_and_users_are_folded_only_where_statistics_are_read(sequences):
    made, transformer = sequences([0, 1, 2, 3, 4, 5]), {"dimension": 4, "max_length": 3}
    (batch, *_) = training_batches(made, SpokeConfig(transformer=transformer)).epoch(0)
    assert not batch.hidden.any() and batch.timestamps is None
    config = SpokeConfig(model="bert4rec", transformer={**transformer, "time_bias": True})
    drawn = list(training_batches(made, config).epoch(0))
    assert all(batch.hidden.any() and batch.timestamps is not None for batch in drawn)
    assert max(batch.inputs.shape[1] for batch in drawn) == 3
    for statistics, folded in ((None, False), ({"folds": 2}, True), ({"folds": 1}, False)):
        own = training_batches(made, SpokeConfig.model_validate({"statistics": statistics}))
        assert all((batch.folds is not None) is folded for batch in own.epoch(0))
        assert statistics or flat(own, 1) == flat(batches(made, 50, 1024), 1)

import math

import numpy as np
import pytest
from hubspoke.evaluation.evaluate import evaluate
from hubspoke.evaluation.protocols import Protocol, leave_one_out
from hubspoke.spokes.training import validation as measures
from hubspoke.spokes.training.validation import Validation, repeat_share, validation
from hypothesis import given
from hypothesis import strategies as st

N = 15


@pytest.fixture(scope="module")
def made_of(sequences):
    return lambda *rows, users=None: sequences(*rows, users=users, n_items=N)


@pytest.fixture(scope="module")
def fresh(made_of):
    """Users who meet no item twice."""
    rng = np.random.default_rng
    return lambda n, seed=0: made_of(*rng(seed).permuted(np.tile(np.arange(N), (n, 1)), axis=1)[:, :6].tolist())


@given(st.integers(1, 12), st.integers(0, 99), st.booleans())
def test_it_is_the_number_that_evaluate_reports(fresh, n_users, seed, exclude_seen):
    made = fresh(n_users, seed)
    users = leave_one_out(made, "validation", Protocol(exclude_seen=exclude_seen))
    # Few distinct values, so that ties are met as well.
    scores = np.random.default_rng(seed).integers(0, 5, (n_users, N)).astype(np.float32)
    whole = evaluate(lambda histories: scores, users)
    own = Validation(users, filter_seen=exclude_seen).ndcg(scores, exclude_seen)
    np.testing.assert_allclose(own, whole["all"].metrics["ndcg@10"], atol=1e-6)
    assert own.mean() == pytest.approx(whole.mean("ndcg@10"), abs=1e-6)


def test_ndcg_by_hand_over_histories_as_the_protocol_cuts_them(made_of):
    users = leave_one_out(made_of([0, 1, 2, 3], [4, 5, 6, 7]), "validation")  # targets 2 and 6
    scores = np.zeros((2, N), np.float32)
    scores[0, [2, 9]] = [2, 3]  # rank 2
    scores[1, 0] = 1  # tied with 13 others behind one: rank 1 + 1 + 6.5
    checked = Validation(users, filter_seen=False)
    assert checked.ndcg(scores, False).tolist() == pytest.approx([1 / math.log2(3), 1 / math.log2(9.5)])
    long = leave_one_out(made_of(list(range(9))), "validation", Protocol(max_history=3))
    assert [history.items.tolist() for history in Validation(long, False).histories] == [[4, 5, 6]]
    for row, at_once in (([0, 1, 1, 3], True), ([1, 0, 1, 3], False)):
        assert Validation(leave_one_out(made_of(row), "validation"), False).returns_at_once is at_once


@pytest.mark.parametrize(
    ("row", "scores", "policy", "rank"),
    [
        ([0, 1, 2, 3], [3, 2, 1], (False,), 3),  # behind two items of the history
        ([0, 1, 2, 3], [3, 2, 1], (True,), 1),
        ([0, 1, 2, 3], [3, 2, 1], (False, 1), 2),  # the last events are held back
        ([0, 1, 2, 3], [3, 2, 1], (False, 9), 1),
        ([0, 1, 0, 3], [1, 0, 0], (False,), 1),
        ([0, 1, 0, 3], [1, 0, 0], (True,), math.inf),  # a target that was seen counts as missed
    ],
)
def test_what_was_seen_makes_room(made_of, row, scores, policy, rank):
    users = leave_one_out(made_of(row), "validation")
    given = np.zeros((1, N), np.float32)
    given[0, :3] = scores
    found = Validation(users, filter_seen=False).ndcg(given, *policy)
    assert found.tolist() == pytest.approx([1 / math.log2(1 + rank)])
    assert given[0, :3].tolist() == scores  # they are not written to


def test_at_most_so_many_users_the_same_for_the_same_seed(fresh, monkeypatch):
    made = fresh(30)
    users = leave_one_out(made, "validation")
    drawn = [validation(users, made, 10, seed).users for seed in (1, 1, 2)]
    assert [len(own) for own in drawn] == [10, 10, 10]
    assert drawn[0].users == drawn[1].users != drawn[2].users
    place = {name: row for row, name in enumerate(users.users)}
    for name, history, target in zip(drawn[0].users, drawn[0].histories, drawn[0].targets, strict=True):
        np.testing.assert_array_equal(history, users.histories[place[name]])
        np.testing.assert_array_equal(target, users.targets[place[name]])
    assert validation(users, made, 30, 0).users is users
    # A large catalog takes fewer.
    monkeypatch.setattr(measures, "MAX_MIXTURE_SCORES", 9 * N)
    monkeypatch.setattr(measures, "MAX_SCORES", 4 * N)
    checked = validation(users, made, 20, 0)
    assert len(checked.users) == 9
    sampled = [checked.sample(most, seed).users for most, seed in ((20, 0), (3, 0), (3, 0), (3, 1))]
    assert [len(own) for own in sampled] == [4, 3, 3, 3]
    assert sampled[1].users == sampled[2].users != sampled[3].users
    assert set(sampled[1].users) < set(checked.users.users)
    monkeypatch.setattr(measures, "MAX_SCORES", 1)
    assert len(checked.sample(10, 0).users) == 1


def test_blocks_are_the_users_in_their_order(fresh, monkeypatch):
    made = fresh(7)
    checked = validation(leave_one_out(made, "validation"), made, 10, 0)
    assert [len(block.users) for block in checked.blocks()] == [7]
    monkeypatch.setattr(measures, "BLOCK_SCORES", 3 * N)
    blocks = list(checked.blocks())
    assert [len(block.users) for block in blocks] == [3, 3, 1]
    assert [user for block in blocks for user in block.users.users] == checked.users.users
    scores = np.random.default_rng(0).standard_normal((7, N)).astype(np.float32)
    parts = [block.ndcg(own, True) for block, own in zip(blocks, np.split(scores, [3, 6]), strict=True)]
    np.testing.assert_array_equal(np.concatenate(parts), checked.ndcg(scores, True))


def test_repeats_by_hand_and_seen_items_are_filtered_where_few_come_back(fresh, made_of):
    # Ann: 0 1 0 and, in another session, 1 2: two of five were met before. Bob: 0, which was Ann's.
    made = made_of([0, 1, 0], [1, 2], [0], users=[0, 0, 1])
    assert repeat_share(made) == pytest.approx(2 / 6)
    assert repeat_share(made_of()) == 0.0
    assert repeat_share(fresh(5)) == 0.0
    # 40 events: one repeat is 2.5 %, two are the 5 % from which on repeats count.
    for repeats in range(3):
        made = made_of(*([user, user + 1, user + 2, user if user < repeats else user + 3] for user in range(10)))
        assert validation(leave_one_out(made, "validation"), made, 10, 0).filter_seen is (repeats < 2)

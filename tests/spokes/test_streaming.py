import numpy as np
import pytest
from hubspoke.catalog.sequences import History
from hubspoke.errors import IncompatibleError, UsageError
from hubspoke.spokes.streaming import SessionState, append_all, resume, start
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LENGTH = 6
CONTEXT, CLOZE = {"time_bias": True, "event_types": True, "dwell": True}, {"model": "bert4rec"}
VARIANTS = {"learned": {}, "scaled": {"scale_inputs": True}, "context": CONTEXT}
VARIANTS |= {"bert4rec": CLOZE, "bert4rec context": CLOZE | CONTEXT}
EVENTS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 10**10), st.integers(0, 7)), min_size=1, max_size=16)
# A model is read, never changed, so that examples may share it.
shared = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def make(build):
    def model(variant="learned", moved=0.3):
        shape = {"dimension": 8, "blocks": 2, "max_length": LENGTH, **VARIANTS[variant]}
        return build(moved=moved, model=shape.pop("model", "sasrec"), transformer=shape).behaviour.model

    return model


@pytest.fixture(params=VARIANTS)
def model(request, make):
    return make(request.param)


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(3).standard_normal((12, 8)).astype(np.float32)


def full_pass(model, vectors, events, told):
    rows, times, types = (np.array(part, np.int64) for part in zip(*events, strict=True))
    return model.session_vectors(vectors, [History(rows, times, types) if told else rows])[0]


def fed(state, vectors, events, told):
    for row, time, kind in events:
        state.append(vectors[row], *((time, kind) if told else ()))
    return state


@shared
@given(drawn=EVENTS, told=st.booleans(), keep=st.none() | st.integers(1, LENGTH - 2))
def test_every_step_equals_the_full_pass_over_its_window(model, vectors, drawn, told, keep):
    times, room = sorted(time for _, time, _ in drawn), LENGTH - model.cloze
    events, state = [(row, time, kind) for (row, _, kind), time in zip(drawn, times, strict=True)], start(model, keep)
    keep = room - 1 if keep is None else keep
    assert not state.embedding.any()
    for n, (row, time, kind) in enumerate(events, 1):
        got = state.append(vectors[row], *((time, kind) if told else ()))
        assert state.window_length == (n if n <= room else keep + 1 + (n - room - 1) % (room - keep))
        window = events[n - state.window_length : n]
        np.testing.assert_allclose(got, full_pass(model, vectors, window, told), atol=1e-5)


@shared
@given(drawn=EVENTS, told=st.booleans(), keep=st.none() | st.integers(1, LENGTH - 2))
def test_a_session_begun_in_its_midst_goes_on_as_if_it_had_been_followed(model, vectors, drawn, told, keep):
    times = sorted(time for _, time, _ in drawn)
    events = [(row, time, kind) for (row, _, kind), time in zip(drawn, times, strict=True)]
    rows, *context = (np.array(part, np.int64) for part in zip(*events, strict=True))
    resumed = resume(model, vectors[rows], *(context if told else ()), keep=keep)
    followed = fed(start(model, keep), vectors, events, told)
    for _ in range(3):
        assert resumed.window_length == followed.window_length
        np.testing.assert_allclose(resumed.embedding, followed.embedding, atol=1e-5)
        for state in (resumed, followed):
            fed(state, vectors, [(5, 10**11, 2)], told)
    assert resume(model, vectors[:0]).window_length == 0 and resumed.nbytes == followed.nbytes > 0


@shared
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=5), told=st.booleans(), seed=st.integers(0, 99))
def test_sessions_that_grow_together_grow_as_each_would_alone(model, vectors, lengths, told, seed):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(12, size=n + 2) for n in lengths]
    events = [[(int(row), 10**6 * 5 * i, int(row) % 8) for i, row in enumerate(own)] for own in rows]
    states = [fed(start(model), vectors, own[:-2], told) for own in events]
    for step in (-2, -1):
        new, times, types = (np.array(part, np.int64) for part in zip(*(own[step] for own in events), strict=True))
        got = append_all(states, vectors[new], *((times, types) if told else ()))
        alone = [full_pass(model, vectors, own[: len(own) + step + 1], told) for own in events]
        np.testing.assert_allclose(got, alone, atol=1e-5)
        np.testing.assert_array_equal(got, [state.embedding for state in states])


def test_copies_and_stored_states_go_on_by_themselves(model, vectors, tmp_path):
    events = [(i % 12, i * 10**7, i % 8) for i in range(9)]
    for cut in (0, 3, 8):
        state = fed(start(model, 2), vectors, events[:cut], True)
        np.savez(tmp_path / "state.npz", **state.arrays())
        with np.load(tmp_path / "state.npz", allow_pickle=False) as arrays:
            stored = SessionState.restore(model, arrays)
        others = (state.copy(), stored)
        for other in others:
            np.testing.assert_array_equal(other.embedding, state.embedding)
            assert (other.keep, other.window_length) == (2, state.window_length)
        fed(state, vectors, [(11, 10**9, 1)], True)
        expected = fed(start(model, 2), vectors, events, True).embedding
        for other in others:
            np.testing.assert_allclose(fed(other, vectors, events[cut:], True).embedding, expected, atol=1e-5)


def positions_of(model):
    """How many positions each pass through the first block computes, as they come."""
    counts = []
    model.transformer.blocks[0].register_forward_pre_hook(lambda _, x: counts.append(x[0].shape[0] * x[0].shape[1]))
    return counts


@pytest.mark.parametrize(
    ("variant", "keep", "counts"),
    [
        # A full window is computed again for every event: all its positions move.
        *((name, None, [1] * LENGTH + [LENGTH] * 3) for name in VARIANTS if "bert4rec" not in name),
        # Keeping less of it makes the average event cheap: LENGTH / (LENGTH - 2) positions.
        ("learned", 2, [1] * LENGTH + [3, 1, 1, 1] * 2),
        ("bert4rec", None, [2, 3, 4, 5, 6, 6, 6]),  # the mask token is the last
    ],
)
def test_the_positions_that_events_cost(make, vectors, variant, keep, counts):
    model = make(variant)
    found = positions_of(model)
    fed(start(model, keep), vectors, [(n % 12, 0, 0) for n in range(len(counts))], False)
    assert found == counts


def test_many_sessions_cost_one_pass(make, vectors):
    model = make()
    states = [fed(start(model), vectors, [(i, 0, 0) for i in range(nth)], False) for nth in range(4)]
    counts = positions_of(model)
    append_all(states, vectors[:4])
    assert counts == [4]
    assert append_all([], vectors[:0]).shape == (0, 8)


def test_times_are_of_all_events_or_of_none(model, vectors):
    state = fed(start(model), vectors, [(1, 5, 1)], True)
    before = state.embedding.copy()
    with pytest.raises(UsageError, match=r"Some of the 2 events of a session have times"):
        state.append(vectors[2])
    with pytest.raises(UsageError, match=r"have types"):
        state.append(vectors[2], 10)
    with pytest.raises(UsageError, match=r"have times"):
        append_all([start(model), fed(start(model), vectors, [(1, 5, 1)], False)], vectors[:2], np.array([1, 2]))
    np.testing.assert_array_equal(state.embedding, before)
    assert state.window_length == 1


def test_a_state_of_another_model_one_session_twice_and_a_whole_window_are_refused(make, vectors):
    state = fed(start(make()), vectors, [(1, 0, 0)], False)
    for other in (make(moved=0.2), make("scaled"), make("bert4rec")):
        with pytest.raises(IncompatibleError, match="1 events was made by another model"):
            SessionState.restore(other, state.arrays())
    for states in ([state, state], [state, start(make())]):
        with pytest.raises(UsageError, match="2 sessions were to grow at once"):
            append_all(states, vectors[:2])
    for keep in (0, LENGTH, -1):
        with pytest.raises(UsageError, match=f"keep between 1 and {LENGTH - 1}"):
            start(make(), keep)

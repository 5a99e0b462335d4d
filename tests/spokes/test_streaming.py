import numpy as np
import pytest
from hubspoke.catalog.sequences import History
from hubspoke.errors import UsageError
from hubspoke.spokes.session_transformer import SessionTransformer
from hubspoke.spokes.streaming import resume, start
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
def make(build, tmp_path):
    """A model as it is served, and the one in torch that it was read from."""

    def model(variant="learned"):
        shape = {"dimension": 8, "blocks": 2, "max_length": LENGTH, **VARIANTS[variant]}
        spoke = build(model=shape.pop("model", "sasrec"), transformer=shape)
        spoke.save(tmp_path)
        return SessionTransformer.load(tmp_path), spoke.behaviour.model

    return model


@pytest.fixture(params=VARIANTS)
def both(request, make):
    return make(request.param)


@pytest.fixture
def model(both):
    return both[0]


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
def test_every_step_equals_the_full_pass_over_its_window(both, vectors, drawn, told, keep):
    model, reference = both
    times, room = sorted(time for _, time, _ in drawn), LENGTH - reference.cloze
    events, state = [(row, time, kind) for (row, _, kind), time in zip(drawn, times, strict=True)], start(model, keep)
    keep = room - 1 if keep is None else keep
    assert not state.embedding.any()
    for n, (row, time, kind) in enumerate(events, 1):
        got = state.append(vectors[row], *((time, kind) if told else ()))
        assert state.window_length == (n if n <= room else keep + 1 + (n - room - 1) % (room - keep))
        window = events[n - state.window_length : n]
        np.testing.assert_allclose(got, full_pass(reference, vectors, window, told), atol=2e-5)


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


def positions_of(model, monkeypatch):
    """How many positions each pass through the first block computes, as they come."""
    counts, block = [], SessionTransformer._block

    def counted(self, name, x, *rest, **more):
        if name == "blocks.0.":
            counts.append(len(x))
        return block(self, name, x, *rest, **more)

    monkeypatch.setattr(SessionTransformer, "_block", counted)
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
def test_the_positions_that_events_cost(make, vectors, monkeypatch, variant, keep, counts):
    model, _ = make(variant)
    found = positions_of(model, monkeypatch)
    fed(start(model, keep), vectors, [(n % 12, 0, 0) for n in range(len(counts))], False)
    assert found == counts


def test_times_are_of_all_events_or_of_none(model, vectors):
    state = fed(start(model), vectors, [(1, 5, 1)], True)
    before = state.embedding.copy()
    with pytest.raises(UsageError, match=r"Some of the 2 events of a session have times"):
        state.append(vectors[2])
    with pytest.raises(UsageError, match=r"have types"):
        state.append(vectors[2], 10)
    np.testing.assert_array_equal(state.embedding, before)
    assert state.window_length == 1


def test_a_whole_window_cannot_stay(make):
    for keep in (0, LENGTH, -1):
        with pytest.raises(UsageError, match=f"keep between 1 and {LENGTH - 1}"):
            start(make()[0], keep)

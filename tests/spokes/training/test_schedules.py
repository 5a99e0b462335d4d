import pytest
from hubspoke.spokes.training.schedules import rate_factor
from hypothesis import given
from hypothesis import strategies as st


def test_a_rise_and_half_a_cosine_by_hand():
    # In the warm-up of one epoch, at its end, half and three quarters of the way down, at the end, beyond it.
    factors = [rate_factor(done, horizon=9.0) for done in (0.25, 1, 5, 7, 9, 12)]
    assert factors == pytest.approx([0.25, 1, 0.5, (1 - 0.5**0.5) / 2, 0, 0])


def test_a_training_as_short_as_the_warm_up_ends_at_the_top():
    assert [rate_factor(done, horizon=1.0) for done in (0.5, 1.0)] == [0.5, 1.0]


@given(st.floats(0.01, 30), st.integers(1, 20))
def test_a_factor_is_a_share(done, horizon):
    assert 0 <= rate_factor(done, horizon) <= 1

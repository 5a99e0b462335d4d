import math

import pytest
from hubspoke.spokes.config import TrainingConfig
from hubspoke.spokes.training.schedules import rate_factor
from hypothesis import given
from hypothesis import strategies as st


def factor(schedule, done, warmup=2.0, horizon=10.0):
    return rate_factor(TrainingConfig(schedule=schedule, warmup_epochs=warmup), done, horizon)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # In the warm-up, at its end, half and three quarters of the way down, at the end, beyond it.
        ("constant", [1, 1, 1, 1, 1, 1]),
        ("warmup", [0.25, 1, 1, 1, 1, 1]),
        ("linear", [0.25, 1, 0.5, 0.25, 0, 0]),
        ("cosine", [0.25, 1, 0.5, (1 - math.sqrt(0.5)) / 2, 0, 0]),
    ],
)
def test_schedules_by_hand(schedule, expected):
    given_factors = [factor(schedule, done) for done in (0.5, 2, 6, 8, 10, 12)]
    assert given_factors == pytest.approx(expected)


@given(st.sampled_from(["warmup", "linear", "cosine"]), st.floats(0.01, 30), st.floats(0, 20), st.integers(1, 20))
def test_a_factor_is_a_share(schedule, done, warmup, horizon):
    assert 0 <= factor(schedule, done, warmup, horizon) <= 1


def test_without_warm_up_it_starts_at_the_top():
    assert factor("linear", 0.0, warmup=0.0) == 1.0
    assert factor("warmup", 0.1, warmup=0.0) == 1.0

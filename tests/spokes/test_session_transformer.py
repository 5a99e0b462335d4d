"""The transformer in numpy gives what the one in torch gives, whatever it reads and however long a session is."""

from typing import Any

import numpy as np
import pytest
import torch
from hubspoke.catalog.sequences import History
from hubspoke.spokes import transformer
from hubspoke.spokes.session_transformer import SessionTransformer, gelu, interval_buckets
from hubspoke.spokes.sessions import SessionSide
from hubspoke.spokes.spoke import Spoke
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

DAY = 86_400_000_000


def test_gelu_is_torch_s() -> None:
    x = np.concatenate([np.linspace(-12, 12, 10_001), [0.0, -0.0]]).astype(np.float32)
    np.testing.assert_allclose(gelu(x), torch.nn.functional.gelu(torch.from_numpy(x)).numpy(), atol=1e-6)


@given(numpy_st.arrays(np.int64, 5, elements=st.integers(-(2**52), 2**52)))
def test_buckets_of_time_are_those_that_training_knows(gaps: Any) -> None:
    assert interval_buckets(gaps).tolist() == transformer.interval_buckets(torch.from_numpy(gaps)).tolist()
    assert interval_buckets(np.array([2**60])).item() == transformer.INTERVAL_BUCKETS - 1


def histories(n_items: int, longest: int) -> list[History]:
    """Sessions of every length with their times and types, and one without."""
    rng = np.random.default_rng(3)
    made = []
    for length in range(1, longest + 4):
        times = np.cumsum(rng.integers(0, 40 * DAY, length))
        made.append(History(rng.integers(0, n_items, length), times, rng.integers(0, 8, length)))
    return [*made, History(np.array([2, 1, 2])), History(np.zeros(0, np.int64))]


@pytest.mark.parametrize("model", ["sasrec", "bert4rec"])
@pytest.mark.parametrize(
    "reads",
    [
        {},
        {"blocks": 2, "heads": 2},
        {"blocks": 2, "heads": 2, "time_bias": True, "dwell": True, "event_types": True},
        {"scale_inputs": False},
    ],
    ids=["plain", "deep", "context", "unscaled"],
)
def test_a_stored_spoke_answers_without_torch_as_with_it(
    model: str, reads: dict[str, Any], build: Any, tmp_path: Any
) -> None:
    spoke: Spoke = build(model=model, transformer={"dimension": 8, "max_length": 5, **reads})
    spoke.save(tmp_path)
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((12, spoke.dimension)).astype(np.float32)
    asked = histories(12, spoke.behaviour.config.transformer.max_length)  # type: ignore[union-attr]
    read = SessionSide.load(tmp_path)
    assert (read.dimension, read.behaviour_dimension, read.content) == (
        spoke.dimension,
        spoke.behaviour_dimension,
        spoke.content,
    )
    for history in asked:  # one at a time: in one batch what not all know of their events is read of none
        for exclude_seen in (False, True):
            told, wanted = (own.embed(vectors, [history], exclude_seen=exclude_seen) for own in (read, spoke.sessions))
            np.testing.assert_allclose(told, wanted, atol=2e-5)


def test_a_session_is_not_told_apart_by_its_neighbours(build: Any, tmp_path: Any) -> None:
    build().save(tmp_path)
    encoder = SessionTransformer.load(tmp_path)
    vectors = np.random.default_rng(0).standard_normal((12, encoder.config.transformer.dimension)).astype(np.float32)
    asked = histories(12, 6)
    together = encoder.session_vectors(vectors, asked)
    alone = np.stack([encoder.session_vectors(vectors, [own])[0] for own in asked])
    assert np.array_equal(alone, together)
    assert not together[-1].any()

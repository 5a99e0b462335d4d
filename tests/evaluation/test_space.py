"""Measures of an embedding space, by hand and by the laws that they keep."""

import numpy as np
import pytest
from hubspoke.evaluation.space import (
    hubness,
    isotropy,
    mean_cosine,
    nearest,
    neighbourhood_consistency,
    partition_isotropy,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group, skew

CROSS = np.array([[2, 0], [-2, 0], [0, 1], [0, -1]], np.float32)


def test_isotropy_is_the_ratio_of_the_least_to_the_largest_spread() -> None:
    assert isotropy(CROSS) == pytest.approx(0.5)  # singular values sqrt(8) and sqrt(2)
    assert isotropy(CROSS + 7) == pytest.approx(0.5)  # where the space lies is no matter
    assert isotropy(np.array([[1, 0], [-1, 0]], np.float32)) == pytest.approx(1.0)  # two items have one direction
    assert isotropy(np.ones((5, 2), np.float32)) == 0.0
    assert isotropy(np.zeros((0, 2), np.float32)) == 0.0


def test_partition_isotropy_by_hand() -> None:
    # Of mean length 1.5: along the first axis 2 cosh(4 / 3) + 2, along the second 2 cosh(2 / 3) + 2.
    assert partition_isotropy(CROSS) == pytest.approx((np.cosh(2 / 3) + 1) / (np.cosh(4 / 3) + 1))
    assert partition_isotropy(3 * CROSS) == pytest.approx(partition_isotropy(CROSS))
    ring = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
    assert partition_isotropy(ring) == pytest.approx(1.0)
    assert partition_isotropy(ring + 3) < 0.2


def test_random_pairs_are_of_two_items() -> None:
    assert mean_cosine(np.array([[1, 0], [0, 3]], np.float32)) == 0.0
    assert mean_cosine(np.array([[1, 1], [2, 2], [9, 9]], np.float32)) == pytest.approx(1.0)
    assert np.isnan(mean_cosine(np.ones((1, 2), np.float32)))


def test_neighbours_hubs_and_kinds_by_hand() -> None:
    # On a circle at 0, 10, 25 and 180 degrees: the second is nearest to both beside it, the third to the last.
    angles = np.deg2rad([0, 10, 25, 180])
    found = nearest(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), k=1)
    assert found.ravel().tolist() == [1, 0, 1, 2]
    assert hubness(found) == pytest.approx(skew([1, 2, 1, 0]))
    assert hubness(np.array([[1], [0]])) == 0.0
    assert neighbourhood_consistency(found, np.array([0, 0, 1, 1])) == pytest.approx(3 / 4)
    # The second is of no known kind: the first and the third have nothing to be compared with.
    assert neighbourhood_consistency(found, np.array([0, -1, 1, 1])) == 1.0
    assert np.isnan(neighbourhood_consistency(found, np.full(4, -1)))


@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 10))
def test_nothing_depends_on_how_the_space_is_turned_or_scaled(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((30, 4)) * [4, 2, 1, 1] + [1, 0, 0, 0]
    turned = scale * x @ ortho_group.rvs(4, random_state=seed)
    assert isotropy(turned) == pytest.approx(isotropy(x), rel=1e-4)
    assert partition_isotropy(turned) == pytest.approx(partition_isotropy(x), rel=1e-3)
    one, other = (np.sort(nearest(own.astype(np.float32), k=5), axis=1) for own in (x, turned))
    assert (one == other).mean() > 0.99  # but for ties within the last digits
    assert 0 <= isotropy(x) <= 1 and 0 < partition_isotropy(x) <= 1

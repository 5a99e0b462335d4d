"""Measures of an embedding space, by hand and by the laws that they keep."""

import numpy as np
import pytest
from hubspoke.evaluation.bootstrap import Estimate
from hubspoke.evaluation.catalogue import CATALOGUE
from hubspoke.evaluation.space import (
    Neighbourhoods,
    anti_hubs,
    effective_rank,
    hubness,
    hubness_interval,
    isotropy,
    mean_cosine,
    measure_space,
    neighbourhood_consistency,
    pair_cosines,
    partition_isotropy,
    same_kind_shares,
    singular_values,
)
from hubspoke.retrieval.neighbours import nearest_others
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy, ortho_group, skew
from sklearn.metrics.pairwise import cosine_similarity

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
    found = nearest_others(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), k=1)
    assert found.ravel().tolist() == [1, 0, 1, 2]
    assert hubness(found) == pytest.approx(skew([1, 2, 1, 0]))
    # Once, twice, once, never: mean 1, deviations 0, 1, 0, -1, so nothing is skewed; one in four is never met.
    assert hubness(found) == pytest.approx(0.0) and anti_hubs(found) == 0.25
    # Three point at the first: 3, 1, 0, 0 around a mean of 1 is (8 - 2) / 4 over 1.5^1.5.
    star = np.array([[1], [0], [0], [0]])
    assert hubness(star) == pytest.approx(1.5 / 1.5**1.5)
    assert hubness(np.array([[1], [0]])) == 0.0
    assert neighbourhood_consistency(found, np.array([0, 0, 1, 1])) == pytest.approx(3 / 4)
    # The second is of no known kind: the first and the third have nothing to be compared with.
    assert neighbourhood_consistency(found, np.array([0, -1, 1, 1])) == 1.0
    assert np.isnan(neighbourhood_consistency(found, np.full(4, -1)))
    assert same_kind_shares(found, np.array([0, 0, 1, 1]), np.array([False, False, True, True])).tolist() == [0, 1]


def test_effective_rank_by_hand() -> None:
    ring = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
    assert effective_rank(ring) == pytest.approx(2.0)  # both directions alike
    assert effective_rank(np.array([[1, 0], [-1, 0], [3, 0]], np.float32)) == pytest.approx(1.0)
    # Singular values sqrt(8) and sqrt(2) are shares of 2/3 and 1/3.
    assert effective_rank(CROSS) == pytest.approx(np.exp(entropy([2 / 3, 1 / 3])))
    assert effective_rank(np.ones((5, 2), np.float32)) == 0.0
    assert effective_rank(np.zeros((1, 2), np.float32)) == 0.0


def test_singular_values_are_those_of_numpy_however_many_items() -> None:
    for shape in ((300, 7), (9, 7), (5, 7)):
        x = np.random.default_rng(1).standard_normal(shape)
        found = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)[: min(shape[1], shape[0] - 1)]
        np.testing.assert_allclose(singular_values(x), found, rtol=1e-9)


def test_the_mean_cosine_is_near_that_of_all_pairs() -> None:
    x = (np.random.default_rng(2).standard_normal((40, 3)) + 1).astype(np.float32)
    cosines = cosine_similarity(x)[~np.eye(40, dtype=np.bool_)]
    assert mean_cosine(x) == pytest.approx(float(cosines.mean()), abs=3 * float(cosines.std()) / 100)
    assert pair_cosines(x).min() >= cosines.min() - 1e-6


def test_the_interval_of_hubness_holds_it() -> None:
    counts = np.random.default_rng(3).poisson(2, 500)
    found = hubness_interval(counts)
    assert found.value == pytest.approx(skew(counts))
    assert found.low < found.value < found.high
    assert hubness_interval(np.full(9, 4)) == Estimate(0.0, 0.0, 0.0)


def test_a_space_is_measured_by_the_names_of_the_catalogue() -> None:
    x = np.random.default_rng(4).standard_normal((60, 5)).astype(np.float32)
    kinds = {"same_category": np.arange(60) % 3, "same_brand": np.full(60, -1)}
    around = Neighbourhoods(nearest_others(x, 10), kinds)
    found = measure_space(x, around)
    missing = {name for name, own in CATALOGUE.items() if own.dimension == "intrinsic"} - set(found)
    assert missing == {"same_brand", "same_price_band"}  # no brand is known, no price was given
    assert found["isotropy"] == isotropy(x) and found["effective_rank"] == effective_rank(x)
    part = np.arange(60) < 20
    of_some = measure_space(x, around, part)
    assert of_some["hubness"].value == pytest.approx(skew(around.occurrences[part]))
    expected = neighbourhood_consistency(around.nearest, kinds["same_category"])
    assert found["same_category"].value == pytest.approx(expected)
    shares = same_kind_shares(around.nearest, kinds["same_category"])[part]
    assert of_some["same_category"].value == pytest.approx(shares.mean())
    assert measure_space(x[:1], None) == {}
    assert set(measure_space(x, None)) == {"isotropy", "partition_isotropy", "effective_rank", "mean_cosine"}


@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 10))
def test_nothing_depends_on_how_the_space_is_turned_or_scaled(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((30, 4)) * [4, 2, 1, 1] + [1, 0, 0, 0]
    turned = scale * x @ ortho_group.rvs(4, random_state=seed)
    assert isotropy(turned) == pytest.approx(isotropy(x), rel=1e-4)
    assert partition_isotropy(turned) == pytest.approx(partition_isotropy(x), rel=1e-3)
    assert effective_rank(turned) == pytest.approx(effective_rank(x), rel=1e-4)
    one, other = (np.sort(nearest_others(own.astype(np.float32), k=5), axis=1) for own in (x, turned))
    assert (one == other).mean() > 0.99  # but for ties within the last digits
    assert 0 <= isotropy(x) <= 1 and 0 < partition_isotropy(x) <= 1
    assert 1 <= effective_rank(x) <= 4 + 1e-9
    assert -1 <= mean_cosine(x.astype(np.float32)) <= 1
    assert 0 <= anti_hubs(one) <= 1


@given(seed=st.integers(0, 1000))
def test_nothing_depends_on_the_order_of_the_items(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, order = rng.standard_normal((30, 4)).astype(np.float32), rng.permutation(30)
    kinds = rng.integers(0, 3, 30)
    assert isotropy(x[order]) == pytest.approx(isotropy(x), rel=1e-6)
    assert effective_rank(x[order]) == pytest.approx(effective_rank(x), rel=1e-6)
    assert partition_isotropy(x[order]) == pytest.approx(partition_isotropy(x), rel=1e-4)
    one, other = nearest_others(x, 5), nearest_others(x[order], 5)
    assert hubness(other) == pytest.approx(hubness(one), abs=1e-9) and anti_hubs(other) == anti_hubs(one)
    # Numbers of kinds are names alone.
    expected = neighbourhood_consistency(one, kinds)
    assert neighbourhood_consistency(other, kinds[order]) == pytest.approx(expected)
    assert neighbourhood_consistency(one, 7 - kinds) == expected
    assert 0 <= expected <= 1

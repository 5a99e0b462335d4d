import numpy as np
import pytest
from hubspoke.hub.calibration import unit_rows
from hubspoke.hub.cross_modal import FEWEST, agreement, fit_image_to_text, in_text_space, recall
from hypothesis import given, settings
from hypothesis import strategies as st


def drawn(n=400, width=6, seed=0):
    return unit_rows(np.random.default_rng(seed).standard_normal((n, width)))


def test_equal_views_agree_wholly_unrelated_ones_not_and_opposite_ones_less():
    text, other = drawn(), drawn(seed=1)
    assert agreement(text, text) == pytest.approx(1.0)
    assert abs(agreement(text, other)) < 0.05
    # By hand: items of two kinds. Texts of one kind are alike (1) and those of two are opposite (-1); pictures the
    # other way round.
    signs = np.tile([1.0, -1.0], FEWEST)[:, None].astype(np.float32)
    assert agreement(signs, signs) == pytest.approx(1.0)
    pairs = np.concatenate([signs, np.zeros_like(signs)], axis=1)
    assert agreement(pairs, np.ones((len(signs), 1), np.float32)) == 0.0  # all pictures are one


def test_what_lacks_one_of_the_two_counts_for_nothing():
    text, image = drawn(), drawn(seed=1)
    image[FEWEST:] = 0
    assert agreement(text, image) == agreement(text[:FEWEST], image[:FEWEST])
    np.testing.assert_array_equal(fit_image_to_text(text, image), fit_image_to_text(text[:FEWEST], image[:FEWEST]))
    image[FEWEST - 1] = 0
    assert agreement(text, image) is None and fit_image_to_text(text, image) is None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_agreement_is_symmetric_and_blind_to_rotations(seed):
    rng = np.random.default_rng(seed)
    text, image = drawn(120, 4, seed), drawn(120, 5, seed + 1)
    turned = image @ np.linalg.qr(rng.standard_normal((5, 5)))[0].astype(np.float32)
    assert agreement(text, image) == pytest.approx(agreement(image, text), abs=1e-6)
    assert agreement(text, turned) == pytest.approx(agreement(text, image), abs=1e-5)


def test_the_regression_is_the_closed_form():
    """Pictures along two axes, half of the items each: X'X / N = I / 2, so a ridge of 1/2 halves what is told."""
    image = np.tile(np.eye(2, dtype=np.float32), (FEWEST, 1))
    text = image @ np.array([[0, 1, 0], [0, 0, 1]], np.float32)
    found = fit_image_to_text(text, image)
    np.testing.assert_allclose(found, [[0, 0.5, 0], [0, 0, 0.5]], atol=1e-6)
    np.testing.assert_allclose(in_text_space(image, found), text, atol=1e-6)
    assert not in_text_space(np.zeros((1, 2), np.float32), found).any()


def test_recall_counts_ties_by_half_and_twins_not_at_all():
    found, alone = np.eye(4, dtype=np.float32), np.arange(4)
    assert recall(found, found, alone, 1) == 1.0 and recall(found[::-1].copy(), found, alone, 1) == 0.0
    assert recall(np.zeros((0, 4), np.float32), found[:0], alone[:0], 1) == 0.0
    # All four tie: rank 1 + 3/2.
    flat = np.ones((4, 4), np.float32)
    assert (recall(flat, found, alone, 2), recall(flat, found, alone, 3)) == (0.0, 1.0)
    # The second is the first one's twin, and no wrong answer to it; queries that point elsewhere still miss.
    twins, groups = found[[0, 0, 2, 3]], np.array([0, 0, 2, 3])
    assert recall(twins, twins, groups, 1) == 1.0 and recall(twins[[0, 1, 3, 2]], twins, groups, 1) == 0.5
    assert recall(twins, twins, alone, 1) == 0.5  # else they share first and second place

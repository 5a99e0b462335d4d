import numpy as np
from hubspoke.hub.calibration import Calibration, fit_calibration, unit_rows
from hubspoke.hub.config import CalibrationConfig
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

# Mean (1, 2), variances 4 and 1, no covariance.
CROSS = np.array([[1 + 8**0.5, 2], [1 - 8**0.5, 2], [1, 2 + 2**0.5], [1, 2 - 2**0.5]], np.float32)
ROWS = hnp.arrays(np.float32, st.tuples(st.integers(2, 12), st.integers(1, 5)), elements=st.floats(-10, 10, width=32))


def config(**settings):
    return CalibrationConfig(**{"power": 1.0, "prior_items": 1e-9} | settings)


def catalog(n=200, d=6):
    rng = np.random.default_rng(0)
    return (rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + 3).astype(np.float32)


def test_a_known_catalog_is_centred_and_axes_divided_by_their_deviations_which_a_prior_shrinks():
    fitted = fit_calibration(CROSS, config())
    np.testing.assert_allclose(fitted.mean, [1, 2], atol=1e-6)
    # Directions by falling variance, largest entry positive: the x axis over 2, the y axis over 1.
    np.testing.assert_allclose(fitted.transform, [[0.5, 0], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(fitted.apply(np.array([[3, 3]], np.float32)), [[2**-0.5, 2**-0.5]], atol=1e-6)
    assert not fitted.apply(fitted.mean[None]).any()  # a row equal to the mean is neutral
    half = fit_calibration(CROSS, config(power=0.5))
    np.testing.assert_allclose(half.transform, [[2**-0.5, 0], [0, 1]], atol=1e-6)
    # Two items along x: variances 1 and 0, isotropic 1/2. A prior of 2 items weighs one half: 3/4 and 1/4.
    x = np.array([[1, 0], [-1, 0]], np.float32)
    fitted = fit_calibration(x, config(prior_items=2.0))
    np.testing.assert_allclose(np.diag(fitted.transform), [0.75**-0.5, 0.25**-0.5], atol=1e-6)
    strong = fit_calibration(x, config(prior_items=1e9)).transform
    np.testing.assert_allclose(np.diag(strong), [2**0.5, 2**0.5], atol=1e-4)


def test_power_zero_only_centres_and_full_power_gives_the_identity_covariance():
    x = catalog(n=500)
    fitted = fit_calibration(x, config(power=0.0))
    np.testing.assert_allclose(fitted.transform.T @ fitted.transform, np.eye(6), atol=1e-5)
    centred, out = unit_rows(x - x.mean(axis=0)), fitted.apply(x)
    np.testing.assert_allclose(out @ out.T, centred @ centred.T, atol=1e-5)
    fitted = fit_calibration(x, config())
    white = (x - fitted.mean) @ fitted.transform
    np.testing.assert_allclose(white.T @ white / len(x), np.eye(6), atol=1e-3)


def test_a_catalog_of_one_item_is_left_as_it_is_and_one_of_equal_items_stays_finite_and_neutral():
    one = np.array([[3, 4, 0]], np.float32)
    for n in (0, 1):
        fitted = fit_calibration(one[:n], config())
        np.testing.assert_array_equal(fitted.transform, np.eye(3))
        np.testing.assert_allclose(fitted.apply(one), [[0.6, 0.8, 0]], atol=1e-6)
    for n in (2, 3, 7):
        x = np.tile(np.array([[0.1, 0.7, -0.3]], np.float32), (n, 1))
        np.testing.assert_array_equal(fit_calibration(x, CalibrationConfig()).apply(x), np.zeros((n, 3)))


def test_a_refit_is_the_same_and_the_fingerprint_says_so():
    x = catalog()
    a, b = fit_calibration(x, CalibrationConfig()), fit_calibration(x.copy(), CalibrationConfig())
    np.testing.assert_array_equal(a.transform, b.transform)
    assert a.fingerprint == b.fingerprint and len(a.fingerprint) == 64
    assert a.fingerprint != fit_calibration(x, CalibrationConfig(power=0.7)).fingerprint
    assert a.fingerprint != Calibration(a.mean + 1, a.transform).fingerprint
    # The memory layout is no part of the numbers.
    assert a.fingerprint == Calibration(a.mean, np.asfortranarray(a.transform)).fingerprint


@given(ROWS, st.floats(0, 1), st.integers(1, 6))
def test_every_row_is_a_unit_vector_or_zero_and_a_rank_keeps_the_first_directions(x, power, max_rank):
    cut, full = (fit_calibration(x, CalibrationConfig(power=power, max_rank=rank)) for rank in (max_rank, 99))
    np.testing.assert_array_equal(cut.transform, full.transform[:, :max_rank])
    out = cut.apply(x)
    assert out.shape == (len(x), min(max_rank, x.shape[1])) and out.dtype == np.float32
    norms = np.linalg.norm(out, axis=1)
    assert np.all((norms == 0) | (np.abs(norms - 1) < 1e-4))


def test_unit_rows_by_hand():
    rows = unit_rows(np.array([[3.0, 4.0], [0, 0], [1e-8, 0], [0, -2]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [0, 0], [0, -1]], atol=1e-7)
    assert rows.dtype == np.float32

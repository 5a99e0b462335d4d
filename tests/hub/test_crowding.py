import numpy as np
from hubspoke.hub.calibration import unit_rows
from hubspoke.hub.crowding import NEIGHBOURS, fit_crowding


def catalog(crowd=30, apart=30):
    """A crowd around one direction, and items in all directions."""
    rng = np.random.default_rng(2)
    near = np.eye(16)[0] + 0.05 * rng.standard_normal((crowd, 16))
    return unit_rows(np.concatenate([near, rng.standard_normal((apart, 16))]))


def test_who_stands_in_a_crowd_is_told_from_who_stands_apart():
    x = catalog()
    crowding = fit_crowding(x)
    values = crowding.apply(x)
    assert values.shape == (60, 1) and values.dtype == np.float32
    assert values[:30].min() > values[30:].max()
    np.testing.assert_allclose([values.mean(), values.std()], [0, 1], atol=1e-5)
    # A hand-checked one: its own similarity, the highest, does not count.
    similarity = np.sort(x @ x[3])[::-1]
    expected = (similarity[1 : NEIGHBOURS + 1].mean() - crowding.scale[0]) / crowding.scale[1]
    assert values[3, 0] == np.float32(expected) or abs(values[3, 0] - expected) < 1e-5


def test_an_item_has_the_same_value_in_any_company_and_no_text_has_none():
    x = catalog()
    crowding = fit_crowding(x)
    new = unit_rows(np.random.default_rng(9).standard_normal((3, 16)))
    together = crowding.apply(np.concatenate([new, np.zeros((1, 16), np.float32), x]))
    np.testing.assert_allclose(together[:3], crowding.apply(new), atol=1e-5)
    assert together[3, 0] == 0.0
    assert fit_crowding(x[: 2 * NEIGHBOURS - 1]) is None

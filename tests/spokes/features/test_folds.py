import zlib

import numpy as np
from hubspoke.spokes.features.folds import user_folds
from hypothesis import given
from hypothesis import strategies as st


@given(users=st.lists(st.text(max_size=5), max_size=30), folds=st.integers(1, 7))
def test_a_fold_is_told_by_the_name_alone(users, folds):
    found = user_folds(users, folds)
    assert found.shape == (len(users),) and ((found >= 0) & (found < folds)).all()
    np.testing.assert_array_equal(user_folds(users[::-1], folds), found[::-1])


def test_folds_are_about_equally_large_and_the_same_on_every_machine():
    found = user_folds([f"user {n}" for n in range(5000)], 5)
    assert np.abs(np.bincount(found, minlength=5) - 1000).max() < 150
    assert found[7] == zlib.crc32(b"user 7") % 5 == user_folds(["user 7"], 5)[0]

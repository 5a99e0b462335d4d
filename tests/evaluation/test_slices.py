"""Item slices on a catalog whose counts can be read at a glance."""

from typing import get_args

import numpy as np
from hubspoke.evaluation.slices import Slice, item_slices
from hypothesis import given
from hypothesis import strategies as st


def rows(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask).tolist()


def test_slices_of_ten_items() -> None:
    got = item_slices(np.array([0, 4, 5, 100, 6, 6, 1, 0, 5, 2]))
    assert tuple(got) == get_args(Slice)
    expected = {"all": [*range(10)], "cold": [0, 1, 6, 7, 9], "zero_shot": [0, 7], "warm": [2, 3, 4, 5, 8]}
    expected |= {"head": [3], "torso": [2, 4, 5, 8], "tail": [0, 1, 6, 7, 9]}
    assert {name: rows(mask) for name, mask in got.items()} == expected


def test_ties_go_to_the_lower_row_sizes_are_rounded_up_and_the_threshold_is_a_setting() -> None:
    got = item_slices(np.full(11, 3), cold_threshold=3)
    assert (rows(got["head"]), rows(got["torso"]), rows(got["cold"])) == ([0, 1], [2, 3, 4, 5], [])
    day_zero = item_slices(np.zeros(4, dtype=np.int64))
    assert rows(day_zero["zero_shot"]) == rows(day_zero["tail"]) == rows(day_zero["cold"]) == [0, 1, 2, 3]


@given(st.lists(st.integers(0, 20), max_size=40))
def test_head_torso_tail_and_cold_warm_are_partitions(counts: list[int]) -> None:
    got = item_slices(np.array(counts, dtype=np.int64))
    assert (got["head"].astype(int) + got["torso"] + got["tail"] == 1).all()
    assert (got["cold"] ^ got["warm"]).all()
    assert (got["zero_shot"] <= got["cold"]).all()

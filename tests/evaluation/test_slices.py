"""Item slices on a catalog whose counts can be read at a glance."""

from typing import get_args

import numpy as np
from hubspoke.evaluation.slices import (
    Slice,
    item_slices,
    length_slices,
    price_bands,
    price_slices,
    value_slices,
)
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


def test_the_most_common_values_have_slices() -> None:
    got = value_slices("brand", ["b", None, "a", "b", "", "c", "a"], most=2)
    assert {name: rows(mask) for name, mask in got.items()} == {"brand:a": [2, 6], "brand:b": [0, 3]}
    long = value_slices("category", ["x" * 70 + "1", "x" * 70 + "2"])
    assert {name: rows(mask) for name, mask in long.items()} == {"category:" + "x" * 51: [0, 1]}
    assert value_slices("brand", [None, None]) == {}


def test_price_bands_are_fifths_of_the_known_prices() -> None:
    bands = price_bands(np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, np.nan]))
    assert bands.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, -1]
    assert price_bands(np.array([7.0, 7, 7])).tolist() == [0, 0, 0]  # equal prices are in one band
    assert price_bands(np.array([np.nan])).tolist() == [-1]
    assert {name: rows(mask) for name, mask in price_slices(bands).items()} == {
        f"price:{band}": [2 * band - 2, 2 * band - 1] for band in range(1, 6)
    }


def test_users_are_told_by_the_length_of_their_histories() -> None:
    got = length_slices(np.array([1, 4, 5, 70, 50]))
    expected = {"length:1-4": [0, 1], "length:5-9": [2], "length:50+": [3, 4]}
    assert {name: rows(mask) for name, mask in got.items()} == expected


@given(st.lists(st.integers(1, 100), min_size=1, max_size=40))
def test_every_user_is_in_one_group(lengths: list[int]) -> None:
    assert (np.sum(list(length_slices(np.array(lengths)).values()), axis=0) == 1).all()

from typing import Any

import polars as pl
import pytest
from hubspoke.catalog import parsing

PATHS = {
    "a > b>c": ["a", "b", "c"], "x | y": ["x", "y"], "Clothing, Shoes & Jewelry": ["Clothing, Shoes & Jewelry"],
    '["p", "q"]': ["p", "q"], " ": None, "[no json": ["[no json"], "['Office', 'Desks']": ["Office", "Desks"],
    '[["Office", "Chairs"], ["Sale"]]': ["Office", "Chairs"], "[{'id': 5, 'name': 'Lighting'}]": ["Lighting"],
    '["Home > Rugs", "Sale"]': ["Home", "Rugs"], '{"l2": "Shelves", "l1": "Office"}': ["Office", "Shelves"],
    '{"lvl0": "Home", "lvl1": "Home > Rugs"}': ["Home", "Rugs"],
    '[{"categories": ["wear", "shoes"]}]': ["wear", "shoes"],
    '{"name": "Rugs", "parent": {"name": "Home"}}': ["Home", "Rugs"], "A > B | C > D": ["A", "B"],
    "A > B; C > D": ["A", "B"], "Home &gt; Pots &amp; Pans": ["Home", "Pots & Pans"], "Home » Pans": ["Home", "Pans"],
    "Home->Pans": ["Home", "Pans"], '{"0": "Home", "1": "Pans"}': ["Home", "Pans"], "NULL": None,
    "[]": None, '["<b>Oak</b>", "Tables"]': ["Oak", "Tables"],
}  # fmt: skip


def test_category_paths() -> None:
    found = parsing.paths(pl.Series(list(PATHS)))
    assert dict(zip(PATHS, found.values.to_list(), strict=True)) == PATHS
    assert not found.bad.any()
    assert found.several == 4


@pytest.mark.parametrize(
    ("cells", "paths", "bad"),
    [
        ([["a", " b ", None, ""], [], None], [["a", "b"], None, None], []),
        ([[["Home", "Mugs"], ["Sale"]], None], [["Home", "Mugs"], None], []),
        ([[{"id": 1, "name": "Home"}], None], [["Home"], None], []),
        (["{'id': 5}", '[{"id": 5, "size": 2}]', "a > b"], [None, None, ["a", "b"]], [0, 1]),
        ([["Home > Rugs", "Sale"]], [["Home", "Rugs"]], []),
    ],
)
def test_category_paths_of_lists_and_objects(cells: list[Any], paths: list[Any], bad: list[int]) -> None:
    found = parsing.paths(pl.Series(cells))
    assert found.values.to_list() == paths
    assert found.bad.arg_true().to_list() == bad


def test_pictures_are_the_addresses_of_objects() -> None:
    column = pl.Series([[{"thumb": "t.jpg", "large": "l.jpg"}], None])
    assert parsing.pictures(column).values.to_list() == [["l.jpg"], None]
    column = pl.Series([{"bytes": b"\xff", "path": "a.png"}])
    assert parsing.pictures(column).values.to_list() == [["a.png"]]
    assert parsing.pictures(pl.Series(["['a.jpg', 'b.jpg']", "a,b.jpg"])).values.to_list() == [
        ["a.jpg", "b.jpg"],
        ["a,b.jpg"],
    ]


def test_text_is_split_at_the_first_separator_that_occurs() -> None:
    assert parsing.string_lists(pl.Series(["a;b|c", "d|e", None]), (";", "|")).to_list() == [
        ["a", "b|c"],
        ["d", "e"],
        None,
    ]

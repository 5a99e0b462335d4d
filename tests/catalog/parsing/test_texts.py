from typing import Any

import polars as pl
import pytest
from hubspoke.catalog import parsing


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        ([["a", None, "b"], ["One.", "Two."], []], ["a; b", "One. Two.", None]),
        ([{"id": 5, "name": "Tove"}, {"id": None, "name": None}], ["Tove", None]),
        ([{"a": 1}], ["1"]),
        (["[]", "{}", '["One.", "Two."]', "{'id': 3, 'name': 'Tove'}"], [None, None, "One. Two.", "Tove"]),
        (["[2 PACK] Mask", "[Nubar]", "{curly}", "['a' 'b']"], ["[2 PACK] Mask", "[Nubar]", "{curly}", "a; b"]),
        (["NULL", "\\N", "(null)", "nan", "N/A", "-", "NA", "Na"], [None] * 7 + ["Na"]),
        (["a\x00b", "x\x0by", "it\x92s", "cafe\u0301"], ["ab", "x y", "it’s", "caf\u00e9"]),
        ([b"abc", None], ["abc", None]),
        (['["Oak", "null"]', '{"0": "a", "2": "b"}'], ["Oak", "a; b"]),
        ([1.5, float("nan")], ["1.5", None]),
        (["['\\ud83e']", "[" * 5000 + "]" * 5000, "{'a': nan}"], ["?", "[" * 5000 + "]" * 5000, None]),
    ],
)
def test_texts(cells: list[Any], texts: list[str | None]) -> None:
    assert parsing.texts(pl.Series(cells)).values.to_list() == texts


def test_objects_without_a_name_and_bytes_are_refused_and_null_words_counted() -> None:
    assert parsing.texts(pl.Series(['{"id": 5, "x": 1}', "[{'id': 5}]", "fine"])).bad.to_list() == [True, True, False]
    assert parsing.texts(pl.Series([b"\xff", b"a"])).bad.to_list() == [True, False]
    assert parsing.texts(pl.Series(["NULL", "null", "NULL"])).absent == {"NULL": 2, "null": 1}


@pytest.mark.parametrize(
    ("cells", "ids", "doubtful"),
    [
        ([123.0, None], ["123", None], []),
        ([" 007 ", ""], ["007", None], []),
        (["1001.0", "", "1002"], ["1001", None, "1002"], []),
        (["1.0", "1.1"], ["1.0", "1.1"], []),
        (["1001.0", "AB-1", "1.0"], ["1001.0", "AB-1", "1.0"], [0]),
        (["1001.0", "1001.5", "AB-1"], ["1001.0", "1001.5", "AB-1"], []),
        (["5.01235E+12", "1-Mar", "2024-03-01 00:00:00"], ["5.01235E+12", "1-Mar", "2024-03-01 00:00:00"], [0, 1, 2]),
        (["A1E5", "5E10"], ["A1E5", "5E10"], []),
        (["'0007", "'x'"], ["0007", "'x'"], []),
        ([9007199254740994.0, 1.0], ["9007199254740994", "1"], [0]),
        (pl.Series([16777218.0, 7.0], dtype=pl.Float32), ["16777218", "7"], [0]),
        (["{'$oid': 'f00'}", '["7"]'], ["f00", "7"], []),
        ([{"value": "1"}], ["1"], []),
    ],
)  # fmt: skip
def test_ids(cells: list[Any], ids: list[str | None], doubtful: list[int]) -> None:
    found = parsing.ids(pl.Series(cells))
    assert found.values.to_list() == ids
    assert found.doubtful.arg_true().to_list() == doubtful
    assert not found.bad.any()


def test_decimal_ids_lose_their_noughts_and_lists_are_no_ids() -> None:
    decimals = pl.Series(["1.00", "2.00"]).cast(pl.Decimal(10, 2))
    assert parsing.identifiers(decimals).to_list() == ["1", "2"]
    assert parsing.ids(pl.Series([["a", "b"], ["c"]])).bad.to_list() == [True, False]

from typing import Any

import polars as pl
import pytest
from hubspoke.catalog import parsing

YES = [
    "in stock", "In Stock", "in_stock", "InStock", "https://schema.org/InStock", "preorder", "pre-order", "backorder",
    "onbackorder", "limited availability", "available for order", "active", "enabled", "published", "ja", "auf Lager",
    "lieferbar", "verfügbar", "en stock", "disponible", "Y", "true", "on", "1", "1.0", "10+", "schema:InStock",
    "5 in stock", "nur noch 2 auf Lager", "only 3 left in stock", "Unlimited", "J",
    "WAHR", "VRAI", "VERO", "waar", "Hay existencias", "i lager", "w magazynie", "в наличии", "在庫あり",
]  # fmt: skip
NO = [
    "out of stock", "out-of-stock", "OutOfStock", "http://schema.org/OutOfStock", "Sold_Out", "soldout", "discontinued",
    "not available", "unavailable", "disabled", "archived", "draft", "hidden", "ausverkauft", "nicht lieferbar",
    "rupture de stock", "agotado", "Nein", "off", "N", "FALSE", "0", "-1",
    "0 in stock", "OOS", "rupture", "Tijdelijk uitverkocht", "reserved",
    "FALSCH", "FAUX", "FALSO", "onwaar", "Momentan nicht lieferbar", "hors stock", "Esgotado", "Slutsåld",
    "Brak w magazynie", "нет в наличии", "在庫なし",
]  # fmt: skip


@pytest.mark.parametrize(("words", "truth"), [(YES, True), (NO, False)])
def test_words_of_shops(words: list[str], truth: bool) -> None:
    found = parsing.booleans(pl.Series(words))
    assert dict(zip(words, found.values, strict=True)) == dict.fromkeys(words, truth)


@pytest.mark.parametrize(
    ("cells", "counts", "values", "bad"),
    [
        (["Yes", "maybe", None, "2", "NULL"], False, [True, None, None, None, None], [1, 3]),
        ([1, 0, None], False, [True, False, None], []),
        ([5, 0, -2], False, [True, False, False], []),  # beyond 2 they can only be pieces
        (["2", "0"], True, [True, False], []),
        (["1,000", ">50", "<5", "10 +", "0", "2,5"], False, [True, True, True, True, False, None], [5]),
        (['{"quantity": 0, "status": "in_stock"}', '{"qty": 0}', '{"a": 1, "b": 2}'], False, [True, False, None], [2]),
        ([True, None], False, [True, None], []),
    ],
)
def test_unknown_words_and_numbers_of_pieces(cells: list[Any], counts: bool, values: list[Any], bad: list[int]) -> None:
    found = parsing.booleans(pl.Series(cells), counts)
    assert found.values.to_list() == values
    assert found.bad.arg_true().to_list() == bad

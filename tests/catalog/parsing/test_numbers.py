import math
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog import parsing
from hypothesis import given
from hypothesis import strategies as st

ONE = {
    "12.99": (12.99, None), " $1,299.00 ": (1299.0, "USD"), "EUR 1.299,00": (1299.0, "EUR"), "12,99 €": (12.99, "EUR"),
    "1,299": (1299.0, None), "-3": (-3.0, None), "1e3": (1000.0, None), "1'299.00": (1299.0, None),
    "CHF 1’299.50": (1299.5, "CHF"), "12,90 zł": (12.9, "PLN"), "129,-": (129.0, None), "1.299,-": (1299.0, None),
    "kr 129,00": (129.0, None), "R$ 12,90": (12.9, "BRL"), "₹1,23,456.78": (123456.78, "INR"),
    "Rs. 499": (499.0, "INR"), "US$ 12.99": (12.99, "USD"), "99.99 USD": (99.99, "USD"), "1.234.567": (1234567.0, None),
    "1\u202f299,00": (1299.0, None), "1 299,00": (1299.0, None), "¥1,299": (1299.0, "JPY"), "500 Kč": (500.0, "CZK"),
    "$12.99 CAD": (12.99, "CAD"), "1,299.00 eur": (1299.0, "EUR"), "１２．９９": (12.99, None), "0,500": (0.5, None),
}  # fmt: skip


@pytest.mark.parametrize(("text", "value", "currency"), [(text, *expected) for text, expected in ONE.items()])
def test_one_number_and_its_currency(text: str, value: float, currency: str | None) -> None:
    found = parsing.money(pl.Series([text, None]))
    assert found.values.to_list() == [value, None]
    assert parsing.code_of(found.signs).to_list() == [currency, None]


BAD = ["abc", "inf", "from 9.99", "12.99 - 15.99", "12.99 USD/each", "12:99", "abc 12", "12 99", "EUR 5 USD", "1,2,3"]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_number(text: str) -> None:
    found = parsing.money(pl.Series([text, "12.99 EUR", "", "nan", "-", None]))
    assert found.values.to_list() == [None, 12.99, None, None, None, None]
    assert found.bad.arg_true().to_list() == [0]


@pytest.mark.parametrize(
    ("texts", "values", "noted"),
    [
        (["1.299,00", "1.299", "12.990", "39,9", "59"], [1299, 1299, 12990, 39.9, 59], True),
        (["12.50", "1.299", "1,299"], [12.5, 1.299, 1299], False),
        (["1.299", "2.500"], [1.299, 2.5], True),
        (["1,299", "12"], [1299, 12], False),
        (["1.299", "12.990", "849"], [1299, 12990, 849], True),  # neither 849.000 nor 12.99 stands there
        (["1.299", "12.995", "849"], [1.299, 12.995, 849], True),
        (["12,50", "12.50", "1.299", "1,299"], [12.5, 12.5, 1.299, 1299], True),
    ],
)
def test_the_column_decides_what_the_decimal_sign_is(texts: list[str], values: list[float], noted: bool) -> None:
    found = parsing.money(pl.Series(texts))
    assert found.values.to_list() == values
    assert bool(found.notes) is noted


@pytest.mark.parametrize(
    ("cells", "values", "signs"),
    [
        ([{"amount": 1.5, "cur": "EUR"}, None], [1.5, None], ["eur", None]),
        (['{"value": "12,50", "currency": "EUR"}', "[3]", "{'price': 2}"], [12.5, 3.0, 2.0], ["eur", None, None]),
        ([[1.5], [2.0, 3.0]], [1.5, None], [None, None]),
        ([1.0, float("nan"), float("inf")], [1.0, None, None], [None] * 3),
    ],
)
def test_amounts_in_objects_lists_and_floats(cells: list[Any], values: list[Any], signs: list[Any]) -> None:
    found = parsing.money(pl.Series(cells))
    assert found.values.to_list() == values
    assert found.signs.to_list() == signs


def test_whole_numbers() -> None:
    values, bad = parsing.integers(pl.Series(["3", "3.0", "3.5", "x", None]))
    assert values.to_list() == [3, 3, None, None, None]
    assert bad.arg_true().to_list() == [2, 3]


def test_currencies_of_signs_and_what_is_assumed() -> None:
    assert parsing.currency_codes(pl.Series(["€", "eur", "EUR", "points", None])).to_list() == [
        "EUR", "EUR", "EUR", "points", None,
    ]  # fmt: skip
    assert parsing.assumptions(pl.Series(["$", "€", "$", "kr"])) == [
        "$ x 2 is taken for USD", "kr x 1 may be SEK, NOK, DKK or ISK: the currency is left open",
    ]  # fmt: skip


def printed(value: float, thousands: str, decimal: str, shape: str) -> str:
    return shape.format(f"{value:,.2f}".translate(str.maketrans({",": thousands, ".": decimal})))


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=5),
    st.sampled_from(
        [(",", "."), (".", ","), (" ", ","), ("\u202f", ","), ("’", "."), ("'", "."), ("", ","), ("", ".")]
    ),
    st.sampled_from(["{}", "{} €", "€{}", "EUR {}", "-{}", "US$ {}", "{} zł", "kr {}"]),
)
def test_a_number_in_any_form_reads_back(cents: list[int], signs: tuple[str, str], shape: str) -> None:
    values = [cent / 100 for cent in cents]
    found = parsing.money(pl.Series([printed(value, *signs, shape) for value in values]))
    sign = -1 if shape.startswith("-") else 1
    assert all(math.isclose(own, sign * value) for own, value in zip(found.values, values, strict=True))

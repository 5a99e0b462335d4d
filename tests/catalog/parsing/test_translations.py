from typing import Any

import polars as pl
import pytest
from hubspoke.catalog import parsing


@pytest.mark.parametrize(
    ("cells", "texts", "note"),
    [
        (
            [{"en": "Desk", "de": "Tisch"}, {"en": None, "de": "Stuhl"}, {"en": "Lamp", "de": "Lampe"}],
            ["Tisch", "Stuhl", "Lampe"],
            "texts are in several languages (de, en); de is read",
        ),
        (
            ['{"en-US": "Desk", "de-DE": "Tisch"}', '{"en-US": "Lamp"}', '{"de-DE": "Stuhl"}'],
            ["Desk", "Lamp", "Stuhl"],
            "texts are in several languages (en-US, de-DE); en-US is read, and where it is missing de-DE x 1",
        ),
        (
            ['[{"lang": "de", "value": "Tisch"}, {"lang": "en", "value": "Desk"}]'],
            ["Desk"],
            "texts are in several languages (en, de); en is read",
        ),
        (['{"en": "Desk"}', "plain"], ["Desk", "plain"], None),
        (['{"id": "7", "no": "8"}'], [None], None),
        (['{"de": 12, "fr": 13}'], [None], None),
    ],
)
def test_one_language_is_read_for_all(cells: list[Any], texts: list[str | None], note: str | None) -> None:
    found = parsing.texts(pl.Series(cells))
    assert (found.values.to_list(), found.note) == (texts, note)


def test_levels_of_a_category_are_of_one_language() -> None:
    cells = ['[{"en": "Home", "de": "Haus"}, {"en": "Desks", "de": "Tische"}]', None]
    found = parsing.paths(pl.Series(cells))
    assert found.values.to_list() == [["Home", "Desks"], None]
    assert found.note == "texts are in several languages (en, de); en is read"

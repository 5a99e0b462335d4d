"""What items have in common, by a table that can be read at a glance."""

import numpy as np
import polars as pl
from hubspoke.workflows.item_groups import BY, item_facts, item_kinds, prices

ITEMS = pl.DataFrame(
    {
        "item_id": ["a", "b", "c", "d"],
        "category_path": [["Garden", "Pots"], ["Garden", "Pots"], ["Garden", "Hoses"], None],
        "brand": ["Acme", None, "Acme", "Bolt"],
        "price": [1.0, 2.0, None, 4.0],
        "currency": ["EUR", "EUR", None, "USD"],
    }
)


def test_kinds_are_numbers_and_the_unknown_is_minus_one() -> None:
    kinds = item_kinds(ITEMS)
    assert kinds["same_category"].tolist() == [1, 1, 0, -1]
    assert kinds["same_brand"].tolist() == [0, -1, 0, 1]
    # A dollar is not compared with a euro.
    np.testing.assert_array_equal(prices(ITEMS), [1.0, 2.0, np.nan, np.nan])
    assert kinds["same_price_band"].tolist() == [0, 4, -1, -1]
    assert set(item_kinds(ITEMS.with_columns(brand=pl.lit("Acme")))) == {"same_category", "same_price_band"}


def test_facts_are_categories_and_the_slices_that_were_asked_for() -> None:
    facts = item_facts(ITEMS, by=BY)
    assert facts.categories is not None and facts.categories.tolist() == [2, 2, 1, 0]
    assert list(facts.groups) == [
        "category:Garden > Pots",
        "category:Garden > Hoses",
        "brand:Acme",
        "brand:Bolt",
        "price:1",
        "price:5",
    ]
    bare = item_facts(ITEMS.select("item_id"), by=BY)
    assert (bare.categories, bare.groups) == (None, {})

import numpy as np
import pytest
from hubspoke.retrieval.rules import Catalog, CatalogRules, Rules, unknown_names
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

IDS = ["rose", "fern", "spade", "rake", "pot", "vase"]
BRANDS = ["Flora", "Flora", "Acme", "Acme", None, None]
PATHS = [("garden", "plants"), ("garden", "plants", "shade"), ("garden", "tools"), ("garden", "tools"), (), ("home",)]
CATALOG = Catalog(IDS, BRANDS, PATHS)
RANKED = [(row, 1.0 - row / 10) for row in (3, 0, 2, 4, 1, 5)]
ALL = np.ones(len(IDS), dtype=bool)


def over(**rules) -> CatalogRules:
    return CatalogRules(Rules.model_validate(rules), CATALOG)


def shown(rules: CatalogRules, first=()) -> list[str]:
    """What is left of the ranking as an index would give it, after what it begins with."""
    ranked = [(row, score) for row, score in RANKED if not rules.hidden[row] and row not in first]
    return [IDS[row] for row, _ in rules.limit(ranked, first)]


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ({}, ["rake", "rose", "spade", "pot", "fern", "vase"]),
        ({"hide_items": ["rake", "nothing"]}, ["rose", "spade", "pot", "fern", "vase"]),
        ({"hide_brands": ["Acme"]}, ["rose", "pot", "fern", "vase"]),
        ({"hide_categories": ["garden > plants"]}, ["rake", "spade", "pot", "vase"]),
        ({"hide_categories": ["garden"]}, ["pot", "vase"]),
        ({"hide_categories": ["plants"]}, ["rake", "rose", "spade", "pot", "fern", "vase"]),
        ({"max_per_brand": 1}, ["rake", "rose", "pot", "vase"]),
    ],
)
def test_what_is_left_of_a_ranking(rules, left):
    assert shown(over(**rules)) == left


def test_pinned_items_lead_in_their_order_where_they_are_allowed():
    rules = over(pin=["vase", "rose", "rake", "nothing"], hide_brands=["Acme"])
    assert rules.pinned(~rules.hidden) == [5, 0]
    assert rules.pinned(~rules.hidden & (np.arange(6) != 5)) == [0]
    assert shown(rules, first=[5, 0]) == ["pot", "fern"]
    # They count against the limit of their brand.
    assert shown(over(max_per_brand=1), first=[1]) == ["rake", "pot", "vase"]


def test_names_that_the_catalog_does_not_hold_are_told_by_field():
    unknown = {"hide_items": ["oak"], "hide_brands": ["Akme"], "hide_categories": ["tools"], "pin": ["elm"]}
    known = {"hide_items": ["rose", "oak"], "hide_categories": ["garden>tools", "tools"]}
    assert unknown_names(Rules.model_validate(unknown | known), CATALOG) == unknown
    assert unknown_names(Rules(hide_categories=["garden > plants > shade"]), CATALOG) == {}
    for unclear in ({"max_per_brand": 0}, {"pin": [""]}):
        with pytest.raises(ValidationError):
            Rules.model_validate(unclear)


PINS = st.lists(st.sampled_from(IDS), unique=True, max_size=3)


@given(order=st.permutations(range(len(IDS))), limit=st.integers(1, 3), pins=PINS)
def test_a_list_keeps_the_order_of_the_ranking_and_the_limit(order, limit, pins):
    rules = over(max_per_brand=limit, pin=pins)
    first = rules.pinned(ALL)
    left = [row for row, _ in rules.limit(((row, 0.0) for row in order if row not in first), first)]
    assert left == [row for row in order if row in left]
    for brand in ("Flora", "Acme"):
        of_brand = [row for row in [*first, *left] if BRANDS[row] == brand]
        assert len(of_brand) <= max(limit, sum(BRANDS[row] == brand for row in first))

from __future__ import annotations

import pytest
from hubspoke.retrieval.rules import CatalogItem, CatalogRules, Rules, unknown_names
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

ITEMS = [
    CatalogItem("rose", "Flora", ("garden", "plants")),
    CatalogItem("fern", "Flora", ("garden", "plants", "shade")),
    CatalogItem("spade", "Acme", ("garden", "tools")),
    CatalogItem("rake", "Acme", ("garden", "tools")),
    CatalogItem("pot", None, ()),
    CatalogItem("vase", None, ("home",)),
]
RANKED = [(row, 1.0 - row / 10) for row in (3, 0, 2, 4, 1, 5)]


def shown(ranked, rules: CatalogRules, taken=()) -> list[str]:
    return [ITEMS[row].item_id for row, _ in rules.limit(ranked, taken)]


def over(**rules) -> CatalogRules:
    return CatalogRules(Rules.model_validate(rules), ITEMS)


def test_no_rules_change_nothing():
    assert list(over().limit(RANKED)) == RANKED
    assert (over().hidden, over().pinned(())) == (frozenset(), [])


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ({"hide_items": ["rake", "nothing"]}, ["rose", "spade", "pot", "fern", "vase"]),
        ({"hide_brands": ["Acme"]}, ["rose", "pot", "fern", "vase"]),
        ({"hide_categories": ["garden > plants"]}, ["rake", "spade", "pot", "vase"]),
        ({"hide_categories": ["garden"]}, ["pot", "vase"]),
        ({"hide_categories": ["plants"]}, ["rake", "rose", "spade", "pot", "fern", "vase"]),
        ({"max_per_brand": 1}, ["rake", "rose", "pot", "vase"]),
    ],
)
def test_what_is_left_of_a_ranking(rules, left):
    assert shown(RANKED, over(**rules)) == left


def test_pinned_items_lead_in_their_order_unless_they_are_hidden():
    rules = over(pin=["vase", "rose", "rake", "nothing"], hide_brands=["Acme"])
    assert rules.pinned(()) == [5, 0]
    assert rules.pinned([5]) == [0]
    assert shown(RANKED, rules, taken=[5, 0]) == ["pot", "fern"]


def test_pinned_items_count_against_the_limit_of_their_brand():
    assert shown(RANKED, over(max_per_brand=1), taken=[1]) == ["rake", "pot", "vase"]


def test_names_that_the_catalog_does_not_hold_are_told_by_field():
    rules = Rules(
        hide_items=["rose", "oak"], hide_brands=["Akme"], hide_categories=["garden>tools", "tools"], pin=["elm"]
    )
    assert unknown_names(rules, ITEMS) == {
        "hide_items": ["oak"],
        "hide_brands": ["Akme"],
        "hide_categories": ["tools"],
        "pin": ["elm"],
    }
    assert unknown_names(Rules(hide_categories=["garden > plants > shade"]), ITEMS) == {}


@pytest.mark.parametrize("wrong", [{"hide": ["rose"]}, {"max_per_brand": 0}, {"pin": [""]}, {"pin": "rose"}])
def test_rules_that_say_nothing_clear_are_refused(wrong):
    with pytest.raises(ValidationError):
        Rules.model_validate(wrong)


@given(
    order=st.permutations(range(len(ITEMS))),
    limit=st.integers(1, 3),
    pins=st.lists(st.sampled_from([item.item_id for item in ITEMS]), unique=True, max_size=3),
)
def test_a_list_keeps_the_order_of_the_ranking_and_the_limit(order, limit, pins):
    rules = over(max_per_brand=limit, pin=pins)
    taken = rules.pinned(())
    left = [row for row, _ in rules.limit(((row, 0.0) for row in order), taken)]
    assert left == [row for row in order if row in left] and not set(left) & set(taken)
    for brand in ("Flora", "Acme"):
        of_brand = [row for row in [*taken, *left] if ITEMS[row].brand == brand]
        assert len(of_brand) <= max(limit, sum(ITEMS[row].brand == brand for row in taken))

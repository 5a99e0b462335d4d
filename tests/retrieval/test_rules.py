from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hubspoke.retrieval.rules import REACH, CatalogRules, Rules, spread, unknown_names
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

IDS = ["rose", "fern", "spade", "rake", "pot", "vase"]
BRANDS = ["Flora", "Flora", "Acme", "Acme", None, None]
PATHS = [["garden", "plants"], ["garden", "plants", "shade"], ["garden", "tools"], ["garden", "tools"], [], ["home"]]
# Margins: 50 %, 20 %, below cost, unknown, unknown (free), 0.
PRICES, COSTS = [10.0, 10.0, 10.0, 10.0, 0.0, 5.0], [5.0, 8.0, 12.0, None, 0.0, 5.0]
# The newest that is not in the future is the vase.
DAYS = [1, 20, None, 10, 300, 31]
CATALOG = pl.DataFrame(
    {
        "item_id": IDS,
        "brand": BRANDS,
        "category_path": PATHS,
        "price": PRICES,
        "cost": COSTS,
        "created_at": [None if day is None else datetime(2024, 1, 1, tzinfo=UTC) for day in DAYS],
    },
    schema_overrides={"cost": pl.Float64, "created_at": pl.Datetime("us", "UTC")},
).with_columns(pl.col("created_at") + pl.duration(days=pl.Series([day or 0 for day in DAYS])))
NOW = datetime(2024, 2, 15, tzinfo=UTC)
RANKED = [(row, 1.0 - place / 10) for place, row in enumerate((3, 0, 2, 4, 1, 5))]
ALL = np.ones(len(IDS), dtype=bool)


def over(items: pl.DataFrame = CATALOG, **rules) -> CatalogRules:
    return CatalogRules(Rules.model_validate(rules), items, NOW)


def best_of(rows, n):
    """The best of some rows by the scores of `RANKED`."""
    wanted = set(rows.tolist())
    return [(row, score) for row, score in RANKED if row in wanted][:n]


def shown(rules: CatalogRules, first=(), groups=None) -> list[str]:
    """What a shopper sees of the ranking, after what the list begins with."""
    allowed = ~rules.hidden
    allowed[list(first)] = False
    arranged = rules.arranged(((row, score) for row, score in RANKED if allowed[row]), allowed, best_of)
    return [IDS[row] for row, _ in rules.limit(arranged.ranked, first, arranged.fresh, groups)]


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ({}, ["rake", "rose", "spade", "pot", "fern", "vase"]),
        ({"hide_items": ["rake", "nothing"]}, ["rose", "spade", "pot", "fern", "vase"]),
        ({"hide_brands": ["Acme"]}, ["rose", "pot", "fern", "vase"]),
        ({"hide_categories": ["garden > plants"]}, ["rake", "spade", "pot", "vase"]),
        ({"hide_categories": ["garden"]}, ["pot", "vase"]),
        ({"hide_categories": ["plants"]}, ["rake", "rose", "spade", "pot", "fern", "vase"]),
        ({"hide_categories": ["gard"]}, ["rake", "rose", "spade", "pot", "fern", "vase"]),
        ({"min_margin": 0}, ["rake", "rose", "pot", "fern", "vase"]),
        ({"min_margin": 0.2}, ["rake", "rose", "pot", "fern"]),
        ({"min_margin": 0.2, "hide_unknown_margin": True}, ["rose", "fern"]),
        ({"max_per_brand": 1}, ["rake", "rose", "pot", "vase"]),
        ({"max_per_category": 1}, ["rake", "rose", "pot", "fern", "vase"]),
        ({"max_per_category": 2, "category_depth": 1}, ["rake", "rose", "pot", "vase"]),
        ({"max_per_brand": 1, "max_per_category": 1, "category_depth": 1}, ["rake", "pot", "vase"]),
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


def test_a_boost_adds_quartile_distances_of_the_scores():
    # Scores 1.0, 0.9 ... 0.5: quartiles 0.875 and 0.625.
    assert spread([score for _, score in RANKED]) == pytest.approx(0.25)
    rules = over(boost=[{"brands": ["Flora"], "by": 1}, {"items": ["fern", "rake"], "by": -0.4}])
    arranged = rules.arranged(RANKED, ALL, best_of)
    expected = [("rose", 1.15), ("rake", 0.9), ("spade", 0.8), ("fern", 0.75), ("pot", 0.7), ("vase", 0.5)]
    assert [(IDS[row], pytest.approx(score)) for row, score in arranged.ranked] == expected
    # Every condition of a boost is to be met, each by any of its names.
    lifted = over(boost=[{"brands": ["Flora", "Acme"], "categories": ["garden > plants > shade", "home"], "by": 2}])
    assert np.flatnonzero(lifted.boosts).tolist() == [1]
    # The vase is the newest; the pot comes only later, and of the spade nothing is known.
    new = over(boost=[{"new_days": 21, "by": 1}])
    assert [IDS[row] for row in np.flatnonzero(new.boosts)] == ["fern", "rake", "pot", "vase"]
    # Equal scores are told apart by the smallest boost, none of them by none.
    assert (spread([2.0] * 9), spread([2.0] * 9 + [3.0]), spread([])) == (1.0, pytest.approx(0.3), 1.0)


@given(
    st.lists(st.floats(-5, 5, width=16), min_size=REACH, max_size=3 * REACH),
    st.sampled_from([-3.0, -0.5, 0.5, 3.0]),
    st.floats(0, 1),
    st.integers(0, 9),
)
def test_the_first_places_are_those_of_the_boosted_scores_of_the_whole_catalog(scores, by, share, seed):
    """By brute force, for rows that are lifted from far below and rows that are held back."""
    n = len(scores)
    boosted = np.random.default_rng(seed).random(n) < share
    items = pl.DataFrame({"item_id": [str(row) for row in range(n)], "brand": np.where(boosted, "in", "out")})
    items = items.with_columns(category_path=None, price=None, cost=None, created_at=None)
    order = np.lexsort((np.arange(n), -np.array(scores)))
    ranked = [(int(row), scores[row]) for row in order]

    def best(rows, k):
        return sorted(((int(row), scores[row]) for row in rows), key=lambda own: (-own[1], own[0]))[:k]

    rules = over(items, boost=[{"brands": ["in"], "by": by}])
    found = list(rules.arranged(ranked, np.ones(n, dtype=bool), best).ranked)
    unit = spread([score for _, score in ranked[:REACH]])
    whole = np.array(scores) + unit * by * boosted
    expected = np.lexsort((np.arange(n), -whole))
    assert [row for row, _ in found[:REACH]] == expected[:REACH].tolist()
    assert sorted(row for row, _ in found) == list(range(n))


def test_a_share_of_every_beginning_of_a_list_is_new():
    # Of 31 days before the vase: rose (30), fern (11), rake (21), vase, and the pot to come; not the spade.
    share = {"fresh_days": 12, "fresh_share": 0.5}  # fern, pot and vase
    assert shown(over(**share)) == ["rake", "pot", "rose", "fern", "spade", "vase"]
    assert shown(over(**share), first=[5]) == ["rake", "rose", "pot", "spade", "fern"]
    assert shown(over(**share | {"fresh_share": 1})) == ["pot", "fern", "vase", "rake", "rose", "spade"]
    # The limit of a brand holds for new items, too.
    assert shown(over(**share, max_per_brand=1, boost=[{"items": ["fern"], "by": 9}])) == [
        "fern",
        "rake",
        "pot",
        "vase",
    ]
    assert shown(over(**share, hide_items=["pot", "fern", "vase"])) == ["rake", "rose", "spade"]
    # One product is not called twice: the rose that is another fern comes last.
    assert shown(over(**share), groups=np.array([1, 1, 2, 3, 3, 5])) == ["rake", "fern", "spade", "vase", "pot", "rose"]


def test_what_hides_an_item_and_which_cap_is_full_is_said():
    rules = over(hide_items=["rose"], hide_brands=["Acme"], hide_categories=["home"], min_margin=0.3)
    said = ["this item", "a margin below 0.3", "brand Acme", "brand Acme", None, "category home"]
    assert [rules.why_hidden(row) for row in range(6)] == said
    assert over(min_margin=0, hide_unknown_margin=True).why_hidden(3) == "an unknown margin"
    caps = over(max_per_brand=2, max_per_category=1, category_depth=1)
    assert caps.full(0, [1, 4]) == "its category has reached the limit of 1"
    assert over(max_per_brand=1).full(0, [1]) == "its brand has reached the limit of 1"
    assert (caps.full(4, [4, 5]), over().full(0, [1])) == (None, None)


def test_names_that_the_catalog_does_not_hold_are_told_by_field():
    unknown = {"hide_items": ["oak"], "hide_brands": ["Akme"], "hide_categories": ["tools"], "pin": ["elm"]}
    known = {"hide_items": ["rose", "oak"], "hide_categories": ["garden>tools", "tools"]}
    assert unknown_names(Rules.model_validate(unknown | known), CATALOG) == unknown
    assert unknown_names(Rules(hide_categories=["garden > plants > shade"]), CATALOG) == {}
    boosts = [{"items": ["rose", "oak"], "by": 1}, {"brands": ["Akme"], "categories": ["garden", "sea"], "by": 1}]
    told = {"boost.items": ["oak"], "boost.brands": ["Akme"], "boost.categories": ["sea"]}
    assert unknown_names(Rules.model_validate({"boost": boosts}), CATALOG) == told


@pytest.mark.parametrize(
    "unclear",
    [
        {"max_per_brand": 0},
        {"pin": [""]},
        {"boost": [{"by": 1}]},
        {"boost": [{"items": ["rose"]}]},
        {"boost": [{"items": ["rose"], "by": float("nan")}]},
        {"fresh_share": 1.5},
        {"min_margin": 1},
        {"hide_unknown_margin": True},
        {"category_depth": 1},
    ],
)
def test_unclear_rules_are_refused(unclear):
    with pytest.raises(ValidationError):
        Rules.model_validate(unclear)


PINS = st.lists(st.sampled_from(IDS), unique=True, max_size=3)


@given(
    order=st.permutations(range(len(IDS))),
    limit=st.integers(1, 3),
    pins=PINS,
    share=st.sampled_from([None, 0.2, 0.5, 1]),
)
def test_a_list_keeps_its_caps_and_loses_nothing_that_has_a_place(order, limit, pins, share):
    rules = over(max_per_brand=limit, pin=pins, fresh_share=share, fresh_days=12)
    first = rules.pinned(ALL)
    ranked = [(row, 1.0 - place / 10) for place, row in enumerate(order) if row not in first]
    new = [(row, score) for row, score in ranked if rules.new[row]]
    left = [row for row, _ in rules.limit(ranked, first, new)]
    assert len(set(left)) == len(left)
    if share is None:
        assert left == [row for row in order if row in left]
    for brand in ("Flora", "Acme"):
        of_brand = sum(BRANDS[row] == brand for row in [*first, *left])
        pinned = sum(BRANDS[row] == brand for row in first)
        assert of_brand == max(min(limit, 2), pinned)
    assert {4, 5} <= {*first, *left}  # no brand
    # A place goes to a new item, while there are any, wherever the list up to it would hold too few.
    for place in range(len(first), len(first) + len(left)) if share else ():
        head, following = [*first, *left][:place], [*first, *left][place:]
        if sum(bool(rules.new[row]) for row in head) < int(share * (place + 1) + 1e-9):
            assert rules.new[following[0]] or not rules.new[following].any()

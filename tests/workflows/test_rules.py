"""Merchandising rules from a file to the list that a shopper sees, and the release that holds them."""

from typing import Any

import polars as pl
import pytest
from hubspoke.errors import CorruptArtifactError, InvalidDataError, NotFoundError, UsageError
from hubspoke.registry.records import Parent, ReleaseParts
from hubspoke.retrieval import rules
from hubspoke.retrieval.rules import spread
from hubspoke.workflows import recommendations
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.workspace import Workspace

SESSION = ["lamps-0003", "lamps-0011"]


def ids(ws: Workspace, ref: str = "lamps", **options: Any) -> list[str]:
    return [item["item_id"] for item in ws.recommend(ref, **{"session": SESSION, **options}).items]


def in_force(ws: Workspace, **given: Any) -> str:
    ref = str(ws.rules.set("lamps", given).ref)
    ws.promote("lamps", rules=ref)
    return ref


def test_rules_serve_from_the_promotion_on_and_a_rollback_takes_them_back(shop: Workspace, refused: Any) -> None:
    before = ids(shop)
    made = shop.rules.set("lamps", {"hide_items": [before[0]], "pin": ["lamps-0039"]})
    assert (made.ref, made.hidden, made.cached) == ("rules:lamps/1", 1, False)
    assert shop.rules.set("lamps", {"pin": ["lamps-0039"], "hide_items": [before[0]]}).cached
    assert ids(shop) == before
    moved = shop.promote("lamps", rules="rules:lamps/1", reason="recall")
    assert (moved.spoke, moved.rules) == ("lamps:1", "rules:lamps/1")
    answer = shop.recommend("lamps", SESSION)
    expected = [item for item in before[1:] if item != "lamps-0039"][:9]
    assert ids(shop)[: len(expected) + 1] == ["lamps-0039", *expected] and len(answer.items) == 10
    assert (answer.rules, [item["pinned"] for item in answer.items]) == ("rules:lamps/1", [True] + [False] * 9)
    assert ids(shop, "lamps:1") == before  # a version by itself has no rules
    # A new version keeps the rules in force until they are lifted.
    built = shop.index.build("lamps:1", force=True)
    assert shop.promote(str(built.ref)).rules == "rules:lamps/1"
    assert shop.rules.show("lamps").live == shop.rules.check("lamps").ref == "rules:lamps/1"
    assert shop.rules.clear("lamps", dry_run=True).dry_run and shop.recommend("lamps").rules == "rules:lamps/1"
    lifted = shop.rules.clear("lamps", reason="recall is over")
    assert (lifted.rules, lifted.index) == (None, built.ref)
    assert (shop.rules.show("lamps").live, shop.recommend("lamps").rules) == (None, None)
    assert shop.rules.clear("lamps").cached and ids(shop) == before
    shop.promote("lamps:1", rules="rules:lamps/1")
    shop.rollback("lamps")
    assert ids(shop) == before
    refused(NotFoundError, "rules:lamps/9", shop.promote, "lamps", rules="rules:lamps/9")


def test_a_list_stays_full_whatever_is_hidden_or_limited(shop: Workspace) -> None:
    in_force(shop, newcomer_share=1)
    every, popular = ids(shop, k=40), ids(shop, session=())
    in_force(shop, hide_items=every[:25], pin=["lamps-0001"])
    pinned = [] if "lamps-0001" in every[:25] else ["lamps-0001"]
    assert ids(shop, k=15) == [*pinned, *(item for item in every[25:] if item not in pinned)][:15]
    assert len(ids(shop, k=40)) == len(every) - 25
    near = shop.similar("lamps", every[30], k=40).items
    held_back = set(SESSION) - set(every)  # after the session, but not beside an item
    assert {item["item_id"] for item in near} == (set(every[25:]) | held_back) - {every[30]}
    assert not any(item["pinned"] for item in near)
    in_force(shop, hide_items=popular[:2], pin=[popular[5]], newcomer_share=1)
    assert ids(shop, session=())[:8] == [popular[5], *popular[2:5], *popular[6:10]]
    # A limit per brand reaches for what comes after.
    brand, expected = dict(load_dataset(shop, "lamps").items.select("item_id", "brand").iter_rows()), list[str]()
    for item in every:
        if brand[item] is None or [brand[own] for own in expected].count(brand[item]) < 2:
            expected.append(item)
    in_force(shop, max_per_brand=2)
    assert len({name for name in brand.values() if name}) > 1 and len(expected) < len(every)
    for k in (1, len(expected) - 1, 40):
        assert ids(shop, k=k) == expected[:k]


def test_a_boost_lifts_from_beyond_the_best_and_a_longer_list_begins_with_the_shorter(shop: Workspace) -> None:
    recommender = recommendations.Recommender(shop, "lamps")
    before = {item["item_id"]: item["score"] for item in recommender.recommend(SESSION, k=40).items}
    last = list(before)[-1]
    in_force(shop, boost=[{"items": [last], "by": 0.5}, {"items": [next(iter(before))], "by": -0.25}])
    answer = shop.recommend("lamps", SESSION, k=40)
    unit = spread(list(before.values()))
    expected = dict(before) | {last: before[last] + unit / 2}
    expected[next(iter(before))] -= unit / 4
    assert {item["item_id"]: item["score"] for item in answer.items} == pytest.approx(expected, abs=1e-4)
    assert [item["item_id"] for item in answer.items] == sorted(expected, key=lambda item: -expected[item])
    for k in (1, 7):
        assert ids(shop, k=k) == [item["item_id"] for item in answer.items[:k]]
    # Neighbours and what was looked for are not lifted.
    in_force(shop, boost=[{"items": [last], "by": 100}])
    near = recommender.similar("lamps-0001", k=40).items
    assert shop.similar("lamps", "lamps-0001", k=40).items == near and ids(shop, k=1) == [last]
    assert last not in ids(shop, session=[last], k=39, exclude_seen=True)


def test_a_boost_of_more_than_it_reaches_has_the_best_of_them(shop: Workspace, monkeypatch: Any) -> None:
    reach = 3
    before = {item["item_id"]: item["score"] for item in shop.recommend("lamps", SESSION, k=40).items}
    lifted = sorted(before)[::3]
    unit = spread(list(before.values())[:reach])
    boosted = {item: score + (10 * unit if item in lifted else 0) for item, score in before.items()}
    in_force(shop, boost=[{"items": lifted, "by": 10}])
    monkeypatch.setattr(rules, "REACH", reach)
    found = ids(shop, k=40)
    assert len(lifted) > reach and found[:reach] == sorted(boosted, key=lambda item: -boosted[item])[:reach]
    assert sorted(found) == sorted(before)


def test_what_is_sold_below_its_margin_is_not_shown_and_older_rules_stay_what_they_are(shop: Workspace) -> None:
    items = load_dataset(shop, "lamps").items
    cost = pl.when(pl.int_range(pl.len()) < 5).then(pl.col("price") * 0.9).otherwise(pl.col("price") * 0.5)
    priced = items.select("item_id", "title", "price", "brand", cost=pl.when(pl.col("price") > 0).then(cost))
    shop.data.ingest("lamps", items=priced)
    made = shop.rules.set(
        "lamps", {"min_margin": 0.3, "boost": [{"brands": [items["brand"].drop_nulls()[0]], "by": 1}]}
    )
    assert (made.hidden, made.boosted > 0, made.new, made.margin_unknown) == (5, True, 0, 0)
    shop.promote("lamps", rules=made.ref)
    assert not {f"lamps-{row:04d}" for row in range(5)} & set(ids(shop, k=40))
    # A version from before there were margins and boosts is the same rules.
    older = {"hide_items": ["lamps-0001"], "hide_brands": [], "hide_categories": [], "pin": [], "max_per_brand": 2}
    record, _ = shop.registry.rules.add("lamps", older)
    again = shop.rules.set("lamps", {"max_per_brand": 2, "hide_items": ["lamps-0001"]})
    assert (again.ref, again.cached, shop.rules.check("lamps", record.ref).ok) == (record.ref, True, True)
    shop.promote("lamps", rules=record.ref)
    assert "lamps-0001" not in ids(shop, k=40)


def test_rules_are_held_against_the_newest_catalog(shop: Workspace, refused: Any) -> None:
    with pytest.raises(InvalidDataError, match=r"lamps nor what is live there holds pin: lamp-1; correct these names"):
        shop.rules.set("lamps", {"pin": ["lamp-1"]})
    refused(UsageError, "hide", shop.rules.set, "lamps", {"hide": ["lamps-0001"]})
    with pytest.raises(NotFoundError, match=r"No rules are in force in lamps; name a version, such as rules:lamps/1"):
        shop.rules.check("lamps")
    rules = {"hide_items": ["lamps-0001"], "pin": ["lamps-0002"]}
    planned = shop.rules.set("lamps", rules, dry_run=True)
    assert (planned.ref, planned.dry_run, shop.rules.show("lamps").rules) == (None, True, [])
    shop.rules.set("lamps", rules)
    assert shop.rules.check("lamps", "rules:lamps/1").ok
    items = load_dataset(shop, "lamps").items.filter(pl.col("item_id") != "lamps-0002").select("item_id", "title")
    shop.data.ingest("lamps", items=items)
    after = shop.rules.check("lamps", "rules:lamps/1")
    assert (after.ok, after.hidden, after.unknown) == (False, 1, {"pin": ["lamps-0002"]})
    shop.domain.add("mugs", items)
    with pytest.raises(UsageError, match="holds rules of lamps; name a version like rules:mugs/1"):
        shop.rules.check("mugs", "rules:lamps/1")


def test_a_release_with_a_damaged_reranker_is_not_served_without_it(shop: Workspace) -> None:
    registry, spoke = shop.registry, shop.spoke.show("lamps:1")
    begun = registry.models.begin("reranker", "lamps", "r", {}, seed=0)
    artifact = shop.artifacts.read(str(spoke.artifact))
    registry.models.finish(begun.ref, artifact, str(spoke.space_fingerprint), {}, [Parent("lamps:1", "built_from")])
    registry.aliases.promote("lamps", "live", ReleaseParts("hub:1", "index:lamps/1", "lamps:1", begun.ref), "tester")
    with pytest.raises(CorruptArtifactError, match=r"the re-ranker in .* cannot be read"):
        shop.recommend("lamps", SESSION)


def test_an_alias_that_moves_while_a_recommender_loads_gives_no_parts_of_two(shop: Workspace, monkeypatch: Any) -> None:
    shop.rules.set("lamps", {"pin": ["lamps-0039"]})
    real = recommendations.index_of

    def moved_first(ws: Workspace, ref: str) -> Any:
        ws.promote("lamps", rules="rules:lamps/1")
        return real(ws, ref)

    monkeypatch.setattr(recommendations, "index_of", moved_first)
    loaded = recommendations.Recommender(shop, "lamps")
    assert shop.registry.domains.get("lamps").live == "release:lamps/2"
    assert loaded.recommend(SESSION).rules is None
    monkeypatch.undo()
    assert shop.recommend("lamps", SESSION).rules == "rules:lamps/1"

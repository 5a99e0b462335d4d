"""Explanations: of the ordinary list in its order, adding up where they say so, and open about what they leave out."""

import shutil
from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.spokes.mixture import Mixture, MixtureWeights
from hubspoke.workflows.answers import Answer
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.explain import Explanation
from hubspoke.workflows.workspace import Workspace

SESSION = ["lamps-0003", "lamps-0011", "lamps-0003", "lamps-0020"]


def ids(answer: Any) -> list[str]:
    return [item["item_id"] if isinstance(item, dict) else item.item_id for item in answer.items]


def check_sums(explained: Explanation) -> None:
    """The parts of each item, and of each event that is told beside it, add up as they are rounded."""
    for item in explained.items:
        assert sum(part.score for part in item.parts) == pytest.approx(item.score, abs=1e-5)
        assert [event.position for event in item.events] == list(range(1, len(explained.session) + 1))
        for event in item.events:
            assert sum(event.parts.values()) == pytest.approx(event.score, abs=1e-5)


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("by_user", [False, True])
def test_the_list_is_explained_in_its_order(shop: Workspace, exclude_seen: bool, by_user: bool) -> None:
    sequences = load_dataset(shop, "lamps").sequences.by_user()
    user = sequences.user_ids[int(sequences.users[7])]
    asked: dict[str, Any] = {"user": user} if by_user else {"session": SESSION}
    explained = shop.explain("lamps", **asked, k=6, exclude_seen=exclude_seen)
    listed = shop.recommend("lamps", **asked, k=6, exclude_seen=exclude_seen)
    assert ids(explained) == ids(listed)
    assert [(item.rank, item.score_rank) for item in explained.items] == [(n, n) for n in range(1, 7)]
    assert [item.score for item in explained.items] == pytest.approx([item["score"] for item in listed.items], abs=1e-4)
    about = Answer.__dataclass_fields__
    assert [getattr(explained, name) for name in about] == [getattr(listed, name) for name in about]
    assert [item.cold for item in explained.items] == [item["cold"] for item in listed.items]
    assert explained.notes == []
    check_sums(explained)
    # A catalog as small as this may ask for its trend or not.
    assert {part.name for part in explained.items[0].parts} - {"trend", "repeat"} == {"behaviour", "cold", "text"}
    assert set(explained.items[0].behaviour_parts) >= {"text", "bias", "item id"}
    attention, item = explained.attention, explained.items[0]
    assert attention is not None and len(attention.mean) == len(explained.session)
    np.testing.assert_allclose(np.mean(attention.blocks, axis=(0, 1)), attention.mean, atol=1e-5)
    # The place that the best item would have without its words.
    assert item.without_image is None and item.without_text is not None
    others = shop.recommend("lamps", **asked, k=40, exclude_seen=exclude_seen).items[1:]
    assert item.without_text.score_rank == 1 + sum(one["score"] > item.without_text.score for one in others) > 1


def test_items_that_are_asked_for_are_explained_wherever_they_stand(shop: Workspace, monkeypatch: Any) -> None:
    ranked = ids(shop.recommend("lamps", SESSION, k=40))
    asked = [ranked[30], ranked[1], ranked[30]]
    explained = shop.explain("lamps", ["oak", *SESSION], k=2, items=asked)
    assert ids(explained) == asked[:2]
    assert [(item.rank, item.score_rank) for item in explained.items] == [(None, 31), (2, 2)]
    assert ([item.not_shown for item in explained.items], explained.unknown) == ([None, None], ["oak"])
    seen = shop.explain("lamps", SESSION, exclude_seen=True, items=["lamps-0003"]).items[0]
    assert (seen.rank, seen.not_shown) == (None, "in the session")
    # A spoke that chose content alone says so.
    alone = MixtureWeights(behaviour=0.0, content=1.0, image_share=0.4, recency_decay=0.7, recent_events=5)
    monkeypatch.setattr(Mixture, "weights", lambda _self, _exclude: alone)
    explained = shop.explain("lamps", SESSION, k=2)
    assert explained.attention is None
    assert explained.notes == ["Content alone was best on validation: behaviour has no weight in the score."]
    check_sums(explained)
    # A launch floor is explained by content alone.
    monkeypatch.undo()
    shop.index.build("hub:1", domain="lamps")
    explained = shop.explain("index:lamps/2", SESSION[:2], k=3)
    assert (explained.served_by, ids(explained)) == ("hub:1", ids(shop.recommend("index:lamps/2", SESSION[:2], k=3)))
    check_sums(explained)
    item = explained.items[0]
    assert [(part.name, part.share) for part in item.parts] == [("text", 1.0)]
    assert (item.cold, item.behaviour_parts, explained.attention) == (True, {}, None)
    assert explained.notes == ["No behaviour has been trained: content alone decides, and attends to nothing."]
    # Without its only modality an item scores nothing.
    assert item.without_text is not None and item.without_text.score == 0.0


def test_rules_and_stock_say_why_an_item_is_not_shown(ws: Workspace, tiny_hub: Any) -> None:
    items = {"item_id": ["a", "b", "c", "d"], "title": ["oak table", "elm table", "oak chair", "elm chair"]}
    ws.hub.train(domains=[], config=tiny_hub)
    ws.launch("tables", pl.DataFrame({**items, "available": ["yes", "no", "yes", "yes"]}))
    rules = ws.rules.set("tables", {"hide_items": ["c"], "pin": ["d"]}).ref
    ws.promote("tables", rules=rules)
    explained = ws.explain("tables", ["a"], k=2)
    assert [(item.item_id, item.pinned) for item in explained.items] == [("d", True), ("a", False)]
    assert (explained.items[1].score_rank, explained.rules) == (1, rules)
    asked = ws.explain("tables", ["a"], items=["b", "c", "a"]).items
    assert [item.not_shown for item in asked] == ["not available", f"hidden by {rules} (this item)", None]


def test_the_stages_say_where_an_item_stood_and_what_was_barred(shop: Workspace) -> None:
    before = ids(shop.recommend("lamps", SESSION, k=40))
    rules = {"hide_items": [before[0]], "boost": [{"items": [before[20]], "by": 100}], "max_per_brand": 1}
    ref = shop.rules.set("lamps", rules).ref
    shop.promote("lamps", rules=ref)
    explained = shop.explain("lamps", SESSION, k=6)
    assert ids(explained) == ids(shop.recommend("lamps", SESSION, k=6))
    first, second = explained.items[:2]
    # What is hidden has no place.
    assert (first.item_id, first.boost, first.score_rank) == (before[20], 100, 20)
    assert first.places == {"retrieve": 20, "rules": 1, "diversity": 1, "list": 1}
    place = 1 + before[1:].index(second.item_id)
    assert (second.boost, second.score_rank, second.places) == (
        0,
        place,
        {"retrieve": place, "rules": place + 1, "diversity": place + 1, "list": 2},
    )
    # What the shopper has just seen is barred, too.
    hidden = next(own for own in explained.barred if own.stage != "session")
    assert (hidden.item_id, hidden.stage) == (before[0], "rules")
    assert hidden.reason == f"hidden by {ref} (this item)"
    assert {own.reason for own in explained.barred if own.stage == "caps"} == {"its brand has reached the limit of 1"}
    # Whatever scores as well as the last of the list by score is in it, or it is said why not.
    last = max(before.index(item) for item in ids(explained)[1:])
    told = {own.item_id for own in explained.barred} | set(ids(explained))
    assert set(before[:last]) <= told
    overtaken = [own.reason for own in explained.barred if own.stage == "rules"][1:]
    assert overtaken == ["items that are pinned, lifted or put forward take its place"]
    # An item that is asked for says it, too, and a filter bars what it does not pass.
    capped = next(own.item_id for own in explained.barred if own.stage == "caps")
    item = shop.explain("lamps", SESSION, k=6, items=[capped]).items[0]
    assert (item.rank, item.not_shown, item.held_back) == (None, None, "its brand has reached the limit of 1")
    assert item.places["list"] is None and item.places["diversity"] is not None
    only = shop.explain("lamps", SESSION, k=2, filter=f"item_id in ('{before[5]}')")
    assert (ids(only), "filter" in {own.stage for own in only.barred}) == ([before[5]], True)
    seen = shop.explain("lamps", SESSION, k=30, exclude_seen=True).barred
    assert {own.item_id for own in seen if own.reason == "in the session"} <= set(SESSION)


def test_one_product_is_barred_by_its_best_item(ws: Workspace, tiny_hub: Any) -> None:
    titles = ["oak table", "elm table", "oak chair", "Oak table!", "elm chair"]
    ws.hub.train(domains=[], config=tiny_hub)
    ws.launch("tables", pl.DataFrame({"item_id": list("abcde"), "title": titles}))
    explained = ws.explain("tables", ["a"], k=3)
    assert [(own.item_id, own.stage, own.reason) for own in explained.barred] == [
        ("d", "diversity", "one product with a")
    ]
    spread = ws.explain("tables", ["a"], k=2, diversity=1.0)
    assert ids(spread) == ids(ws.recommend("tables", ["a"], k=2, diversity=1.0))
    assert {own.reason for own in spread.barred} <= {"one product with a", "like what is shown before it"}


def test_pictures_are_a_part_or_a_note_where_they_are_gone(ws: Any, market: Any, tiny_hub: Any, tmp_path: Any) -> None:
    folder = shutil.copytree(market["lamps"].items.parent, tmp_path / "moved")
    ws.hub.train(domains=[], config={**tiny_hub, "image": {"name": "tiny"}})
    ws.launch("lamps", folder / market["lamps"].items.name, images=folder)
    whole = ws.explain("lamps", SESSION[:2], k=2)
    check_sums(whole)
    assert [part.name for part in whole.items[0].parts] == ["text", "image"]
    assert whole.items[0].without_image is not None
    assert set(whole.items[0].events[0].content) == {"text", "image"}
    shutil.rmtree(folder)
    blind = ws.explain("lamps", SESSION[:2], k=2)
    assert [item.parts for item in blind.items] == [item.parts for item in whole.items]
    assert [item.without_image for item in blind.items] == [None, None]
    assert "cannot be read" in blind.notes[-1]

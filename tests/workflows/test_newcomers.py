"""Shoppers without a session: what is popular with newcomers, and shoppers whom other categories know."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.catalog.parsing import DAY_US
from hubspoke.catalog.sequences import Sequences
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.workflows.answers import Recommendations
from hubspoke.workflows.newcomers import POPULAR, Elsewhere, nearness, newcomer_popularity
from hubspoke.workflows.recommendations import Recommender
from hubspoke.workflows.workspace import Workspace


def catalog(*items: str) -> pl.DataFrame:
    return pl.DataFrame({"item_id": items, "title": [f"item {item}" for item in items]})


def events(histories: dict[str, str]) -> pl.DataFrame:
    """A minute between the events of each shopper, an item a letter."""
    rows = [(user, item, n) for user, items in histories.items() for n, item in enumerate(items)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "minute"], orient="row")
    day = pl.datetime(2024, 5, 1, 10, time_zone="UTC") + pl.duration(minutes=pl.col("minute"))
    return frame.select("user_id", "item_id", timestamp=day)


def ids(answer: Recommendations) -> Sequence[str]:
    return [item["item_id"] for item in answer.items]


@pytest.fixture
def pens(ws: Workspace, tiny_hub: Any) -> Workspace:
    """The live category pens; mugs and cups, which know eve, and ann, who has a session in pens too."""
    ws.hub.train(domains=[], config=tiny_hub)
    # Began with: b 2, a 1. Events: a 3, c 3, b 2, d 1; e has none in a session.
    ws.domain.add("pens", catalog(*"abcde"), events({"ann": "bca", "bob": "bac", "cid": "acd", "dan": "e"}))
    ws.domain.add("mugs", catalog(*"xyz"), events({"ann": "xyz", "eve": "zx"}))
    ws.domain.add("cups", catalog("v"), events({"eve": "v"}), sessions=SessionSettings(min_length=1))
    ws.domain.add("jars", catalog("w"))
    ws.promote(str(ws.index.build("hub:1", domain="pens").ref))
    return ws


def test_without_a_session_it_is_what_is_popular_with_newcomers(pens: Workspace) -> None:
    answer = pens.recommend("pens", k=5)
    assert (answer.served_by, answer.session, answer.known_from) == ("newcomer-popularity", [], [])
    # (1 + began) x (1 + events), once more for the last days, and all events are of one day.
    products = {"b": (3 * 3) ** 2, "a": (2 * 4) ** 2, "c": (1 * 4) ** 2, "d": (1 * 2) ** 2, "e": 1}
    assert {item["item_id"]: item["score"] for item in answer.items} == pytest.approx(
        {item: np.log(product) for item, product in products.items()}, abs=1e-6
    )
    assert ids(answer) == list(products)
    assert ids(pens.recommend("pens", k=2)) == ["b", "a"]


@pytest.mark.parametrize(("time_kind", "products"), [("day", [4, 24]), ("order", [4, 6])])
def test_the_last_days_count_once_more_where_times_are_real(time_kind: Any, products: list[int]) -> None:
    # Row 0 and row 1 on day 0, row 1 on day 40: each has one shopper who began with it.
    days, ends = np.array([0, 0, 40]), np.array([0, 2, 3])
    sequences = Sequences(np.array([0, 1, 1]), days * DAY_US, ends, np.array([0, 1]), ("u", "v"), 2)
    np.testing.assert_allclose(newcomer_popularity(sequences, time_kind), np.log(products))


def test_a_shopper_known_from_other_categories_is_shown_the_same_and_told_from_where(pens: Workspace) -> None:
    recommender = Recommender(pens, "pens")
    answer = recommender.recommend(user="eve", k=3)
    assert (answer.served_by, answer.session, answer.seen_items) == ("newcomer-popularity", [], "ranked")
    assert answer.known_from == [Elsewhere("mugs", 2), Elsewhere("cups", 1)]
    assert answer.items == recommender.recommend(k=3).items
    # Who has a session here is answered by it.
    known = recommender.recommend(user="ann", k=3)
    assert ([item["item_id"] for item in known.session], known.served_by, known.known_from) == (
        list("bca"),
        "hub:1",
        [],
    )
    with pytest.raises(UsageError, match="which no event explains"):
        pens.explain("pens", user="eve")


def test_a_category_that_cannot_be_read_is_told_once_and_passed_over(
    pens: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(pens.progress, "note", notes.append)
    table = pens.artifacts.path(pens.registry.snapshots.get("snapshot:mugs/events/1").artifact) / "table/data.parquet"
    recommender, whole = Recommender(pens, "pens"), table.read_bytes()
    assert recommender.recommend(user="eve").known_from == [Elsewhere("mugs", 2), Elsewhere("cups", 1)]
    table.write_bytes(b"damaged")
    # One that was fine when it was opened, and one that never was.
    for own, user in ((recommender, "EVE"), (Recommender(pens, "pens"), "eve")):
        answer = own.recommend(user=user, k=3)
        assert answer.known_from == ([Elsewhere("cups", 1)] if user == "eve" else [])
        assert answer.items == own.recommend(k=3).items
        # Whom only that category may know is not called unknown.
        assert own.recommend(user="nobody", k=3).items == answer.items
    assert [note.partition(":")[0] for note in notes] == ["whom mugs knows cannot be told"] * 2
    assert "hubspoke data ingest mugs --events FILE" in notes[1]
    table.write_bytes(whole)
    with pytest.raises(NotFoundError, match="'nobody' has no session"):
        pens.recommend("pens", user="nobody")


def test_whom_no_category_knows_is_not_found(pens: Workspace) -> None:
    for user, why in (
        ("nobody", "'nobody' has no session in pens and no event in any other category; check the id"),
        ("dan", "'dan' has 1 events in pens, and a session takes 3; pass --session instead"),
    ):
        with pytest.raises(NotFoundError, match=why):
            pens.recommend("pens", user=user)
    # An archived category is out of use, and so is what it knows.
    pens.domain.archive("mugs")
    assert pens.recommend("pens", user="eve").known_from == [Elsewhere("cups", 1)]
    pens.domain.archive("cups")
    with pytest.raises(NotFoundError, match="'eve' has no session in pens"):
        pens.recommend("pens", user="eve")


def test_rules_and_availability_hold_for_newcomers(pens: Workspace) -> None:
    pens.data.ingest("pens", catalog(*"abcde").with_columns(available=pl.col("item_id") != "a"))
    rules = pens.rules.set("pens", {"pin": ["d"], "hide_items": ["b"]})
    pens.promote("index:pens/1", rules=rules.ref)
    answer = pens.recommend("pens", user="eve", k=5)
    assert [(item["item_id"], item["pinned"]) for item in answer.items] == [("d", True), ("c", False), ("e", False)]


def test_before_anybody_bought_here_it_is_what_is_new(pens: Workspace) -> None:
    pens.promote(str(pens.index.build("hub:1", domain="jars").ref))
    answer = pens.recommend("jars", user="eve")
    assert (answer.served_by, ids(answer)) == ("typical", ["w"])
    assert answer.known_from == [Elsewhere("mugs", 2), Elsewhere("cups", 1)]


def test_what_nobody_has_taken_comes_by_how_near_it_is_to_what_is_popular(pens: Workspace) -> None:
    more = {"e": "item a", "f": "item c", "g": "quite another thing", "h": "item b"}
    items = pl.concat([catalog(*"abcd"), pl.DataFrame({"item_id": list(more), "title": list(more.values())})])
    pens.data.ingest("pens", items)
    pens.promote(str(pens.index.build("hub:1", domain="pens").ref))
    answer = pens.recommend("pens", k=8)
    # The second item called after a product that is shown is not another one, and comes behind.
    assert ids(answer) == ["b", "a", "c", "d", "g", "h", "e", "f"]
    assert [item["score"] for item in answer.items[4:]] == [0.0] * 4


def test_nearness_is_to_the_best_by_score_or_to_all() -> None:
    content = np.array([[2, 0], [0, 1], [1, 1], [0, 0]], np.float32)
    # The first weighs 3 times as much as the second: their mean is (0.75, 0.25).
    half = np.sqrt(0.5)
    found = nearness(content, np.log([3.0, 1.0, 1e-9, 1e-9]))
    np.testing.assert_allclose(found, [0.75, 0.25, half, 0], atol=1e-6)
    # Nobody has taken anything: the mean of the unit vectors, with the one that is none.
    mean = (1 + half) / 4
    np.testing.assert_allclose(nearness(content, np.zeros(4)), [mean, mean, 2 * half * mean, 0], atol=1e-6)
    # What is not among the best has no part in the mean.
    many = np.concatenate([np.tile(np.float32([[1, 0]]), (POPULAR, 1)), np.float32([[0, 1]])])
    assert nearness(many, np.append(np.ones(POPULAR), 0.9))[-1] == 0


def test_rules_put_new_arrivals_forward_and_spread_categories_and_prices(pens: Workspace) -> None:
    # b and a are popular, and of one category and price with c; e is new and nobody has taken it.
    about = {"category_path": ["pens > ink"] * 3 + ["pens > lead"] * 2, "price": [9.0, 9.0, 9.0, 1.0, 1.0]}
    days = pl.Series([1, 1, 1, 1, 90])
    created = pl.datetime(2024, 1, 1, time_zone="UTC") + pl.duration(days=days)
    pens.data.ingest("pens", catalog(*"abcde").with_columns(pl.DataFrame(about)).with_columns(created_at=created))

    def under(**rules: Any) -> Sequence[str]:
        pens.promote("index:pens/1", rules=pens.rules.set("pens", rules).ref)
        return ids(pens.recommend("pens", k=5))

    assert under(newcomer_share=1) == ["b", "a", "c", "d", "e"]
    assert under(newcomer_share=1, fresh_share=0.25) == ["b", "a", "c", "e", "d"]
    # One category and price has no more than half of a list, also without rules.
    assert under() == under(newcomer_share=0.5) == ["b", "d", "a", "e", "c"]
    assert under(newcomer_share=0.5, pin=["a"]) == ["a", "d", "b", "e", "c"]
    # All pens are of one category, and d and e are told apart from the others by their price alone.
    assert under(newcomer_share=0.5, category_depth=1) == ["b", "d", "a", "e", "c"]
    assert under(newcomer_share=0.6) == ["b", "a", "d", "c", "e"]
    assert under(boost=[{"new_days": 5, "by": 100}]) == ["e", "b", "a", "d", "c"]

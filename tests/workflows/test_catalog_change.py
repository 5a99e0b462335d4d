"""A catalog that is newer than what is live: what is shown at once, what is not, and the command that helps."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.errors import InvalidDataError
from hubspoke.retrieval.filter_text import parse_filter
from hubspoke.workflows.answers import Recommendations
from hubspoke.workflows.catalog_change import SomeItems
from hubspoke.workflows.data import DataIngested
from hubspoke.workflows.question import Question
from hubspoke.workflows.recommendations import Recommender
from hubspoke.workflows.workspace import Workspace

LEFT, OUT, DEARER, RENAMED, MOVED, NEW = "lamps-0008", "lamps-0001", "lamps-0006", "lamps-0007", "lamps-0010", "lamps-x"
SESSION = ["lamps-0003", "lamps-0011"]
REFRESH = "hubspoke index refresh lamps --promote"


@pytest.fixture
def newer(catalog: pl.DataFrame) -> pl.DataFrame:
    """The lamps after a night: one has left, one is sold out, one is dearer, one renamed, one moved, one new."""
    item = pl.col("item_id")
    kept = catalog.filter(item != LEFT).with_columns(
        available=pl.when(item == OUT).then(pl.lit("no")).otherwise(pl.lit("yes")),
        price=pl.when(item == DEARER).then(999.0).otherwise("price"),
        title=pl.when(item == RENAMED).then(pl.lit("Another lamp")).otherwise("title"),
        category_path=pl.when(item == MOVED).then(pl.lit("home > other")).otherwise("category_path"),
    )
    return pl.concat([kept, kept.head(1).with_columns(item_id=pl.lit(NEW), title=pl.lit("A new lamp"))])


@pytest.fixture
def lamps(shop: Workspace, catalog: pl.DataFrame) -> Workspace:
    """That shop, live on the lamps without pictures."""
    shop.data.ingest("lamps", catalog)
    shop.index.refresh("lamps", promote=True)
    return shop


def ids(answer: Any) -> list[str]:
    return [item["item_id"] for item in answer.items]


def first(ref: str) -> SomeItems:
    return SomeItems(1, (ref,))


def test_an_ingest_says_what_is_live_of_it(lamps: Workspace, newer: pl.DataFrame, catalog: pl.DataFrame) -> None:
    assert lamps.data.ingest("lamps", catalog).live is None
    planned = lamps.data.ingest("lamps", newer, dry_run=True).live
    told = lamps.data.ingest("lamps", newer).live
    assert told is not None and planned is not None
    assert (told.release, told.index, told.newest, planned.newest) == (
        "release:lamps/2",
        "index:lamps/2",
        "snapshot:lamps/items/3",
        None,
    )
    assert (told.left, told.unavailable, told.available) == (first(LEFT), first(OUT), SomeItems(0, ()))
    assert (told.titles, told.prices, told.categories) == (first(RENAMED), first(DEARER), first(MOVED))
    assert (told.pictures, told.new) == (SomeItems(0, ()), first(NEW))
    assert told.outdated == SomeItems(2, (RENAMED, MOVED))
    assert told.next == planned.next == REFRESH
    # The same again, and new events alone, say it once more.
    again: DataIngested = lamps.data.ingest("lamps", newer)
    assert again.cached and again.live == told
    assert lamps.domain.show("lamps").next == lamps.promote("lamps").next == REFRESH


def test_the_command_that_is_named_brings_it_live(lamps: Workspace, newer: pl.DataFrame) -> None:
    lamps.data.ingest("lamps", newer)
    added = lamps.index.add("lamps")
    assert (added.ref, added.next) == ("index:lamps/3", "hubspoke promote index:lamps/3")
    assert lamps.promote("lamps").next == added.next == lamps.domain.show("lamps").next
    moved = lamps.promote("index:lamps/3")
    assert (moved.index, moved.next) == ("index:lamps/3", None)
    assert lamps.domain.show("lamps").next is None
    assert lamps.index.add("lamps").next is None
    assert NEW in ids(lamps.recommend("lamps", SESSION, k=50))
    assert lamps.data.ingest("lamps", newer).live is None


def test_an_answer_says_that_its_index_is_behind(lamps: Workspace, newer: pl.DataFrame) -> None:
    assert lamps.recommend("lamps", SESSION).behind is None
    # Prices and stock are shown at once, so nothing is behind for them alone.
    lamps.data.ingest("lamps", newer.filter(pl.col("item_id") != NEW).with_columns(title=pl.lit("Lamp")))
    told = lamps.recommend("lamps", SESSION).behind
    assert told is not None and (told.new, told.outdated, told.next) == (0, 39, REFRESH)
    lamps.data.ingest("lamps", newer)
    answers: list[Any] = [lamps.recommend("lamps", SESSION), lamps.recommend("lamps"), lamps.similar("lamps", MOVED)]
    answers += [lamps.search("lamps", "lamp"), lamps.explain("lamps", SESSION)]
    for answer in answers:
        behind = answer.behind
        assert (behind.catalog, behind.new, behind.outdated) == ("snapshot:lamps/items/4", 1, 2)
        assert behind.next == REFRESH
    # What does not serve is brought up to date without being promoted.
    alone = lamps.recommend("index:lamps/2", SESSION).behind
    assert alone is not None and alone.next == "hubspoke index add index:lamps/2"
    lamps.index.refresh("lamps", promote=True)
    assert lamps.recommend("lamps", SESSION).behind is None


def test_what_left_or_is_sold_out_is_in_no_list_and_the_rest_is_shown_as_it_is_now(
    lamps: Workspace, newer: pl.DataFrame
) -> None:
    lamps.rules.set("lamps", {"pin": [OUT, LEFT, DEARER], "boost": [{"items": [OUT, LEFT], "by": 50}]})
    lamps.promote("lamps", rules="rules:lamps/1")
    assert ids(lamps.recommend("lamps", SESSION))[:3] == [OUT, LEFT, DEARER]
    lamps.data.ingest("lamps", newer)
    recommender = Recommender(lamps, "lamps")
    every: list[Recommendations] = [
        recommender.recommend(SESSION, k=50),
        recommender.recommend([LEFT, OUT], k=50),
        recommender.recommend(k=50),
        recommender.recommend(SESSION, k=50, diversity=0.5, near=0.99),
        recommender.similar(LEFT, k=50),
        recommender.rank(Question(SESSION), [OUT, LEFT, DEARER]),
        recommender.recommend(SESSION, k=50, filter=parse_filter("price > 0")),
    ]
    for answer in (*every, recommender.search("lamp", k=50)):
        assert not {LEFT, OUT} & set(ids(answer))
    assert not {LEFT, OUT} & {item.item_id for item in lamps.explain("lamps", SESSION, k=50).items}
    shown = {item["item_id"]: item for item in every[0].items}
    assert every[0].items[0]["item_id"] == DEARER  # still pinned
    assert (shown[DEARER]["price"], shown[RENAMED]["title"], shown[MOVED]["category"]) == (
        999.0,
        "Another lamp",
        "home > other",
    )
    left_out = {own["item_id"]: own["why"] for own in recommender.rank(Question(SESSION), [OUT, LEFT]).left_out}
    assert left_out == {OUT: "not available", LEFT: "left the catalog"}


def test_rules_may_name_what_serves_or_what_is_newest(lamps: Workspace, newer: pl.DataFrame) -> None:
    lamps.data.ingest("lamps", newer)
    content = {"hide_items": [LEFT, NEW, DEARER], "hide_categories": ["home > other"]}
    assert lamps.rules.set("lamps", content).ref == "rules:lamps/1"
    assert lamps.rules.check("lamps", "rules:lamps/1").ok
    lamps.rules.set("lamps", {"pin": [LEFT]})  # which is what `check` is for
    assert lamps.rules.check("lamps", "rules:lamps/2").unknown == {"pin": [LEFT]}
    with pytest.raises(InvalidDataError, match="Neither the newest catalog of lamps nor what is live there holds hide"):
        lamps.rules.set("lamps", {"hide_items": [LEFT, "nothing"]})
    lamps.index.refresh("lamps", promote=True)  # from here on nothing holds what has left
    with pytest.raises(InvalidDataError, match=f"holds pin: {LEFT};"):
        lamps.rules.set("lamps", {"pin": [LEFT]})


def test_an_ingest_goes_on_where_what_is_live_is_damaged(lamps: Workspace, newer: pl.DataFrame, tmp_path: Path) -> None:
    index = lamps.registry.indexes.get("index:lamps/2")
    file = lamps.artifacts.open(index.artifact) / "item_ids.json"
    file.chmod(0o644)
    file.write_text("no list")
    found = lamps.data.ingest("lamps", newer)
    assert found.items is not None and (found.items.ref, found.live) == ("snapshot:lamps/items/3", None)


def test_a_catalog_that_comes_back_is_the_newest_again(
    lamps: Workspace, newer: pl.DataFrame, catalog: pl.DataFrame
) -> None:
    lamps.data.ingest("lamps", newer)
    assert OUT not in ids(lamps.recommend("lamps", SESSION, k=50))
    planned = lamps.data.ingest("lamps", catalog, dry_run=True)
    assert planned.items is not None and (planned.items.ref, planned.cached) == (None, False)
    back = lamps.data.ingest("lamps", catalog)  # what was sold out is there again
    assert back.items is not None and (back.items.ref, back.cached) == ("snapshot:lamps/items/4", False)
    assert {OUT, LEFT} <= set(ids(lamps.recommend("lamps", SESSION, k=50)))
    assert lamps.recommend("lamps", SESSION).behind is None
    # What is live was filled from a catalog that says the same: there is nothing to bring live.
    assert planned.live is None and back.live is None
    shown = lamps.domain.show("lamps")
    assert shown.next is None and "index:lamps/2" not in {one.part for one in shown.staleness}
    assert lamps.data.ingest("lamps", catalog).cached
    once_more = lamps.data.ingest("lamps", newer).items
    assert once_more is not None and once_more.ref == "snapshot:lamps/items/5"
    assert lamps.index.refresh("lamps", promote=True).addition.ref == "index:lamps/3"
    assert lamps.data.ingest("lamps", newer).live is None
    hashes = [own.content_hash for own in lamps.data.snapshots("lamps", "items")]
    assert hashes[3] == f"{hashes[1]}+2" and hashes[4] == f"{hashes[2]}+2"

"""Recommendations: the exact ranking, sessions known in part or not at all, shoppers, and days without events."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.hub.encoders.text import item_texts
from hubspoke.retrieval.filter_text import parse_filter
from hubspoke.workflows import datasets
from hubspoke.workflows.answers import Recommendations
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.index_loading import load_index
from hubspoke.workflows.newcomers import newcomer_popularity
from hubspoke.workflows.question import Question, SessionEvent
from hubspoke.workflows.recommendations import Recommender
from hubspoke.workflows.workspace import Workspace

SESSION = ["lamps-0003", "lamps-0011", "lamps-0003", "lamps-0020"]


def ids(answer: Recommendations) -> list[str]:
    return [item["item_id"] for item in answer.items]


def repeating(recommender: Recommender, repeat: float) -> Recommender:
    """The same, with a weight for what was taken before."""
    return with_weights(recommender, repeat=repeat, held_back=0)


def with_weights(recommender: Recommender, **weights: Any) -> Recommender:
    """The same with some weights changed of lists that show seen items again."""
    complete, sessions = recommender.complete, recommender.loaded.sessions
    ranked = sessions.mixture.seen_ranked.model_copy(update=weights)
    mixture = sessions.mixture.model_copy(update={"seen_ranked": ranked})
    recommender.loaded = replace(recommender.loaded, sessions=replace(sessions, mixture=mixture))
    recommender.__dict__["_complete"] = replace(complete, spoke=replace(complete.spoke, mixture=mixture))
    return recommender


@pytest.mark.parametrize("repeat", [0.05, 1.0, 20.0])
def test_what_was_taken_before_is_ranked_as_by_brute_force_whatever_is_asked(shop: Workspace, repeat: float) -> None:
    recommender = repeating(Recommender(shop, "lamps"), repeat)
    history = np.array([recommender.row(item) for item in SESSION])
    scores = recommender.complete.spoke.recommender("it", recommender.vectors).score([history])[0]
    order = [int(row) for row in np.argsort(-scores, kind="stable") if np.isfinite(scores[row])]
    whole = recommender.recommend(SESSION, k=len(order))
    assert [recommender.row(item) for item in ids(whole)] == order
    assert [item["score"] for item in whole.items] == pytest.approx(scores[order].tolist(), abs=1e-4)
    assert ids(recommender.recommend(SESSION, k=3)) == ids(whole)[:3]
    assert repeat < 20.0 or set(ids(whole)[:3]) == set(SESSION)  # more than all else together


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("ref", ["lamps", "index:lamps/2"])
def test_the_list_is_what_brute_force_ranks(shop: Workspace, ref: str, exclude_seen: bool) -> None:
    shop.index.build("hub:1", domain="lamps")
    answer = shop.recommend(ref, SESSION, k=12, exclude_seen=exclude_seen)
    loaded = load_index(shop, shop.registry.indexes.get("index:lamps/1" if ref == "lamps" else ref))
    rows = {item: row for row, item in enumerate(load_dataset(shop, "lamps").items["item_id"])}
    history = np.array([rows[item] for item in SESSION])
    recommender = loaded.spoke.recommender("it", loaded.index.vectors(), exclude_seen=exclude_seen)
    scores = recommender.score([history])[0]
    order = [row for row in np.argsort(-scores, kind="stable") if not exclude_seen or row not in history][:12]
    assert [rows[item] for item in ids(answer)] == order
    assert [item["score"] for item in answer.items] == pytest.approx(scores[order].tolist(), abs=1e-4)
    assert [item["rank"] for item in answer.items] == list(range(1, 13))
    assert answer.seen_items == ("excluded" if exclude_seen else "ranked")
    assert not exclude_seen or not set(SESSION) & set(ids(answer))


def test_what_was_bought_last_is_held_back_where_that_was_best(shop: Workspace) -> None:
    recommender = Recommender(shop, "lamps")
    for held_back, hidden in ((0, set()), (1, {"lamps-0020"}), (3, {"lamps-0003", "lamps-0011", "lamps-0020"})):
        with_weights(recommender, held_back=held_back)
        whole = ids(recommender.recommend(SESSION, k=len(recommender.item_ids)))
        assert set(SESSION) - set(whole) == hidden
    # An answer says what it rests on.
    answer = shop.recommend("lamps", ["nothing", "lamps-0003", "oak"], k=2)
    assert (answer.ref, answer.index, answer.served_by) == ("lamps", "index:lamps/1", "lamps:1")
    assert [item["item_id"] for item in answer.session] == ["lamps-0003"]
    assert answer.unknown == ["nothing", "oak"]
    assert ids(answer) == ids(shop.recommend("lamps", ["lamps-0003"], k=2))
    dataset, shown = load_dataset(shop, "lamps"), answer.items[0]
    row = dataset.items.filter(item_id=shown["item_id"]).row(0, named=True)
    assert (shown["title"], shown["price"], shown["category"]) == (row["title"], row["price"], "home > lamps")
    # A known shopper is answered by their history.
    sequences = dataset.sequences.by_user()
    for own in (7, 20):
        user = sequences.user_ids[int(sequences.users[own])]
        history = [dataset.items["item_id"][int(row)] for row in sequences[own]]
        answer = shop.recommend("lamps", user=user, k=5)
        assert [item["item_id"] for item in answer.session] == history
        assert answer.items == shop.recommend("lamps", history, k=5).items


def test_what_cannot_be_answered_is_refused(shop: Workspace, market: Any) -> None:
    shop.domain.add("mugs", market["mugs"].items)
    recommender = Recommender(shop, "lamps")
    for ask, error, words in (
        (lambda: recommender.recommend(["oak", "elm"]), NotFoundError, r"None of the 2 items .* \(first: 'oak'\)"),
        (lambda: recommender.recommend(user="nobody"), NotFoundError, "'nobody' has no session in lamps"),
        (lambda: recommender.recommend(["lamps-0003"], user="nobody"), UsageError, "ask for one of them"),
        (lambda: recommender.recommend(SESSION, k=0), UsageError, "0 recommendations"),
        (lambda: recommender.similar("lamps-0003", k=0), UsageError, "0 recommendations"),
        (lambda: recommender.similar("oak"), NotFoundError, "'oak' is not in index:lamps/1"),
        (lambda: shop.recommend("mugs"), NotFoundError, "mugs"),  # nothing is live there
        (lambda: shop.recommend("nowhere"), NotFoundError, "nowhere"),
    ):
        with pytest.raises(error, match=words):
            ask()


def test_a_known_shopper_is_answered_with_the_times_of_their_history(shop: Workspace, tiny_spoke: Any) -> None:
    reading = {**tiny_spoke, "transformer": {**tiny_spoke["transformer"], "time_bias": True, "dwell": True}}
    shop.spoke.train("lamps", config={**reading, "training": {**tiny_spoke["training"], "learning_rate": 0.05}})
    sequences = load_dataset(shop, "lamps").sequences.by_user()
    user = sequences.user_ids[int(sequences.users[7])]
    recommender = Recommender(shop, "lamps:2")
    spoke, vectors = recommender.complete.spoke, recommender.vectors
    # Whatever weight behaviour was given: it is behaviour that hears of times.
    heard, plain = (spoke.behaviour_sessions(vectors, [own]) for own in (sequences.history(7), sequences[7]))
    assert np.abs(heard - plain).max() > 1e-4
    told = spoke.recommender("told", vectors).score([sequences.history(7)])[0]
    best = sorted(told.tolist(), reverse=True)[:5]
    np.testing.assert_allclose([item["score"] for item in recommender.recommend(user=user, k=5).items], best, atol=1e-4)


def test_on_day_zero_the_newest_items_are_shown(shop: Workspace, market: Any) -> None:
    items = pl.read_csv(market["lamps"].items).drop("image", "created_at").head(20)
    day = pl.datetime(2024, 1, 1, time_zone="UTC") + pl.duration(days=(pl.int_range(pl.len()) * 7) % 20)
    for name, table, newest in (
        ("dated", items.with_columns(created_at=day), [17, 14, 11]),  # 7 n mod 20 is 19, 18, 17
        ("one", items.head(1).with_columns(created_at=day), [0]),
    ):
        shop.domain.add(name, table)
        shop.promote(str(shop.index.build("hub:1", domain=name).ref))
        answer = shop.recommend(name, k=3)
        assert (answer.served_by, ids(answer)) == ("newest", [f"lamps-{row:04d}" for row in newest])
    assert shop.recommend("dated", k=1).items[0]["score"] == datetime(2024, 1, 20, tzinfo=UTC).timestamp()
    # A catalog of one item recommends it, and only where it was not seen.
    alone = shop.recommend("one", ["lamps-0000"])
    assert (ids(alone), np.isfinite(alone.items[0]["score"])) == (["lamps-0000"], True)
    assert ids(shop.recommend("one", ["lamps-0000"], exclude_seen=True)) == ids(shop.similar("one", "lamps-0000")) == []


def test_more_than_the_catalog_holds_gives_the_catalog_and_similar_items_are_the_nearest(shop: Workspace) -> None:
    recommender = Recommender(shop, "lamps")
    held_back = SESSION[len(SESSION) - recommender.loaded.sessions.mixture.seen_ranked.held_back :]
    assert set(ids(recommender.recommend(SESSION, k=500))) == set(recommender.item_ids) - set(held_back)
    popular = recommender.recommend(k=500)
    others = recommender.recommend(SESSION, k=500, exclude_seen=True), popular, recommender.similar(SESSION[0], k=500)
    assert [len(ids(answer)) for answer in others] == [37, 40, 39]
    # Without a session it is what is popular with newcomers.
    scores = newcomer_popularity(load_dataset(shop, "lamps").sequences, "real")
    assert (popular.served_by, popular.session) == ("newcomer-popularity", [])
    told = {item["item_id"]: item["score"] for item in popular.items}
    assert told == pytest.approx(dict(zip(recommender.item_ids, scores.tolist(), strict=True)), abs=1e-6)
    assert popular.items[0]["score"] == pytest.approx(scores.max(), abs=1e-6)
    # Similar items are the nearest in content.
    answer, loaded = recommender.similar("lamps-0003", k=5), recommender.complete
    content = loaded.index.vectors()[:, loaded.spoke.behaviour_dimension :]
    row = loaded.index.item_ids.index("lamps-0003")
    scores = content @ content[row]
    scores[row] = -np.inf
    assert ids(answer) == [loaded.index.item_ids[other] for other in np.argsort(-scores, kind="stable")[:5]]
    assert [item["item_id"] for item in answer.session] == ["lamps-0003"]


def test_many_threads_are_answered_as_one_would_be(shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = load_dataset(shop, "lamps").sequences
    every = [f"lamps-{row:04d}" for row in range(40)]
    asked: list[dict[str, Any]] = [{"session": every[start : start + 4], "k": 8} for start in range(0, 36, 2)]
    asked += [{"user": user, "exclude_seen": True} for user in sequences.user_ids[:18]]
    asked += [{}] * 4
    alone, recommender = Recommender(shop, "lamps"), Recommender(shop, "lamps")
    serial = [alone.recommend(**question) for question in asked]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda question: recommender.recommend(**question), asked * 3)) == serial * 3
        likes = list(pool.map(recommender.similar, every[:10]))
    assert likes == [alone.similar(item) for item in every[:10]]
    # What was read for the first is not read for the second.
    for name in ("user_sequences", "load_sequences", "load_dataset"):
        monkeypatch.setattr(datasets, name, None)
    assert [recommender.recommend(**question) for question in asked] == serial


def test_what_cannot_be_bought_is_never_recommended_but_may_stand_in_a_session(ws: Workspace, tiny_hub: Any) -> None:
    items = {"item_id": ["a", "b", "c", "d"], "title": ["oak table"] * 4, "available": ["yes", "no", "yes", "no"]}
    ws.hub.train(domains=[], config=tiny_hub)
    ws.launch("tables", pl.DataFrame(items))
    answers = ws.recommend("tables", ["b"], k=4), ws.similar("tables", "b", k=4), ws.recommend("tables", k=4)
    assert [set(ids(answer)) for answer in answers] == [{"a", "c"}] * 3
    assert ids(ws.recommend("tables", ["a"], k=4, exclude_seen=True)) == ["c"]


def test_the_newest_catalog_decides_what_is_shown_before_any_index_follows(shop: Workspace, market: Any) -> None:
    items = pl.read_csv(market["lamps"].items)
    before = shop.recommend("lamps", ["lamps-0001"], k=3).items
    left, out, dearer = (item["item_id"] for item in before)
    newer = items.filter(pl.col("item_id") != left).with_columns(
        available=pl.col("item_id") != out, price=pl.when(pl.col("item_id") == dearer).then(999.0).otherwise("price")
    )
    shop.data.ingest("lamps", newer, images=market["lamps"].items.parent)
    after = shop.recommend("lamps", ["lamps-0001"], k=3).items
    assert [after[0]["item_id"], after[0]["price"], after[0]["score"]] == [dearer, 999.0, before[2]["score"]]
    assert not {left, out} & {item["item_id"] for item in shop.recommend("lamps", ["lamps-0001"], k=40).items}
    assert len(shop.recommend("lamps", [left], k=3).session) == 1  # a session may still hold it


def test_a_search_finds_what_a_text_says_and_keeps_to_what_may_be_shown(shop: Workspace) -> None:
    recommender = Recommender(shop, "lamps")
    title = str(recommender.shown["title"][7])
    (said,) = item_texts(recommender.shown[[7]], recommender.complete.hub.config.text_fields)
    found = shop.search("lamps", said, k=len(recommender.item_ids))
    # Who writes what an item says finds it first, or one that says the same.
    assert (found.items[0]["title"], found.text) == (title, said)
    scores = [item["score"] for item in found.items]
    assert scores == sorted(scores, reverse=True)
    assert (found.ref, found.served_by, found.picture) == ("lamps", "lamps:1", None)
    first = found.items[0]["item_id"]
    without = parse_filter(f"item_id != '{first}'")
    assert first not in [item["item_id"] for item in recommender.search(said, k=len(found.items), filter=without).items]
    for text, picture, error, words in (
        (" ", None, UsageError, "Nothing was looked for"),
        (None, "nowhere.jpg", NotFoundError, "no picture nowhere.jpg"),
    ):
        with pytest.raises(error, match=words):
            shop.search("lamps", text, picture)
    with pytest.raises(UsageError, match="0 recommendations"):
        shop.search("lamps", title, k=0)


def test_a_filter_leaves_the_order_of_what_passes(shop: Workspace) -> None:
    recommender = Recommender(shop, "lamps")
    whole = recommender.recommend(SESSION, k=40)
    prices = dict(recommender.shown.select("item_id", "price").iter_rows())
    middle = sorted(prices.values())[len(prices) // 2]
    cheap = parse_filter(f"price <= {middle}")
    wanted = [item for item in ids(whole) if prices[item] <= middle]
    for k in (3, len(wanted), 40):
        assert ids(recommender.recommend(SESSION, k=k, filter=cheap)) == wanted[:k]
    assert set(ids(recommender.recommend(k=40, filter=cheap))) <= {own for own in prices if prices[own] <= middle}
    assert ids(recommender.similar(SESSION[0], k=40, filter=cheap)) == [
        item for item in ids(recommender.similar(SESSION[0], k=40)) if prices[item] <= middle
    ]
    assert recommender.recommend(SESSION, filter=parse_filter("price < 0")).items == []
    # From the workspace a filter may be a line.
    assert ids(shop.recommend("lamps", SESSION, k=3, filter=f"price <= {middle}")) == wanted[:3]


def test_a_filter_that_speaks_of_stock_decides_about_it(ws: Workspace, tiny_hub: Any) -> None:
    items = pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["oak table"] * 3, "available": ["yes", "no", "yes"]})
    ws.hub.train(domains=[], config=tiny_hub)
    ws.launch("tables", items)
    assert ids(ws.recommend("tables", ["a"], filter="not available")) == ["b"]
    assert set(ids(ws.recommend("tables", ["a"], filter="available or not available"))) == {"a", "b", "c"}
    ws.data.ingest("tables", items.head(2))
    assert set(ids(ws.recommend("tables", ["a"], filter="available or not available"))) == {"a", "b"}  # c has left


def test_given_items_are_ranked_as_they_would_be_shown(shop: Workspace) -> None:
    recommender = Recommender(shop, "lamps")
    whole, question = recommender.recommend(SESSION, k=40), Question(SESSION)
    given = [*reversed(ids(whole)[5:12]), "nothing", SESSION[-1]]
    answer = recommender.rank(question, given)
    shown = set(given) & set(ids(whole))
    assert ids(answer) == [item for item in ids(whole) if item in shown]
    scores = {item["item_id"]: item["score"] for item in whole.items}
    assert [item["score"] for item in answer.items] == [scores[item] for item in ids(answer)]
    left_out = {own["item_id"]: own["why"] for own in answer.left_out}
    assert left_out["nothing"] == "not in the catalog"
    assert set(left_out) == set(given) - shown
    seen = recommender.rank(Question(SESSION, exclude_seen=True), [SESSION[0]])
    assert (seen.items, seen.left_out) == ([], [{"item_id": SESSION[0], "why": "in the session"}])
    assert recommender.rank(question, []).items == []


def test_who_and_what_is_unknown_may_fall_back_to_what_newcomers_see(shop: Workspace) -> None:
    recommender = Recommender(shop, "lamps")
    newcomers = recommender.recommend(k=5)
    for question in (Question(user="nobody", k=5, fallback=True), Question(["oak"], k=5, fallback=True)):
        answer = recommender.answer(question)
        assert (answer.served_by, answer.items) == ("newcomer-popularity", newcomers.items)
    assert answer.unknown == ["oak"]


def test_a_session_of_events_goes_by_their_moments(shop: Workspace) -> None:
    recommender = Recommender(shop, "lamps")
    events = [SessionEvent(item, datetime(2024, 1, 1, hour), "view") for hour, item in enumerate(SESSION)]
    plain = recommender.recommend(SESSION, k=5)
    assert recommender.answer(Question(list(reversed(events)), k=5)).items == plain.items
    history, unknown, _ = recommender.history(Question([*events, SessionEvent("oak", datetime(2024, 1, 2))]))
    assert history.timestamps is not None
    assert np.diff(history.timestamps).tolist() == [3_600_000_000] * 3
    assert (history.event_types.tolist(), unknown) == ([1] * 4, ["oak"])  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="event type 'look' is not known; use one of view, click"):
        SessionEvent("oak", None, "look")


def test_a_list_takes_neither_torch_nor_the_hub(shop: Workspace) -> None:
    program = """
import sys
import hubspoke
from hubspoke.workflows.recommendations import Recommender
with hubspoke.open() as ws:
    recommender = Recommender(ws, "lamps")
    recommender.recommend(["lamps-0003"], exclude_seen=True)
    recommender.recommend(["lamps-0003"], diversity=0.5)
    recommender.recommend()
    recommender.similar("lamps-0003")
print([name for name in ("torch", "transformers", "peft", "open_clip", "PIL") if name in sys.modules])
"""
    command = [sys.executable, "-c", program]
    environ = {**os.environ, "HUBSPOKE_WORKSPACE": str(shop.settings.workspace)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environ)
    assert (ended.returncode, ended.stdout) == (0, "[]\n"), ended.stderr

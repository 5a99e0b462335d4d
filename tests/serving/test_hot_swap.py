"""Promotions, rollbacks and ingests under load: no request fails, no answer mixes releases, nothing is left over."""

import threading
import weakref
from typing import Any

import polars as pl
from hubspoke.workflows.workspace import Workspace

ASK = "/v1/domains/lamps/recommend"


def served(running: Any) -> str:
    return str(running.ask("GET", "/v1/domains/lamps")[1]["aliases"]["live"]["serving"])


def test_promotions_and_rollbacks_under_load_lose_no_request_and_mix_no_releases(listen, shop: Workspace) -> None:
    running, stop = listen(), threading.Event()
    session = [own["item_id"] for own in shop.recommend("lamps", k=2).items]
    wanted = {
        ref: [own["item_id"] for own in shop.recommend(ref, session, k=8).items]
        for ref in ("release:lamps/1", "release:lamps/2")
    }
    found: list[tuple[int, Any]] = []

    def ask() -> None:
        connection = running.connect()
        while not stop.is_set():
            found.append(running.ask("POST", ASK, {"session": session, "k": 8}, connection))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            shop.promote("lamps:2")
            running.until(lambda: served(running) == "release:lamps/2")
            shop.rollback("lamps")
            running.until(lambda: served(running) == "release:lamps/1")
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)

    assert {status for status, _ in found} == {200}
    made_of = {(one["release"], one["index"], one["served_by"]) for _, one in found}
    assert made_of == {(f"release:lamps/{n}", f"index:lamps/{n}", f"lamps:{n}") for n in (1, 2)}
    assert all([own["item_id"] for own in one["items"]] == wanted[one["release"]] for _, one in found)


def test_a_release_that_was_replaced_is_let_go_after_its_last_answer(listen, shop: Workspace) -> None:
    running = listen(domains=("lamps",))
    resident = running.service.residents._resident.popitem()[1]
    running.service.residents._resident[resident.place] = resident
    vectors, recommender = weakref.ref(resident.recommender.loaded), weakref.ref(resident.recommender)
    del resident
    shop.promote("lamps:2")
    running.until(lambda: served(running) == "release:lamps/2")
    assert vectors() is None and recommender() is None  # no circle keeps it until a collection


def test_an_ingest_is_noticed_what_left_the_catalog_is_shown_no_more(listen, shop: Workspace, market, tmp_path) -> None:
    running = listen()
    first = running.ask("POST", ASK, {"k": 1})[1]["items"][0]["item_id"]
    items = pl.read_csv(market["lamps"].items).drop("image")
    items.filter(pl.col("item_id") != first).write_csv(tmp_path / "fewer.csv")
    shop.data.ingest("lamps", items=tmp_path / "fewer.csv")
    running.until(lambda: running.ask("POST", ASK, {"k": 1})[1]["items"][0]["item_id"] != first)


def test_a_category_that_is_launched_while_the_service_runs_is_served(listen, shop: Workspace, market) -> None:
    running = listen()
    assert running.ask("POST", "/v1/domains/cups/recommend", {})[0] == 404
    shop.domain.add("cups", market["mugs"].items)
    shop.index.build("hub:1", domain="cups")
    shop.promote("index:cups/1")
    running.until(lambda: running.ask("POST", "/v1/domains/cups/recommend", {})[0] == 200)

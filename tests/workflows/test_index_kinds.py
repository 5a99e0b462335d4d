"""Index kinds in a workspace: chosen by measurement, refused below the target, grown and trained anew."""

from typing import Any

import pytest
from hubspoke.errors import QualityGateError
from hubspoke.retrieval import approximate
from hubspoke.retrieval.measurement import IndexRequest
from hubspoke.workflows import index_growth
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.index_growth import retrain_due, stored_due
from hubspoke.workflows.index_loading import load_index
from hubspoke.workflows.workspace import Workspace

from .test_indexes import newer, plain, vectors

IVF = IndexRequest(kind="ivf")


@pytest.fixture(autouse=True)
def small_structures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The 40 lamps are enough to train over."""
    monkeypatch.setattr(approximate, "FEWEST", 20)


def with_ivf(shop: Workspace) -> str:
    """An index with a structure, over a catalog as files would bring it."""
    shop.data.ingest("lamps", items=plain(load_dataset(shop, "lamps").items))
    return str(shop.index.build("lamps:1", request=IVF).ref)


def config(shop: Workspace, ref: str | None) -> dict[str, Any]:
    return dict(shop.registry.indexes.get(str(ref)).config)


def test_every_index_is_measured_on_sessions(shop: Workspace) -> None:
    assert shop.index.build("lamps:1").ref == "index:lamps/1"
    found = config(shop, "index:lamps/1")
    assert (found["requested"]["kind"], found["state"]) == ("flat", {})
    measured = found["measured"]
    assert (measured["questions"], measured["kind"], measured["recall"]) == ("sessions", "flat", 1.0)
    assert measured["n_vectors"] == 40 and measured["n_queries"] > 10 and measured["bytes_per_vector"] > 0
    again = shop.index.build("lamps:1")
    assert (again.cached, again.kind, again.recall, again.p99_ms) == (True, "flat", 1.0, measured["p99_ms"])
    # Without events every question is the session of one item.
    shop.domain.add("mugs", plain(load_dataset(shop, "lamps").items))
    built = shop.index.build("hub:1", domain="mugs")
    assert config(shop, built.ref)["measured"]["questions"] == "items"
    assert config(shop, built.ref)["measured"]["n_queries"] == 40


@pytest.mark.parametrize("kind", ["sq8", "ivf", "hnsw", "ivf-pq", "ivf-rabitq"])
def test_a_kind_serves_what_the_flat_one_does(shop: Workspace, kind: Any) -> None:
    before = shop.recommend("lamps", ["lamps-0001", "lamps-0004"], k=5).items
    built = shop.index.build("lamps:1", request=IndexRequest(kind=kind))
    assert (built.ref, built.kind, built.cached) == ("index:lamps/2", kind, False)
    assert built.recall is not None and built.recall >= 0.99
    assert shop.registry.indexes.get("index:lamps/2").factory == kind
    assert load_index(shop, shop.registry.indexes.get("index:lamps/2")).index.index.state["growth"] == 0
    assert shop.recommend("index:lamps/2", ["lamps-0001", "lamps-0004"], k=5).items == before
    assert shop.index.build("lamps:1", request=IndexRequest(kind=kind)).cached
    assert shop.index.check("index:lamps/2").ok
    assert vectors(shop, "index:lamps/2").keys() == vectors(shop, "index:lamps/1").keys()


def test_below_the_target_nothing_is_stored(shop: Workspace, refused: Any) -> None:
    for kind in ("ivf", "auto"):
        words = r"No index meets the targets.*ivf.*p99 .* ms > 1e-06 ms.*--latency-ms"
        refused(QualityGateError, words, shop.index.build, "lamps:1", request=IndexRequest(kind=kind, latency_ms=1e-6))
    assert [record.ref for record in shop.index.list("lamps")] == ["index:lamps/1"]


def test_auto_says_what_its_choice_rests_on(shop: Workspace) -> None:
    width = shop.registry.indexes.get("index:lamps/1").dimension
    wanted = IndexRequest(kind="auto", latency_ms=10_000, memory_gb=2.5 * width * 40 / 1e9)
    built = shop.index.build("lamps:1", request=wanted)
    assert (
        built.kind == "sq8"
        and str(built.why).startswith("sq8: recall@10 ")
        and "; flat: 8e-06 GB > 5e-06 GB" in str(built.why)
    )
    assert config(shop, built.ref)["requested"] == wanted.model_dump()
    with pytest.raises(QualityGateError, match="hnsw"):
        shop.index.build("lamps:1", request=IndexRequest(kind="auto", memory_gb=1e-9))


def test_a_structure_is_kept_until_enough_has_changed(shop: Workspace) -> None:
    base = with_ivf(shop)
    trained = config(shop, base)["trained"]
    newer(shop)  # one gone, two reworded or priced anew, two new ones
    made = shop.index.add(base)
    assert made.retrained is None and made.removed == 1
    found = config(shop, made.ref)
    assert found["state"]["growth"] == pytest.approx((made.added + made.added - 2 + 1) / 40)
    assert (found["trained"], found["requested"]["kind"]) == (trained, "ivf")
    assert found["measured"]["recall"] == 1.0
    assert {"new-1", "new-2"} <= set(vectors(shop, str(made.ref)))
    flat, grown = (
        shop.recommend(str(ref), ["lamps-0004"], k=41).items for ref in (shop.index.build("lamps:1").ref, made.ref)
    )
    assert [item["item_id"] for item in flat] == [item["item_id"] for item in grown]
    gone = [f"lamps-{n:04}" for n in range(20, 28)]
    smaller = shop.index.remove(str(made.ref), gone)
    assert smaller.retrained is not None and "has changed" in smaller.retrained, config(shop, smaller.ref)
    assert (config(shop, smaller.ref)["state"]["growth"], config(shop, smaller.ref)["trained"]["n_items"]) == (0, 33)
    assert str(config(shop, smaller.ref)["why"]).startswith("trained anew: ")
    assert not set(gone) & vectors(shop, str(smaller.ref)).keys()
    assert shop.index.check(str(smaller.ref)).ok


def test_a_refresh_follows_the_catalog_and_trains_anew_where_due(shop: Workspace, monkeypatch: Any) -> None:
    assert shop.index.refresh("lamps").addition.cached  # a flat index over the newest catalog: nothing to do
    shop.promote(with_ivf(shop))
    newer(shop)
    assert shop.index.refresh("lamps", dry_run=True).addition.ref is None
    stored = shop.index.refresh("lamps")
    assert (stored.addition.ref, stored.release) == ("index:lamps/3", None)
    moved = shop.index.refresh("lamps", promote=True)
    assert (moved.addition.ref, moved.addition.cached) == ("index:lamps/3", True)
    assert moved.release == shop.registry.domains.get("lamps").live
    nothing = shop.index.refresh("lamps", promote=True)
    assert (nothing.addition.ref, nothing.addition.retrained, nothing.release) == ("index:lamps/3", None, None)
    assert stored_due(shop.index.show("lamps")) is None
    monkeypatch.setattr(index_growth, "MOST_GROWTH", 0.01)
    assert "has changed" in str(stored_due(shop.index.show("lamps")))
    trained = shop.index.refresh("lamps", promote=True)
    assert trained.addition.ref == "index:lamps/4" and "has changed" in str(trained.addition.retrained)
    assert config(shop, "index:lamps/4")["state"]["growth"] == 0
    assert shop.recommend("lamps", ["new-1"]).index == "index:lamps/4"
    # What is due by its cells alone, and no better for being trained again, stays.
    monkeypatch.setattr(index_growth, "MOST_IMBALANCE", 0.0)
    monkeypatch.setattr(index_growth, "WORSE", 0.0)
    assert shop.index.refresh("lamps").addition.ref == "index:lamps/4"


def test_a_bench_measures_every_kind_and_stores_none(shop: Workspace) -> None:
    found = shop.index.bench("lamps", IndexRequest(latency_ms=10_000))
    assert [row["kind"] for row in found.kinds] == ["flat", "sq8", "ivf", "ivf-pq", "ivf-rabitq", "hnsw"]
    assert (found.ref, found.drawn_from, found.n_items, found.chosen) == ("index:lamps/1", "sessions", 40, "flat")
    assert all(row["missed"] == [] and row["recall"] >= 0.99 for row in found.kinds)
    assert len(shop.index.list()) == 1


@pytest.mark.parametrize(
    ("state", "recall", "why"),
    [
        ({}, 0.0, None),
        ({"growth": 0.25, "imbalance": 1.9}, 0.99, None),
        ({"growth": 0.3}, 1.0, "30% of what it was trained over has changed"),
        ({"growth": 0.1, "imbalance": 2.6}, 1.0, "its cells are 2.6 times as slow as equal ones"),
        ({"growth": 0.1, "imbalance": 2.4}, 1.0, None),  # it was as unbalanced when it was trained
        ({"growth": 0.1, "imbalance": 1.0}, 0.98, "recall@10 0.9800 < 0.99"),
    ],
)
def test_when_an_index_is_to_be_trained_anew(shop: Workspace, state: Any, recall: float, why: str | None) -> None:
    from hubspoke.retrieval.measurement import Measurement

    found = Measurement("ivf", 8, 100, 10, recall, 1.0, 1.0, 1.0, 1.0, 1.0)
    assert retrain_due(state, {"imbalance": 2.0}, found, IVF) == why

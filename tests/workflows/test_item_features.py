"""Spokes that read attributes and behaviour statistics: trained, stored, served on a newer catalog, without a leak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.registry.records import ModelRecord
from hubspoke.spokes.features.items import ItemFeatures, fit_features
from hubspoke.workflows.datasets import event_ranges, load_dataset
from hubspoke.workflows.indexes import load_index
from hubspoke.workflows.loading import load_spoke
from hubspoke.workflows.workspace import Workspace

START = datetime(2024, 4, 1, tzinfo=UTC)
Train = Callable[..., ModelRecord]


@pytest.fixture
def config(tiny_spoke: Any) -> dict[str, Any]:
    """The tiny spoke with everything of the item side on."""
    features = {"attributes": {}, "statistics": {}}
    training = {**tiny_spoke["training"], "learning_rate": 0.01}
    return {**tiny_spoke, **features, "training": training}


@pytest.fixture
def served(shop: Workspace, config: Any) -> Workspace:
    """The shop with lamps:2, which reads features, live on its index."""
    made = shop.spoke.train("lamps", config=config, promote=True)
    assert (made.ref, made.index) == ("lamps:2", "index:lamps/2")
    return shop


def vectors(ws: Workspace, ref: str) -> dict[str, Any]:
    index = load_index(ws, ws.registry.indexes.get(ref)).index
    return dict(zip(index.item_ids, index.vectors(), strict=True))


def plain(items: pl.DataFrame) -> pl.DataFrame:
    """A catalog as it would come in a file, without its pictures."""
    joined = items.with_columns(category_path=pl.col("category_path").list.join(" > "))
    return joined.drop("attributes", "image_sha256", "image")


def test_what_was_fitted_is_stored_with_the_spoke_and_named_as_its_parts(served: Workspace) -> None:
    record = served.registry.models.get("lamps:2")
    plain = served.registry.models.get("lamps:1")
    own = {part.name for part in record.parts} - {part.name for part in plain.parts}
    assert own == {"attribute encoder", "behaviour statistics"}
    spoke, _ = load_spoke(served, record)
    assert spoke.behaviour is not None and spoke.space_fingerprint == record.space_fingerprint
    vocabulary, statistics = spoke.behaviour.features.vocabulary, spoke.behaviour.features.statistics
    assert vocabulary is not None and statistics is not None
    # All of them are of one category, which tells none from another.
    assert [field.name for field in vocabulary.categorical] == ["brand"]
    assert [field.name for field in vocabulary.numeric] == ["price"]
    types = ("cart", "click", "purchase", "view")
    assert statistics.columns == (*types, "cart per view", "purchase per view", "recency")
    assert served.index.check("index:lamps/2").ok


def test_it_recommends_and_is_measured(served: Workspace) -> None:
    items = load_dataset(served, "lamps").items["item_id"]
    found = served.recommend("lamps", [items[0], items[1]], k=5)
    assert found.served_by == "lamps:2" and len(found.items) == 5
    told = served.explain("lamps", [items[0], items[1]]).items[0]
    assert {"attributes", "statistics"} <= set(told.behaviour_parts)
    behaviour = next(own for own in told.parts if own.name == "behaviour")
    assert sum(told.behaviour_parts.values()) == pytest.approx(behaviour.score, abs=1e-4)
    measured = served.evaluate.compare("lamps", ["lamps:1", "lamps:2"])
    assert [result.model for result in measured.results] == ["lamps:1", "lamps:2"]


def test_a_newer_catalog_is_read_with_what_was_fitted(served: Workspace) -> None:
    items = plain(load_dataset(served, "lamps").items)
    cheap, other = items.sort("price")["item_id"].head(2)
    dear = items.with_columns(price=pl.when(pl.col("item_id") == cheap).then(1e9).otherwise("price"))
    new = items.head(2).with_columns(
        item_id=pl.Series(["new-1", "new-2"]), brand=pl.lit("Nobody"), price=pl.lit(None, pl.Float64)
    )
    served.data.ingest("lamps", items=pl.concat([new, dear]))
    before = vectors(served, "index:lamps/2")
    added = served.index.add("lamps")
    grown, built = vectors(served, str(added.ref)), vectors(served, str(served.index.build("lamps:2").ref))
    assert list(grown) == list(built) and list(grown)[:2] == ["new-1", "new-2"]
    for item, vector in built.items():
        np.testing.assert_allclose(grown[item], vector, atol=1e-5)
    assert np.isfinite(grown["new-1"]).all() and np.isfinite(grown[cheap]).all()
    # Only the price that moved moves a vector, and only its behavioural part.
    np.testing.assert_allclose(grown[other], before[other], atol=1e-5)
    assert np.abs(grown[cheap][:16] - before[cheap][:16]).max() > 1e-4
    np.testing.assert_allclose(grown[cheap][16:], before[cheap][16:], atol=1e-5)
    served.promote(str(added.ref), reason="new items")
    assert served.recommend("lamps", ["new-1"], k=3).served_by == "lamps:2"


def test_a_gate_is_stored_named_and_explained_with_a_note(shop: Workspace, tiny_spoke: Any) -> None:
    made = shop.spoke.train("lamps", config={**tiny_spoke, "fusion": "gate"}, promote=True)
    record = shop.registry.models.get(str(made.ref))
    assert "item fusion" in {part.name for part in record.parts}
    items = load_dataset(shop, "lamps").items["item_id"]
    told = shop.explain("lamps", [items[0], items[1]])
    assert any("gate weighed them" in note for note in told.notes)
    first = told.items[0]
    assert set(first.behaviour_parts) == {"text", "item id", "bias"}
    behaviour = next(own for own in first.parts if own.name == "behaviour")
    assert sum(first.behaviour_parts.values()) == pytest.approx(behaviour.score, abs=1e-4)
    assert shop.index.check(str(made.index)).ok


@pytest.mark.parametrize("content", [[], ["text"]])
def test_what_is_not_read_of_the_content_is_nowhere_from_training_to_the_index(
    shop: Workspace, tiny_spoke: Any, content: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hubspoke.hub import model

    read: list[str] = []
    kept = model.encode_cached
    monkeypatch.setattr(
        model, "encode_cached", lambda encoder, *rest: read.append(type(encoder).__name__) or kept(encoder, *rest)
    )
    made = shop.spoke.train("lamps", config={**tiny_spoke, "content": content}, promote=True)
    assert len(set(read)) == len(content)
    spoke, _ = load_spoke(shop, shop.registry.models.get(str(made.ref)))
    assert spoke.content == tuple(content)
    assert (spoke.space.text_rank > 0, spoke.space.image_rank) == ("text" in content, 0)
    assert (spoke.mixture.seen_ranked.behaviour > 0) or content
    if not content:
        assert spoke.mixture.seen_filtered.content == spoke.mixture.seen_filtered.cold == 0
    assert shop.index.check(str(made.index)).ok
    items = load_dataset(shop, "lamps").items["item_id"]
    assert len(shop.recommend("lamps", [items[0]], k=5).items) == 5
    assert len(shop.similar("lamps", items[0], k=5).items) == 5
    named = {part.name for part in shop.explain("lamps", [items[0]]).items[0].parts}
    assert named - {"trend"} == {"behaviour", "cold", *content}
    # Lists are as diverse as content says, even where the first system reads none.
    alone = shop.evaluate.compare("lamps", ["lamps:1"]).results[0].metrics["all"]["diversity@10"]
    both = shop.evaluate.compare("lamps", [str(made.ref), "lamps:1"]).results
    assert (both[1].metrics["all"]["diversity@10"] == alone) or content


def test_a_refit_counts_the_validation_events_too(shop: Workspace, config: Any) -> None:
    chosen, refitted = (
        load_spoke(
            shop, shop.registry.models.get(str(shop.spoke.train("lamps", config=config, refit=refit, index=False).ref))
        )[0].behaviour
        for refit in (False, True)
    )
    assert chosen is not None and refitted is not None
    assert chosen.features.vocabulary == refitted.features.vocabulary
    assert chosen.features.fingerprints["statistics"] != refitted.features.fingerprints["statistics"]


def test_what_a_parent_has_learned_to_read_is_read_again(served: Workspace) -> None:
    dataset = load_dataset(served, "lamps")
    behaviour = load_spoke(served, served.registry.models.get("lamps:2"))[0].behaviour
    assert behaviour is not None and behaviour.features.statistics is not None
    config = behaviour.config
    parent = replace(behaviour.features, statistics=replace(behaviour.features.statistics, columns=("view", "rating")))
    other = replace(dataset, items=dataset.items.with_columns(brand=pl.lit(None, pl.String)))

    def fitted(parent: ItemFeatures | None) -> ItemFeatures:
        raw = event_ranges(served, other)
        return fit_features(config, other.items, dataset.sequences, raw, parent=parent)

    made = fitted(parent)
    assert made.vocabulary == parent.vocabulary
    assert made.statistics is not None and made.statistics.columns == ("view", "rating")
    assert fitted(None).vocabulary != parent.vocabulary


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    """40 users who view 4 to 7 lamps, look twice at each and buy some; `after` counts from the end of a history."""
    rng = np.random.default_rng(5)
    rows = []
    for user in range(40):
        start, length = int(rng.integers(30)), int(rng.integers(4, 8))
        for place in range(length):
            moment = START + timedelta(days=7 * place, minutes=user)
            item, after = f"lamps-{(start + 3 * place) % 30:04d}", length - 1 - place
            rows.append((f"user-{user:02d}", item, moment, "view", after))
            rows.append((f"user-{user:02d}", item, moment + timedelta(minutes=1), "cart", after))
            if place % 2:
                rows.append((f"user-{user:02d}", item, moment + timedelta(minutes=2), "purchase", after))
    return pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "event_type", "after"], orient="row")


@pytest.fixture
def train(train_on: Train, config: Any) -> Train:
    return lambda events, **options: train_on(events.drop("after"), config, **options)


def bought(events: pl.DataFrame, where: pl.Expr) -> pl.DataFrame:
    """A planted leak: where `where` is true everything is bought, and of other lamps."""
    other = "lamps-003" + pl.col("item_id").str.slice(-1)
    return events.with_columns(
        item_id=pl.when(where).then(other).otherwise("item_id"),
        event_type=pl.when(where).then(pl.lit("purchase")).otherwise("event_type"),
    )


def test_statistics_see_nothing_that_leave_one_out_holds_out(train: Train, events: pl.DataFrame) -> None:
    plain = train(events)
    assert train(bought(events, pl.col("after") == 0)).space_fingerprint == plain.space_fingerprint
    # The same items in the same places, so that the sequences are the same: only their types can leak.
    typed = events.with_columns(event_type=pl.when(pl.col("after") < 2).then(pl.lit("click")).otherwise("event_type"))
    assert train(typed).space_fingerprint == plain.space_fingerprint
    seen = events.with_columns(event_type=pl.when(pl.col("after") == 2).then(pl.lit("click")).otherwise("event_type"))
    assert train(seen).space_fingerprint != plain.space_fingerprint


def test_statistics_see_nothing_of_a_temporal_test_window(train: Train, events: pl.DataFrame) -> None:
    cut = START + timedelta(weeks=4)
    plain = train(events, split="temporal", test_from=cut, refit=True)
    leaked = bought(events, pl.col("timestamp") >= cut)
    extra = leaked.head(30).with_columns(user_id=pl.lit("stranger"), timestamp=cut + pl.duration(days=pl.int_range(30)))
    leaked = pl.concat([leaked, extra.select(leaked.columns)])
    assert train(leaked, split="temporal", test_from=cut, refit=True).space_fingerprint == plain.space_fingerprint
    seen = bought(events, pl.col("timestamp") < START + timedelta(days=1))
    assert train(seen, split="temporal", test_from=cut, refit=True).space_fingerprint != plain.space_fingerprint

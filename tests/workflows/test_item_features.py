"""Spokes that read item features or adapt encoders: trained, stored, served on a newer catalog, without a leak."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hubspoke.cli import cli
from hubspoke.hub import model
from hubspoke.registry.records import ModelRecord
from hubspoke.spokes.features.items import ItemFeatures, fit_features
from hubspoke.workflows.datasets import event_ranges, load_dataset
from hubspoke.workflows.index_loading import load_index
from hubspoke.workflows.loading import load_spoke
from hubspoke.workflows.workspace import Workspace

START = datetime(2024, 4, 1, tzinfo=UTC)
Train = Callable[..., ModelRecord]


@pytest.fixture
def slow(tiny_spoke: Any) -> dict[str, Any]:
    """The tiny spoke, which learns in small steps."""
    return {**tiny_spoke, "training": {**tiny_spoke["training"], "learning_rate": 0.01}}


@pytest.fixture
def config(slow: dict[str, Any]) -> dict[str, Any]:
    """With everything of the item side on."""
    return {**slow, "attributes": {}, "statistics": {}}


@pytest.fixture
def served(shop: Workspace, config: Any) -> Workspace:
    """The shop with lamps:2, which reads features, live on its index."""
    shop.spoke.train("lamps", config=config, promote=True)
    return shop


@pytest.fixture
def adapting(slow: dict[str, Any]) -> dict[str, Any]:
    """With adapters on the last layers of both encoders."""
    return {**slow, "encoder_adapter": {"rank": 2, "encoders": ["text", "image"], "learning_rate_factor": 1.0}}


@pytest.fixture
def adapted(shop: Workspace, adapting: Any) -> Workspace:
    """The shop with a hub of two encoders, and lamps:2, which adapts both of them, live."""
    shop.hub.train(domains=[], config={"text": {"name": "tiny"}, "image": {"name": "tiny"}})
    shop.spoke.train("lamps", hub="hub:2", config=adapting, promote=True)
    return shop


def check_served(ws: Workspace) -> dict[str, float]:
    """lamps:2 is sound, recommends and is explained; the parts of its behaviour, which add up."""
    assert ws.index.check("index:lamps/2").ok
    items = load_dataset(ws, "lamps").items["item_id"][:2].to_list()
    found, told = ws.recommend("lamps", items, k=5), ws.explain("lamps", items)
    assert (found.served_by, len(found.items)) == ("lamps:2", 5)
    behaviour = next(own for own in told.items[0].parts if own.name == "behaviour")
    assert sum(told.items[0].behaviour_parts.values()) == pytest.approx(behaviour.score, abs=1e-4)
    assert ws.evaluate.run("lamps", "lamps:2").model == "lamps:2"
    return told.items[0].behaviour_parts


def vectors(ws: Workspace, ref: str) -> dict[str, Any]:
    index = load_index(ws, ws.registry.indexes.get(ref)).index
    return dict(zip(index.item_ids, index.vectors(), strict=True))


def plain(ws: Workspace) -> pl.DataFrame:
    """The catalog as it would come in a file, without its pictures."""
    joined = load_dataset(ws, "lamps").items.with_columns(category_path=pl.col("category_path").list.join(" > "))
    return joined.drop("attributes", "image_sha256", "image")


def grown(ws: Workspace, items: pl.DataFrame) -> dict[str, Any]:
    """The vectors of an index that is brought up to a catalog, which are those of one built anew."""
    ws.data.ingest("lamps", items=items)
    found = vectors(ws, str(ws.index.add("lamps").ref))
    built = vectors(ws, str(ws.index.build("lamps:2").ref))
    assert list(found) == list(built) and list(found)[:2] == ["new-1", "new-2"]
    for item, vector in built.items():
        np.testing.assert_allclose(found[item], vector, atol=1e-5)
    return found


def test_what_was_fitted_is_stored_with_the_spoke_and_named_as_its_parts(served: Workspace) -> None:
    both = [served.registry.models.get(ref) for ref in ("lamps:1", "lamps:2")]
    without, own = ({part.name for part in record.parts} for record in both)
    assert own - without == {"attribute encoder", "behaviour statistics"}
    spoke, _ = load_spoke(served, both[1])
    assert spoke.space_fingerprint == both[1].space_fingerprint
    vocabulary, statistics = spoke.behaviour.features.vocabulary, spoke.behaviour.features.statistics
    # All of them are of one category, which tells none from another.
    assert [field.name for field in (*vocabulary.categorical, *vocabulary.numeric)] == ["brand", "price"]
    types = ("cart", "click", "purchase", "view")
    assert statistics.columns == (*types, "cart per view", "purchase per view", "recency")
    assert {"attributes", "statistics"} <= set(check_served(served))


def test_a_newer_catalog_is_read_with_what_was_fitted(served: Workspace) -> None:
    items = plain(served)
    cheap, other = items.sort("price")["item_id"].head(2)
    dear = items.with_columns(price=pl.when(pl.col("item_id") == cheap).then(1e9).otherwise("price"))
    brand, price = pl.lit("Nobody"), pl.lit(None, pl.Float64)
    new = items.head(2).with_columns(item_id=pl.Series(["new-1", "new-2"]), brand=brand, price=price)
    before, after = vectors(served, "index:lamps/2"), grown(served, pl.concat([new, dear]))
    assert np.isfinite(after["new-1"]).all() and np.isfinite(after[cheap]).all()
    # Only the price that moved moves a vector, and only its behavioural part.
    np.testing.assert_allclose(after[other], before[other], atol=1e-5)
    assert np.abs(after[cheap][:16] - before[cheap][:16]).max() > 1e-4
    np.testing.assert_allclose(after[cheap][16:], before[cheap][16:], atol=1e-5)
    served.promote("index:lamps/3", reason="new items")
    assert served.recommend("lamps", ["new-1"], k=3).served_by == "lamps:2"


def test_a_gate_is_stored_named_and_explained_with_a_note(shop: Workspace, tiny_spoke: Any) -> None:
    shop.spoke.train("lamps", config={**tiny_spoke, "fusion": "gate"}, promote=True)
    assert "item fusion" in {part.name for part in shop.registry.models.get("lamps:2").parts}
    assert any("gate weighed them" in note for note in shop.explain("lamps", ["lamps-0000", "lamps-0001"]).notes)
    assert set(check_served(shop)) == {"text", "item id", "bias"}


def test_a_version_says_that_its_encoders_are_adapted(adapted: Workspace) -> None:
    record = adapted.registry.models.get("lamps:2")
    parts = {part.name: part for part in record.parts}
    assert parts["encoder adapter"].parameters == 2 * (32 + 32) + 2 * (64 + 32)
    edges = [edge for edge in adapted.registry.lineage.upstream("lamps:2").edges if edge.child == "lamps:2"]
    found = {edge.part: str(edge.reason) for edge in edges if edge.relation == "inherits"}
    assert all("adapter on its last layers" in found[f"{name} encoder"] for name in ("text", "image"))
    (reason,) = [edge.reason for edge in edges if edge.relation == "adapted_from"]
    assert reason == "LoRA on the base fusion; LoRA on the last layers of text and image"
    spoke, _ = load_spoke(adapted, record)
    assert spoke.heads == {"text": 1, "image": 1} and spoke.space_fingerprint == record.space_fingerprint
    assert check_served(adapted)
    # New items go through the adapted heads.
    items = plain(adapted)
    new = items.head(2).with_columns(item_id=pl.Series(["new-1", "new-2"]), title=pl.lit("A lamp of brass"))
    grown(adapted, pl.concat([new, items]))


def test_the_base_is_run_once_per_item_and_trained_on_from(adapted: Workspace, adapting: Any) -> None:
    shards = set(adapted.cache_dir.rglob("*.safetensors"))
    adapted.spoke.train("lamps", hub="hub:2", config={**adapting, "seed": 1})
    assert shards and set(adapted.cache_dir.rglob("*.safetensors")) == shards  # whatever runs is stored
    shutil.rmtree(adapted.cache_dir)
    adapted.index.check("index:lamps/2")
    assert list(adapted.cache_dir.rglob("*.safetensors"))
    # A training goes on from it: only the step length of the adapter is another, which shapes nothing.
    config = {"training": {"max_epochs": 0}, "encoder_adapter": {"learning_rate_factor": 0.5}}
    made = adapted.spoke.train("lamps", parent="lamps:2", config=config, hub="hub:2")
    both = [adapted.registry.models.get(ref) for ref in ("lamps:2", str(made.ref))]
    assert both[1].config["encoder_adapter"]["encoders"] == ["text", "image"]
    # Nothing is trained, so that what was taken over is what is kept.
    first, second = (part.fingerprint for own in both for part in own.parts if part.name == "encoder adapter")
    assert first == second and adapted.index.check(str(made.index)).ok


def test_encoders_are_adapted_from_the_command_line(shop: Workspace) -> None:
    def call(setting: str) -> tuple[int, str]:
        small = ("transformer.dimension=16", "training.max_epochs=2", "encoder_adapter.rank=2", setting)
        options = [word for own in small for word in ("--set", own)]
        where = ["--workspace", str(shop.settings.workspace)]
        ended = CliRunner().invoke(cli, ["spoke", "train", "lamps", *where, *options])
        return ended.exit_code, " ".join(ended.output.split())

    assert call("encoder_adapter.layers=1")[0] == 0
    assert shop.registry.models.get("lamps:2").config["encoder_adapter"]["layers"] == 1
    for wrong, sentence in (
        ("encoder_adapter.layers=2", "has 1 layers that can be adapted, not 2"),
        ('encoder_adapter.encoders=["text", "image"]', "The hub has no image encoder to adapt; take image out of"),
        ("training.loss=softmax", "choose sampled-softmax or drop encoder_adapter"),
    ):
        code, found = call(wrong)
        assert code == 2 and sentence in found


@pytest.mark.parametrize("content", [[], ["text"]])
def test_what_is_not_read_of_the_content_is_nowhere(shop: Any, tiny_spoke: Any, content: Any, monkeypatch: Any) -> None:
    read = Mock(wraps=model.encode_cached)
    monkeypatch.setattr(model, "encode_cached", read)
    made = shop.spoke.train("lamps", config={**tiny_spoke, "content": content}, promote=True)
    assert len({type(call.args[0]) for call in read.mock_calls}) == len(content)
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
    assert named - {"trend", "repeat"} == {"behaviour", "cold", *content}
    # Lists are as diverse as content says, even where the first system reads none.
    alone = shop.evaluate.compare("lamps", ["lamps:1"]).results[0].metrics["all"]["diversity@10"]
    both = shop.evaluate.compare("lamps", [str(made.ref), "lamps:1"]).results
    assert (both[1].metrics["all"]["diversity@10"] == alone) or content


def test_a_refit_counts_the_validation_events_too(shop: Workspace, config: Any) -> None:
    made = [shop.spoke.train("lamps", config=config, refit=refit, index=False).ref for refit in (False, True)]
    chosen, refitted = (load_spoke(shop, shop.registry.models.get(ref))[0].behaviour.features for ref in made)
    assert chosen.vocabulary == refitted.vocabulary
    assert chosen.fingerprints["statistics"] != refitted.fingerprints["statistics"]


def test_what_a_parent_has_learned_to_read_is_read_again(served: Workspace) -> None:
    dataset = load_dataset(served, "lamps")
    behaviour = load_spoke(served, served.registry.models.get("lamps:2"))[0].behaviour
    parent = replace(behaviour.features, statistics=replace(behaviour.features.statistics, columns=("view", "rating")))
    other = replace(dataset, items=dataset.items.with_columns(brand=pl.lit(None, pl.String)))

    def fitted(parent: ItemFeatures | None) -> ItemFeatures:
        raw = event_ranges(served, other)
        return fit_features(behaviour.config, other.items, dataset.sequences, raw, parent=parent)

    made = fitted(parent)
    assert (made.vocabulary, made.statistics.columns) == (parent.vocabulary, ("view", "rating"))
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
            for minute, kind in enumerate(("view", "cart", "purchase")[: 2 + place % 2]):
                rows.append((f"user-{user:02d}", item, moment + timedelta(minutes=minute), kind, after))
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


@pytest.mark.slow
def test_statistics_see_nothing_that_is_held_out(train: Train, events: pl.DataFrame) -> None:
    plain = train(events)
    assert train(bought(events, pl.col("after") == 0)).space_fingerprint == plain.space_fingerprint
    # The same items in the same places, so that the sequences are the same: only their types can leak.
    typed = events.with_columns(event_type=pl.when(pl.col("after") < 2).then(pl.lit("click")).otherwise("event_type"))
    assert train(typed).space_fingerprint == plain.space_fingerprint
    seen = events.with_columns(event_type=pl.when(pl.col("after") == 2).then(pl.lit("click")).otherwise("event_type"))
    assert train(seen).space_fingerprint != plain.space_fingerprint
    # Nor do they see anything of a temporal test window.
    cut = START + timedelta(weeks=4)
    plain = train(events, split="temporal", test_from=cut, refit=True)
    leaked = bought(events, pl.col("timestamp") >= cut)
    extra = leaked.head(30).with_columns(user_id=pl.lit("stranger"), timestamp=cut + pl.duration(days=pl.int_range(30)))
    leaked = pl.concat([leaked, extra.select(leaked.columns)])
    assert train(leaked, split="temporal", test_from=cut, refit=True).space_fingerprint == plain.space_fingerprint
    seen = bought(events, pl.col("timestamp") < START + timedelta(days=1))
    assert train(seen, split="temporal", test_from=cut, refit=True).space_fingerprint != plain.space_fingerprint

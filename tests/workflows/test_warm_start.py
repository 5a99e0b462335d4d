"""Trainings that go on from an earlier version: what is taken over, what counts as seen, how drift is told."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.catalog.sequences import Sequences
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.errors import IncompatibleError, InvalidDataError, UsageError
from hubspoke.evaluation.protocols import Protocol
from hubspoke.registry.records import ModelRecord
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.loading import load_spoke
from hubspoke.workflows.warm_start import new_sequences
from hubspoke.workflows.workspace import Workspace

START = datetime(2024, 4, 1, tzinfo=UTC)
NO_EPOCHS = {"training": {"max_epochs": 0}}


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    """40 users who take a lamp a day for eight days, none twice; `day` counts from 0."""
    rows = [
        (f"user-{user:02d}", f"lamps-{(user * 7 + 3 * day) % 30:04d}", START + timedelta(days=day, minutes=user), day)
        for user, day in product(range(40), range(8))
    ]
    return pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "day"], orient="row")


@pytest.fixture
def garden(shop: Workspace, market: Any, events: pl.DataFrame) -> Workspace:
    """The shop with a domain `garden` that knows the first five days."""
    shop.domain.add("garden", market["lamps"].items, before(events, 5), sessions=SessionSettings(mode="per_user"))
    return shop


def before(events: pl.DataFrame, day: int) -> pl.DataFrame:
    return events.filter(pl.col("day") < day).drop("day")


def trained(ws: Workspace, config: Any, domain: str = "garden", **options: Any) -> ModelRecord:
    return ws.spoke.show(str(ws.spoke.train(domain, config=config, index=False, **options).ref))


def weights(ws: Workspace, record: ModelRecord) -> dict[str, np.ndarray]:
    behaviour = load_spoke(ws, record)[0].behaviour
    return {name: weight.numpy() for name, weight in behaviour.model.state_dict().items()}


def test_without_a_step_it_is_its_parent(garden: Workspace, tiny_spoke: Any) -> None:
    parent = trained(garden, tiny_spoke)
    child = trained(garden, NO_EPOCHS, parent="garden:1")
    # The parent's config is what the given keys are laid over.
    assert child.config == {**parent.config, "training": {**parent.config["training"], "max_epochs": 0}}
    assert (child.space_fingerprint, child.summary["epochs"]) == (parent.space_fingerprint, 0)
    about, drift = child.summary["warm_start"], child.summary["drift"]
    assert about["took"] == ["transformer", "adapter", "content projection", "item ids"]
    assert (about["parent"], about["ids_taken"], about["ids_fresh"]) == ("garden:1", 30, 0)
    assert drift["cosine"]["mean"] == pytest.approx(1, abs=1e-5) and drift["overlap@10"] == 1
    nowhere = {"distance": 0.0, "neighbours@10": 1.0}
    assert {key: drift[key] for key in nowhere} == nowhere == drift["content"]
    assert (drift["items"], drift["users"]) == (40, 40)
    scores = drift["validation_ndcg@10"]
    assert scores["before"] == scores["start"] == scores["after"] == child.summary["validation_ndcg@10"]
    assert scores["after"] == pytest.approx(parent.summary["validation_ndcg@10"], abs=1e-5)
    edges = [edge for edge in garden.registry.lineage.upstream(child.ref).edges if edge.child == child.ref]
    (edge,) = (edge for edge in edges if edge.relation == "warm_started_from")
    assert edge.parent == "garden:1" and "took transformer" in str(edge.reason)
    # The same parent gives the same version, and another another.
    trained(garden, {**tiny_spoke, "seed": 7})
    for options, ref, cached in (
        ({"parent": "garden:1"}, "garden:4", False),
        ({"parent": "garden:1"}, "garden:4", True),
        ({"parent": "garden:3"}, "garden:5", False),
        ({"config": tiny_spoke}, "garden:1", True),
    ):
        made = garden.spoke.train("garden", index=False, **options)
        assert (made.ref, made.cached) == (ref, cached)
    planned = garden.spoke.train("garden", parent="garden:1", on="all", dry_run=True, config={"id_dropout": 0.3})
    assert planned.status == "planned" and len(garden.spoke.list("garden")) == 5


VARIANTS: list[tuple[dict[str, Any], str]] = [
    ({"content": []}, "transformer, item ids"),
    ({"ids": False, "fusion": "gate"}, "transformer, item fusion, adapter, content projection"),
    # A sparse catalog, whose regime reads statistics where the config leaves them open.
    ({"statistics": ...}, "transformer, adapter, statistics encoder, content projection, item ids"),
    (
        {"fusion": "cross-attention", "statistics": {"folds": 3}},
        "transformer, item fusion, adapter, statistics encoder, content projection, item ids",
    ),
]


@pytest.mark.parametrize(("variant", "took"), VARIANTS)
def test_so_it_is_whatever_its_items_are_made_of(garden: Any, tiny_spoke: Any, variant: Any, took: str) -> None:
    parent = trained(garden, {key: own for key, own in {**tiny_spoke, **variant}.items() if own is not ...})
    child = trained(garden, NO_EPOCHS, parent="garden:1")
    assert parent.summary["regime"] == "small-sparse"
    assert child.space_fingerprint == parent.space_fingerprint
    assert (child.summary["warm_start"]["took"], child.summary["drift"]["overlap@10"]) == (took.split(", "), 1)


def test_it_learns_from_where_its_parent_stood(garden: Workspace, tiny_spoke: Any, events: pl.DataFrame) -> None:
    config = {**tiny_spoke, "training": {**tiny_spoke["training"], "learning_rate": 1e-2, "max_epochs": 6}}
    trained(garden, config)
    garden.data.ingest("garden", events=before(events, 8))
    child = trained(garden, config, parent="garden:1")
    scores, drift = child.summary["drift"]["validation_ndcg@10"], child.summary["drift"]
    assert scores["after"] > scores["start"] >= 0
    assert child.summary["validation_ndcg@10"] == scores["after"]
    assert -1 <= drift["cosine"]["q05"] <= drift["cosine"]["median"] <= drift["cosine"]["q95"] < 1
    assert 0 <= drift["overlap@10"] < 1
    assert child.summary["warm_start"]["events"] == 40 * 6 and child.summary["warm_start"]["new_events"] == 40 * 3


def test_a_child_is_held_to_its_parent_unless_it_is_not_to_be(garden: Any, tiny_spoke: Any, events: Any) -> None:
    config = {**tiny_spoke, "training": {**tiny_spoke["training"], "learning_rate": 1e-2, "max_epochs": 6}}
    trained(garden, config)
    garden.data.ingest("garden", events=before(events, 8))
    free = {"anchor": 0, "consolidation": 0}
    moved = []
    for held in (free, {**free, "anchor": 100}, {"anchor": 100, "consolidation": 1000}):
        child = trained(garden, {**config, "stability": held}, parent="garden:1")
        assert child.config["stability"] == {"keep_calibration": True, **held} and child.summary["epochs"] > 0
        moved.append(child.summary["drift"]["distance"])
        again = garden.spoke.train("garden", config={**config, "stability": held}, parent="garden:1", index=False)
        assert (again.ref, again.cached) == (child.ref, True)
    assert moved[0] > 2 * moved[1] > 0 and moved[2] < moved[0]
    # A grandchild is held as its parent was.
    assert trained(garden, NO_EPOCHS, parent="garden:4").config["stability"]["consolidation"] == 1000


def test_on_new_events_alone(garden: Workspace, tiny_spoke: Any, events: pl.DataFrame, refused: Any) -> None:
    trained(garden, tiny_spoke)
    garden.data.ingest("garden", events=before(events, 7))
    short = {"transformer": {"max_length": 2}}
    refused(IncompatibleError, r"max_length 50 there and 2 here", trained, garden, short, parent="garden:1", on="new")
    child = trained(garden, {}, parent="garden:1", on="new")
    # Days 0 to 2 trained the parent; of seven days, the last two are held out, so that days 3 and 4 are new.
    about = child.summary["warm_start"]
    assert (about["on"], about["new_events"], about["events"]) == ("new", 40 * 2, 40 * 5)
    assert child.summary["training_events"] == 40 * 5
    # The next night nothing has happened.
    with pytest.raises(InvalidDataError, match=r"garden:2 has been trained on all of the 200 events .* --on all"):
        trained(garden, {}, parent="garden:2", on="new")
    # A child of the child: what its grandparent saw is not new to it.
    garden.data.ingest("garden", events=before(events, 8))
    assert trained(garden, {}, parent="garden:2", on="new").summary["warm_start"]["new_events"] == 40


def test_what_is_new_keeps_its_context() -> None:
    sequences = Sequences(np.arange(10), np.arange(10), np.array([0, 5, 7, 10]), np.arange(3), ("a", "b", "c"), 10)
    for unseen, reach, new in (
        ([3, 7], 2, [[1, 2, 3, 4], [7, 8]]),
        ([3, 7], 9, [[0, 1, 2, 3, 4], [7, 8]]),
        ([], 9, []),
    ):
        found = new_sequences(sequences, np.arange(10) < 9, ~np.isin(np.arange(10), unseen), reach=reach)
        assert [list(own) for own in found] == new


def test_a_parent_that_has_seen_test_or_validation_is_refused(garden: Workspace, tiny_spoke: Any, refused: Any) -> None:
    everything = r"\(--split all.*has seen 40 of the events .* test"
    for number, how, reason in (
        (1, {"split": "all"}, everything),
        (2, {"split": "all", "refit": True}, everything),
        (3, {"refit": True}, "has been trained on the event that each of the 40 users"),
    ):
        trained(garden, tiny_spoke, **how)
        refused(UsageError, f"garden:{number} {reason}", trained, garden, {}, parent=f"garden:{number}")
        assert len(garden.spoke.list("garden")) == number  # no version number was taken


def test_so_is_one_whose_own_parent_has(garden: Workspace, tiny_spoke: Any, events: pl.DataFrame) -> None:
    some = before(events, 8).filter(pl.col("user_id") < "user-10")
    garden.data.ingest("garden", events=some)
    parent = trained(garden, tiny_spoke, split="all", refit=True)
    first = trained(garden, {}, parent="garden:1", split="all", events="snapshot:garden/events/1")
    assert (first.ref, first.summary["warm_start"]["validation_left_out"]) == ("garden:2", 10)
    newest = first.summary["training_end"]  # what the parent saw last counts as seen by the child
    assert newest == parent.summary["training_end"] > (START + timedelta(days=5)).timestamp() * 1e6
    # Of days 6 and 7 garden:2 knows nothing, but ten shoppers' were in garden:1.
    garden.data.ingest("garden", events=before(events, 8))
    with pytest.raises(UsageError, match=r"garden:2 .* or a version that it goes back on, has seen 20 of the events"):
        trained(garden, {}, parent="garden:2", split="temporal", test_from=START + timedelta(days=6))


def test_users_whose_validation_event_was_seen_are_not_chosen_on(garden: Any, tiny_spoke: Any, events: Any) -> None:
    trained(garden, tiny_spoke, split="all", refit=True)
    few = events.filter((pl.col("day") < 5) | (pl.col("user_id") < "user-10")).drop("day")
    garden.data.ingest("garden", events=few)
    child = trained(garden, {}, parent="garden:1", split="all", on="new")
    about = child.summary["warm_start"]
    assert (about["validation_left_out"], child.summary["validation_users"], about["new_events"]) == (30, 10, 10 * 2)
    with pytest.raises(UsageError, match="each of the 40 users"):
        trained(garden, {}, parent="garden:1", split="all", events="snapshot:garden/events/1")


def test_another_hub_keeps_its_own_fusion(garden: Workspace, tiny_spoke: Any, tiny_hub: Any) -> None:
    parent = trained(garden, tiny_spoke)
    garden.hub.train(domains=[], config={**tiny_hub, "text": {"name": "tiny:3"}})
    child = trained(garden, NO_EPOCHS, parent="garden:1", hub="hub:2")
    ours, theirs = weights(garden, child), weights(garden, parent)
    taken = [name for name in theirs if name.startswith("transformer.") or name == "ids.weight"]
    assert taken and all(np.array_equal(ours[name], theirs[name]) for name in taken)
    assert all(not ours[name].any() for name in ours if "lora_B" in name)
    took = ["transformer", "content projection (fitted to another content space)", "item ids"]
    assert child.summary["warm_start"]["took"] == took
    # Items begin where they stood, although another hub speaks of them.
    assert child.summary["drift"]["cosine"]["mean"] > 0.95
    assert garden.registry.models.hub_of(child.ref).ref == "hub:2"
    # An adapter of another size is not in the way, for it starts anew.
    assert trained(garden, {**NO_EPOCHS, "adapter": {"rank": 2}}, parent="garden:1", hub="hub:2").status == "ready"
    with pytest.raises(IncompatibleError, match=r"adapter.rank 8 there and 2 here"):
        trained(garden, {**NO_EPOCHS, "adapter": {"rank": 2}}, parent="garden:1", hub="hub:1")


def test_newer_data_keep_items_where_they_stood(garden: Workspace, tiny_spoke: Any, events: pl.DataFrame) -> None:
    parent = trained(garden, tiny_spoke)
    garden.data.ingest("garden", events=before(events, 8))
    # A refit begins at the parent again.
    child = trained(garden, NO_EPOCHS, parent="garden:1", refit=True)
    ours, theirs = (weights(garden, own)["transformer.positions"] for own in (child, parent))
    np.testing.assert_array_equal(ours, theirs)
    assert child.summary["training_events"] == 40 * 7
    items = load_dataset(garden, "garden").items
    title = "Something else " + pl.col("title").str.reverse()
    new = items.head(20).with_columns(item_id="new-" + pl.col("item_id"), title=title)
    garden.data.ingest("garden", items=pl.concat([items, new]).drop("image", "image_sha256"))
    anew = {**NO_EPOCHS, "stability": {"keep_calibration": False}}
    child = trained(garden, anew, parent="garden:1", events="snapshot:garden/events/1")
    assert "content projection (fitted to another content space)" in child.summary["warm_start"]["took"]
    about, drift = child.summary["warm_start"], child.summary["drift"]
    assert (drift["items"], about["calibrated_items"]) == (40, 60)
    assert drift["cosine"]["q05"] > 0.9 and drift["distance"] > 0 and drift["content"]["distance"] > 0.1
    # With the parent's calibration nothing moves at all, as long as the catalog has not outgrown it.
    kept = trained(garden, NO_EPOCHS, parent="garden:1", events="snapshot:garden/events/1")
    about, drift = kept.summary["warm_start"], kept.summary["drift"]
    assert about["calibrated_items"] == 40 and "content projection" in about["took"]
    assert drift["distance"] == pytest.approx(0, abs=1e-4) and drift["content"]["distance"] == 0
    many = [new.with_columns(item_id=f"{n}-" + pl.col("item_id")) for n in range(2)]
    more = pl.concat([items, new, *many]).drop("image", "image_sha256")  # 100 of 40
    garden.data.ingest("garden", items=more)
    grown = trained(garden, NO_EPOCHS, parent=kept.ref, events="snapshot:garden/events/1")
    assert grown.summary["warm_start"]["calibrated_items"] == 100
    assert grown.summary["drift"]["content"]["distance"] > 0.1


def test_from_another_domain_the_network_is_taken_and_no_ids(garden: Workspace, tiny_spoke: Any, market: Any) -> None:
    garden.domain.add("mugs", market["mugs"].items, market["mugs"].events)
    parent = trained(garden, {**tiny_spoke, "statistics": {}, "attributes": {}}, domain="mugs", split="all")
    child = trained(garden, NO_EPOCHS, parent="mugs:1")
    about = child.summary["warm_start"]
    assert (about["ids_taken"], about["ids_fresh"], "attributes encoder" in about["took"]) == (0, 30, False)
    ours, theirs = weights(garden, child), weights(garden, parent)
    for name in ("transformer.blocks.0.attention.query_key_value.weight", "transformer.positions"):
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert not ours["features.attributes.output.weight"].any()
    drift = child.summary["drift"]
    assert (drift["items"], drift["cosine"], drift["content"]) == (0, {}, {}) and "distance" not in drift


def test_encoders_of_item_features_go_on_reading(garden: Workspace, tiny_spoke: Any) -> None:
    parent = trained(garden, {**tiny_spoke, "statistics": {}, "attributes": {}})
    child = trained(garden, NO_EPOCHS, parent="garden:1")
    assert {"attributes encoder", "statistics encoder"} <= set(child.summary["warm_start"]["took"])
    assert child.space_fingerprint == parent.space_fingerprint
    # Without them it is another network, and with others it would not fit.
    assert trained(garden, {**NO_EPOCHS, "attributes": None}, parent="garden:1").status == "ready"
    with pytest.raises(IncompatibleError, match=r"attributes.min_count 2 there and 3 here"):
        trained(garden, {"attributes": {"min_count": 3}}, parent="garden:1")


def test_a_child_is_not_measured_on_validation_that_its_parent_saw(garden: Any, tiny_spoke: Any, events: Any) -> None:
    few = events.filter((pl.col("day") < 5) & ((pl.col("day") < 4) | (pl.col("user_id") < "user-10"))).drop("day")
    garden.data.ingest("garden", events=few)
    trained(garden, tiny_spoke, refit=True)
    child = trained(garden, {}, parent="garden:1", events="snapshot:garden/events/1")
    # Ten shoppers have no event that garden:1 had not seen, the others' last but one was its test.
    assert child.summary["warm_start"]["validation_left_out"] == 10
    old = "snapshot:garden/events/1"
    assert garden.evaluate.run("garden", child.ref, events=old, record=False).n_users == 40
    with pytest.raises(UsageError, match=r"parent of garden:2 was trained on validation events; measure it on test"):
        garden.evaluate.run("garden", child.ref, Protocol(part="validation"), events=old, record=False)

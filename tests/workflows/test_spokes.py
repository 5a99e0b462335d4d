"""Spoke versions: what a training may see, what it leaves behind, and what it refuses."""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.errors import HubspokeError, IncompatibleError, InvalidDataError, LockedError, NotFoundError, UsageError
from hubspoke.registry.records import ModelRecord
from hubspoke.spokes.spoke import Spoke
from hubspoke.workflows.workspace import Workspace, open_workspace

START = datetime(2024, 4, 1, tzinfo=UTC)
Train = Callable[..., ModelRecord]


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    """60 users who take 4 to 7 of the first 30 lamps in circles, none twice; `after` counts from the last event."""
    rng = np.random.default_rng(5)
    rows = []
    for user in range(60):
        start, length = int(rng.integers(30)), int(rng.integers(4, 8))
        for place in range(length):
            moment = START + timedelta(days=int(rng.integers(2)) + 7 * place, minutes=user)
            rows.append((f"user-{user:02d}", f"lamps-{(start + 3 * place) % 30:04d}", moment, length - 1 - place))
    return pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "after"], orient="row")


def swapped(events: pl.DataFrame, where: pl.Expr) -> pl.DataFrame:
    """Another lamp, one of the ten that nobody takes, in every event where `where` is true."""
    other = "lamps-003" + pl.col("item_id").str.slice(-1)
    return events.with_columns(item_id=pl.when(where).then(other).otherwise(pl.col("item_id")))


@pytest.fixture
def train(train_on: Train, tiny_spoke: Any) -> Train:
    return lambda events, **options: train_on(events.drop("after"), tiny_spoke, **options)


def test_leave_one_out_never_sees_the_last_event_not_even_to_choose(train: Train, events: pl.DataFrame) -> None:
    # Where every user's last event repeats the first one, a look at the test would say that people buy again.
    first = pl.col("item_id").first().over("user_id")
    again = events.with_columns(item_id=pl.when(pl.col("after") == 0).then(first).otherwise(pl.col("item_id")))
    plain = train(events)
    for other in (train(events), train(swapped(events, pl.col("after") == 0)), train(again)):
        assert other.space_fingerprint == plain.space_fingerprint
        for key in ("validation_filters_seen", "mixture", "epochs", "validation_ndcg@10"):
            assert other.summary[key] == plain.summary[key]
    assert train(swapped(events, pl.col("after") == 2)).space_fingerprint != plain.space_fingerprint
    assert plain.summary["training_events"] == (events["after"] >= 2).sum()
    assert plain.summary["validation_filters_seen"]
    # A refit takes the validation events in, and still not the test.
    refitted = train(events, refit=True)
    assert refitted.summary["split"] == {"name": "leave-one-out", "test_from": None, "refit": True}
    assert refitted.summary["training_events"] == (events["after"] >= 1).sum()
    # What was chosen on validation stays as it was; the weights are others.
    assert refitted.summary["epochs"] == plain.summary["epochs"]
    assert refitted.summary["mixture"] == plain.summary["mixture"]
    assert refitted.space_fingerprint != plain.space_fingerprint
    assert train(swapped(events, pl.col("after") == 0), refit=True).space_fingerprint == refitted.space_fingerprint


def test_bert4rec_trains_is_stored_and_recommends(shop: Workspace, tiny_spoke: Any) -> None:
    cloze = {**tiny_spoke, "model": "bert4rec"}
    trained = shop.spoke.train("lamps", config=cloze, promote=True)
    record = shop.spoke.show(str(trained.ref))
    assert record.config["model"] == "bert4rec" and trained.index is not None and trained.release is not None
    assert shop.spoke.train("lamps", config=cloze).cached
    session = ["lamps-0003", "lamps-0006", "lamps-0009"]
    answer = shop.recommend("lamps", session=session, k=5)
    assert answer.index == trained.index and len(answer.items) == 5
    # A mask token after the session looks at it from the right: its order and its items matter.
    other = shop.recommend("lamps", session=session[::-1], k=5)
    assert [item["score"] for item in other.items] != [item["score"] for item in answer.items]
    assert record.space_fingerprint != shop.spoke.show("lamps:1").space_fingerprint


def test_a_temporal_split_sees_nothing_of_its_test_window(train: Train, events: pl.DataFrame) -> None:
    cut = START + timedelta(weeks=4)
    before = events.filter(pl.col("timestamp") < cut)
    trained = train(events, split="temporal", test_from=cut)
    assert trained.summary["training_end"] < cut.timestamp() * 1_000_000
    assert trained.summary["training_events"] == before.height - 60
    assert trained.summary["split"] == {"name": "temporal", "test_from": cut.isoformat(), "refit": False}
    changed = swapped(events, pl.col("timestamp") >= cut)
    assert train(changed, split="temporal", test_from=cut).space_fingerprint == trained.space_fingerprint
    refitted = train(events, split="temporal", test_from=cut, refit=True)
    assert refitted.summary["training_events"] == before.height


def test_the_same_inputs_and_config_give_the_same_version(shop: Workspace, tiny_spoke: Any) -> None:
    again = shop.spoke.train("lamps", config=tiny_spoke)
    assert (again.ref, again.cached, again.index) == ("lamps:1", True, "index:lamps/1")
    assert again.summary["training_events"] == shop.spoke.show("lamps").summary["training_events"]
    planned = shop.spoke.train("lamps", config=tiny_spoke, dry_run=True)
    assert (planned.ref, planned.cached) == ("lamps:1", True)
    other = shop.spoke.train("lamps", config={**tiny_spoke, "seed": 1}, dry_run=True)
    assert (other.ref, other.status, len(shop.spoke.list())) == (None, "planned", 1)
    # Another seed makes another space; something is live already, which is left alone.
    other = shop.spoke.train("lamps", config={**tiny_spoke, "seed": 1}, index=False)
    assert (other.ref, other.release) == ("lamps:2", None)
    assert shop.registry.domains.get("lamps").live == "release:lamps/1"
    # Forced, the same weights come out, so nothing but the version tells the two apart, down to the index.
    forced = shop.spoke.train("lamps", config=tiny_spoke, force=True, promote=True)
    assert (forced.ref, forced.cached) == ("lamps:3", False)
    assert (forced.index, forced.release) == ("index:lamps/2", "release:lamps/2")
    first, second, third = (model.space_fingerprint for model in shop.spoke.list("lamps"))
    assert first == third != second
    assert shop.recommend("lamps", ["lamps-0001"]).served_by == "lamps:3"
    # Lineage names the hub and both snapshots.
    edges = shop.registry.lineage.upstream("lamps:1").edges
    found = {(edge.parent, str(edge.relation)) for edge in edges if edge.child == "lamps:1"}
    hub, data = {("hub:1", "adapted_from"), ("hub:1", "inherits")}, ("items", "events")
    assert found == hub | {(f"snapshot:lamps/{kind}/1", "trained_on") for kind in data}
    inherited = [(edge.part, bool(edge.reason)) for edge in edges if edge.relation == "inherits"]
    assert inherited == [("fusion", True), ("text encoder", True)]
    sources = {part.name: part.source for part in shop.spoke.show("lamps:1").parts}
    expected = {"text encoder": "hub:1", "fusion": "hub:1", "adapter": None, "mixture": None}
    assert sources.items() >= expected.items()


def test_a_small_spoke_trains_on_one_thread_unless_more_are_asked_for(
    shop: Workspace, tiny_spoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    try:
        own = shop.spoke.train("lamps", config=tiny_spoke, index=False, force=True)
        shop.settings = replace(shop.settings, threads=2)
        asked = shop.spoke.train("lamps", config=tiny_spoke, index=False, force=True)
        assert (own.summary["threads"], asked.summary["threads"], torch.get_num_threads()) == (1, 2, 2)
    finally:
        torch.set_num_threads(before)


def test_what_cannot_be_trained_is_told_with_the_remedy(shop: Any, market: Any, events: Any, refused: Any) -> None:
    refused(NotFoundError, "", shop.spoke.train, "nowhere")
    shop.domain.add("bare", market["lamps"].items)
    refused(InvalidDataError, r"no events to train on; .* `hubspoke launch`", shop.spoke.train, "bare")
    few = events.filter(pl.col("after") < 2).select("user_id", "item_id", "timestamp")
    shop.domain.add("few", market["lamps"].items, few, sessions=SessionSettings(mode="per_user"))
    refused(InvalidDataError, r"Of \d+ users .* wait for more events", shop.spoke.train, "few")
    assert shop.registry.models.list("spoke", "few") == []  # no version number was taken
    wider, other = {"transformer": {"dimension": 32}}, {"model": "bert4rec"}
    for options, error, sentence in (
        ({"config": {"layers": 3}}, UsageError, "spoke config is not usable .*layers"),
        ({"config": {"training": {"max_epochs": -1}}}, UsageError, "training.max_epochs"),
        ({"split": "temporal"}, UsageError, "--test-from"),
        ({"hub": "lamps:1"}, UsageError, "not a hub"),
        ({"items": "snapshot:lamps/events/1"}, UsageError, "holds events"),
        ({"on": "new"}, UsageError, "--from"),
        ({"on": "old", "parent": "lamps:1"}, UsageError, "no 'old' events"),
        ({"parent": "hub:1"}, UsageError, "not a spoke"),
        ({"parent": "lamps:1", "config": wider}, IncompatibleError, "dimension 16 there"),
        ({"parent": "lamps:1", "config": other}, IncompatibleError, "model sasrec there and bert4rec"),
    ):
        refused(error, sentence, shop.spoke.train, "lamps", **options)
        assert len(shop.registry.models.list("spoke")) == 1


def test_a_training_that_fails_says_why_and_leaves_nothing(shop: Any, tiny_spoke: Any, monkeypatch: Any) -> None:
    def full(_: Spoke, folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Spoke, "save", full)
        with pytest.raises(HubspokeError, match="No space is left on the disk"):
            shop.spoke.train("lamps", config={**tiny_spoke, "seed": 1})
    failed = shop.spoke.list("lamps")[-1]
    assert (failed.ref, failed.status, failed.artifact) == ("lamps:2", "failed", None)
    assert "No space is left on the disk" in str(failed.error)
    assert list((shop.artifacts.root / "staging").iterdir()) == []
    assert shop.spoke.train("lamps", config={**tiny_spoke, "seed": 1}).ref == "lamps:3"


PLACES = [
    ("hubspoke.spokes.training.batches:BucketedBatches.epoch", 2),  # one epoch is done, nothing is written
    ("hubspoke.hub.training.checkpoints:save_file", 2),  # there is a checkpoint to go on from, and half of the next
    ("hubspoke.registry.stores.models:ModelStore.finish", 1),  # the artifact stands, its row does not say so
]


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_killed_training_is_repeated(shop: Any, tmp_path: Path, tiny_spoke: Any, stopped: Any, place: Any) -> None:
    config = {**tiny_spoke, "seed": 1, "training": {**tiny_spoke["training"], "max_epochs": 5}}
    shutil.copytree(shop.settings.workspace, tmp_path / "whole")
    with open_workspace(environ={}, workspace=tmp_path / "whole") as whole:
        expected = whole.spoke.train("lamps", config=config)
        whole_record, whole_files = whole.spoke.show("lamps:2"), list(whole.artifacts.digests())
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = ["spoke", "train", "lamps", "--config", str(tmp_path / "config.json")]
    process = stopped(*place, *command, "--workspace", str(shop.settings.workspace))
    with pytest.raises(LockedError, match=f"Process {process.pid} holds"):
        shop.spoke.train("lamps", config=config)
    assert shop.spoke.train("lamps", config=tiny_spoke).cached  # what needs no training needs no lock
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert [model.status for model in shop.spoke.list("lamps")] == ["ready", "training"]
    assert any("lamps:2 since" in check.message for check in shop.doctor().checks)
    # What serves was never touched.
    assert shop.recommend("lamps", ["lamps-0001"], k=3).served_by == "lamps:1"
    again = shop.spoke.train("lamps", config=config)
    assert (again.ref, again.cached, again.index) == ("lamps:2", False, expected.index)
    record = shop.spoke.show("lamps:2")
    assert (record.space_fingerprint, record.artifact) == (whole_record.space_fingerprint, whole_record.artifact)
    assert len(shop.spoke.list("lamps")) == 2 and list(shop.artifacts.digests()) == whole_files
    health = shop.doctor(verify=True, sweep=True)
    assert health.ok
    assert [check.status for check in health.checks if check.name in ("trainings", "leftovers")] == ["ok", "ok"]
    # Checkpoints go with the training that they were kept for.
    for left in (shop.artifacts.root / "staging", shop.cache_dir / "training"):
        assert list(left.iterdir()) == []

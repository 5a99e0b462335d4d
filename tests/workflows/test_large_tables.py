"""Event tables beyond memory: a spoke that is trained on a stream is the one that is trained on the whole."""

import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.catalog.streams import MANIFEST_FILE, SequenceStream
from hubspoke.errors import CorruptArtifactError, InvalidDataError
from hubspoke.evaluation.protocols import leave_one_out
from hubspoke.results import fingerprint
from hubspoke.spokes.config import SpokeConfig, StatisticsConfig, TrainingConfig
from hubspoke.spokes.features.items import fit_features
from hubspoke.spokes.training.splits import SplitSettings, held_out_fingerprint, split
from hubspoke.workflows.datasets import UNUSED_SECONDS, Dataset, event_ranges, load_dataset
from hubspoke.workflows.workspace import Workspace

START = datetime(2024, 4, 1, tzinfo=UTC)
CUT = START + timedelta(days=9)
STREAMED, ONE_SHARD = ({"stream_above": 0, "shard_events": size} for size in (40, 10_000))
SPLITS = [SplitSettings(), SplitSettings("temporal", CUT), SplitSettings("all")]


def events(repeats: bool = False) -> pl.DataFrame:
    """50 users with up to three sessions of lamps, seen, put into carts and bought; some have too few."""
    rng = np.random.default_rng(5)
    rows = []
    for user in range(50):
        moment = START + timedelta(minutes=user)
        for _ in range(int(rng.integers(1, 4))):
            moment += timedelta(days=int(rng.integers(1, 5)))
            for place in range(int(rng.integers(1, 7))):
                item = int(rng.integers(3 if repeats else 40))
                kind = str(rng.choice(["view", "view", "cart", "purchase", "impression"]))
                at = moment + timedelta(minutes=2 * place)
                rows.append((f"user-{user:02d}", f"lamps-{item:04d}", at, kind))
    return pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "event_type"], orient="row")


@pytest.fixture
def lamps(shop: Workspace, market: Any) -> Workspace:
    shop.domain.add("many", market["lamps"].items, events(), sessions=SessionSettings(mode="gap", min_length=2))
    return shop


def both(ws: Workspace, domain: str = "many") -> tuple[Dataset, Dataset]:
    """A domain in memory and as a stream."""
    return load_dataset(ws, domain), load_dataset(ws, domain, streaming=TrainingConfig(**STREAMED))


def test_only_a_table_above_the_threshold_is_a_stream_and_that_of_the_whole(lamps: Workspace) -> None:
    rows = lamps.registry.snapshots.list("many", "events")[-1].rows
    for config in (TrainingConfig(), TrainingConfig(stream_above=rows)):
        assert load_dataset(lamps, "many", streaming=config).stream is None
    streamed = load_dataset(lamps, "many", streaming=TrainingConfig(stream_above=rows - 1))
    assert streamed.stream is not None and streamed.stream.n_shards == 1
    assert not len(streamed.sequences) and streamed.source is streamed.stream
    # The waterfall and the held-out events are those of the whole.
    held, streamed = both(lamps)
    assert streamed.stream is not None and streamed.stream.n_shards > 3
    assert (streamed.waterfall, streamed.session_mode) == (held.waterfall, held.session_mode)
    assert streamed.source.n_events == held.source.n_events
    users, ids = leave_one_out(held.sequences, "test"), held.items["item_id"].to_list()
    asked = zip(users.users, users.histories, users.targets, strict=True)
    listed = fingerprint([[user, len(history), *(ids[row] for row in target)] for user, history, target in asked])
    assert held_out_fingerprint(held.source, ids) == held_out_fingerprint(streamed.source, ids) == listed


@pytest.mark.parametrize("settings", SPLITS, ids=lambda own: own.name)
@pytest.mark.parametrize("users", [7, 2000])
def test_splits_are_those_of_the_whole(lamps: Workspace, settings: SplitSettings, users: int) -> None:
    config = SpokeConfig(training=TrainingConfig(mixture_users=users), seed=3)
    held, streamed = (split(dataset.source, settings, config) for dataset in both(lamps))
    for stream, whole in ((streamed.train, held.train), (streamed.refit, held.refit)):
        assert isinstance(stream, SequenceStream)
        for name in ("items", "lengths"):
            rows = np.concatenate([getattr(shard, name) for shard in stream.shards()])
            np.testing.assert_array_equal(rows, getattr(whole, name))
        assert (stream.n_events, stream.n_users, stream.newest) == (whole.n_events, whole.n_users, whole.newest)
    assert (streamed.as_tested, streamed.validation.filter_seen) == (held.as_tested, held.validation.filter_seen)
    mine, theirs = streamed.validation.users, held.validation.users
    assert mine.users == theirs.users and len(mine) == min(users, len(theirs))
    assert (mine.n_left_out, mine.protocol) == (theirs.n_left_out, theirs.protocol)
    arrays = [
        [*one.histories, *one.targets, one.train_counts, *(history.timestamps for history in one.histories)]
        for one in (mine, theirs)
    ]
    for own, expected in zip(*arrays, strict=True):
        np.testing.assert_array_equal(own, expected)


@pytest.mark.parametrize("settings", SPLITS, ids=lambda own: own.name)
def test_statistics_are_counted_as_in_the_whole(lamps: Workspace, settings: SplitSettings) -> None:
    config = SpokeConfig(statistics=StatisticsConfig())
    held, streamed = (
        fit_features(config, own.items, seen, event_ranges(lamps, own), until=settings.until).statistics
        for own, seen in ((own, split(own.source, settings, config).train) for own in both(lamps))
    )
    assert streamed.columns == held.columns and {"recency", "purchase per view"} <= set(held.columns)
    assert streamed.fingerprint == held.fingerprint


def test_policy_and_too_few_events_are_told_as_for_the_whole(lamps: Workspace, market: Any) -> None:
    lamps.domain.add("again", market["lamps"].items, events(repeats=True))
    for dataset in both(lamps, domain="again"):
        assert not split(dataset.source, SplitSettings(), SpokeConfig()).validation.filter_seen
    few = events().group_by("user_id", maintain_order=True).head(2).with_columns(event_type=pl.lit("view"))
    lamps.domain.add("few", market["lamps"].items, few, sessions=SessionSettings(mode="per_user", min_length=1))
    told = []
    for dataset in both(lamps, domain="few"):
        with pytest.raises(InvalidDataError, match=r"Of \d+ users .* wait for more events") as caught:
            split(dataset.source, SplitSettings(), SpokeConfig())
        told.append(str(caught.value))
    assert told[0] == told[1]


@pytest.fixture
def train(lamps: Workspace, tiny_spoke: Any) -> Callable[..., Any]:
    def call(training: dict[str, Any], **options: Any) -> Any:
        own = {**tiny_spoke, "statistics": {}, "training": {**tiny_spoke["training"], **training}}
        trained = lamps.spoke.train("many", config=own | options.pop("config", {}), index=False, **options)
        return lamps.spoke.show(str(trained.ref))

    return call


@pytest.mark.parametrize("options", [{"refit": True}, {"split": "temporal", "test_from": CUT}])
def test_one_shard_makes_the_spoke_of_the_whole(train: Callable[..., Any], options: dict[str, Any]) -> None:
    held, streamed = train({}, **options), train(ONE_SHARD, **options)
    assert streamed.ref != held.ref and streamed.space_fingerprint == held.space_fingerprint
    measured = ("seconds", "windows_per_second", "history")
    kept = [{k: v for k, v in record.summary.items() if k not in measured} for record in (held, streamed)]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("model", ["sasrec", "bert4rec"])
def test_a_spoke_is_trained_on_shards_stored_and_found_again(lamps: Workspace, train: Any, model: str) -> None:
    held, streamed = train({}, config={"model": model}), train(STREAMED, config={"model": model})
    assert streamed.space_fingerprint != held.space_fingerprint
    for key in ("training_events", "training_users", "training_end", "waterfall", "held_out", "items_with_id"):
        assert streamed.summary[key] == held.summary[key]
    assert train(STREAMED, config={"model": model}).ref == streamed.ref
    # Made once more it is the same to the bit, whether or not its session files are still there.
    for path in (lamps.cache_dir / "sessions").glob("*/*"):
        path.unlink()
    again = train(STREAMED, config={"model": model}, force=True)
    assert again.ref != streamed.ref and again.space_fingerprint == streamed.space_fingerprint
    index = lamps.index.build(streamed.ref)
    assert lamps.promote(streamed.ref).after is not None and index.ref
    assert len(lamps.recommend("many", ["lamps-0001"], k=5).items) == 5


@pytest.mark.slow
@pytest.mark.parametrize("nth", [1, 3])
def test_a_killed_cut_is_repeated(lamps: Workspace, train: Any, tmp_path: Path, killed: Any, nth: int) -> None:
    whole = train(STREAMED)
    (folder,) = (lamps.cache_dir / "sessions").iterdir()
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    (tmp_path / "spoke.json").write_text(json.dumps(whole.config))
    command = ("spoke", "train", "many", "--config", tmp_path / "spoke.json", "--workspace")
    killed("hubspoke.catalog.streams:coded_events", nth, *command, lamps.settings.workspace)
    (left,) = (lamps.cache_dir / "sessions").iterdir()
    assert left.name.endswith(".tmp") and len(list(left.iterdir())) == nth - 1
    again = train(STREAMED, force=True)
    assert again.space_fingerprint == whole.space_fingerprint
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == written


def test_sessions_are_cut_once_and_what_nobody_opens_makes_room(lamps: Workspace, train: Callable[..., Any]) -> None:
    sessions = lamps.cache_dir / "sessions"

    def age() -> None:
        long_ago = time.time() - UNUSED_SECONDS - 60
        os.utime(first / MANIFEST_FILE, (long_ago, long_ago))

    train(ONE_SHARD)
    (first,) = sessions.iterdir()
    written = {path: path.stat().st_mtime_ns for path in sessions.glob("*/part-*")}
    age()
    train(ONE_SHARD, split="all")  # opened again, so they are young
    assert {path: path.stat().st_mtime_ns for path in sessions.glob("*/part-*")} == written
    train(STREAMED)
    (second,) = set(sessions.iterdir()) - {first}
    age()
    train({**STREAMED, "shard_events": 60})
    (third,) = set(sessions.iterdir()) - {second}
    assert third != first
    # Other settings of the sessions are other files.
    record = lamps.registry.domains.get("many")
    lamps.registry.domains.set_settings("many", {**record.settings, "sessions": {"mode": "per_user"}})
    train(STREAMED)
    (folder,) = set(sessions.iterdir()) - {second, third}
    # A damaged file is told with the remedy.
    part = sorted(folder.glob("part-*"))[2]
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(CorruptArtifactError, match=r"remove the folder .* and repeat the command"):
        train(STREAMED, force=True)
    shutil.rmtree(folder)
    train(STREAMED, force=True)

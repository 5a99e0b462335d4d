"""Event tables beyond memory: a spoke that is trained on a stream is the one that is trained on the whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
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
STREAMED = {"stream_above": 0, "shard_events": 40}
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
    """A shop with the domain `many`."""
    shop.domain.add("many", market["lamps"].items, events(), sessions=SessionSettings(mode="gap", min_length=2))
    return shop


Pair = tuple[Dataset, Dataset]


def both(ws: Workspace, shard_events: int = 40, domain: str = "many") -> Pair:
    """A domain in memory and as a stream."""
    return load_dataset(ws, domain), load_dataset(
        ws, domain, streaming=TrainingConfig(stream_above=0, shard_events=shard_events)
    )


def test_only_a_table_above_the_threshold_is_a_stream(lamps: Workspace) -> None:
    rows = lamps.registry.snapshots.list("many", "events")[-1].rows
    assert load_dataset(lamps, "many", streaming=TrainingConfig()).stream is None
    assert load_dataset(lamps, "many", streaming=TrainingConfig(stream_above=rows)).stream is None
    streamed = load_dataset(lamps, "many", streaming=TrainingConfig(stream_above=rows - 1))
    assert streamed.stream is not None and streamed.stream.n_shards == 1
    assert not len(streamed.sequences) and streamed.source is streamed.stream


def test_the_waterfall_and_the_held_out_events_are_those_of_the_whole(lamps: Workspace) -> None:
    held, streamed = both(lamps)
    assert streamed.stream is not None and streamed.stream.n_shards > 3
    assert (streamed.waterfall, streamed.session_mode) == (held.waterfall, held.session_mode)
    assert streamed.source.n_events == held.source.n_events
    users, ids = leave_one_out(held.sequences, "test"), held.items["item_id"].to_list()
    asked = zip(users.users, users.histories, users.targets, strict=True)
    listed = fingerprint([[user, len(history), *(ids[row] for row in target)] for user, history, target in asked])
    assert held_out_fingerprint(held.source, ids) == held_out_fingerprint(streamed.source, ids) == listed


def same_rows(stream: Any, held: Any) -> None:
    assert isinstance(stream, SequenceStream)
    items = [shard.items for shard in stream.shards()]
    np.testing.assert_array_equal(np.concatenate(items), held.items)
    np.testing.assert_array_equal(np.concatenate([shard.lengths for shard in stream.shards()]), held.lengths)
    assert (stream.n_events, stream.n_users, stream.newest) == (held.n_events, held.n_users, held.newest)


@pytest.mark.parametrize("settings", SPLITS, ids=lambda own: own.name)
@pytest.mark.parametrize("users", [7, 2000])
def test_splits_are_those_of_the_whole(lamps: Workspace, settings: SplitSettings, users: int) -> None:
    config = SpokeConfig(training=TrainingConfig(mixture_users=users), seed=3)
    held, streamed = (split(dataset.source, settings, config) for dataset in both(lamps))
    same_rows(streamed.train, held.train)
    same_rows(streamed.refit, held.refit)
    assert (streamed.as_tested, streamed.validation.filter_seen) == (held.as_tested, held.validation.filter_seen)
    mine, theirs = streamed.validation.users, held.validation.users
    assert mine.users == theirs.users and len(mine) == min(users, len(theirs))
    for own, expected in zip([*mine.histories, *mine.targets], [*theirs.histories, *theirs.targets], strict=True):
        np.testing.assert_array_equal(own, expected)
    np.testing.assert_array_equal(mine.train_counts, theirs.train_counts)
    assert (mine.n_left_out, mine.protocol) == (theirs.n_left_out, theirs.protocol)
    times = [[history.timestamps for history in one.histories] for one in (mine, theirs)]
    for own, expected in zip(*times, strict=True):
        np.testing.assert_array_equal(own, expected)


def test_where_people_buy_again_the_policy_is_that_of_the_whole(lamps: Workspace, market: Any) -> None:
    lamps.domain.add("again", market["lamps"].items, events(repeats=True))
    for dataset in both(lamps, domain="again"):
        assert not split(dataset.source, SplitSettings(), SpokeConfig()).validation.filter_seen


@pytest.mark.parametrize("settings", SPLITS, ids=lambda own: own.name)
def test_statistics_are_counted_as_in_the_whole(lamps: Workspace, settings: SplitSettings) -> None:
    config = SpokeConfig(statistics=StatisticsConfig())
    found = []
    for dataset in both(lamps):
        seen = split(dataset.source, settings, config).train
        ranges = event_ranges(lamps, dataset)
        found.append(fit_features(config, dataset.items, seen, ranges, until=settings.until).statistics)
    held, streamed = found
    assert held is not None and streamed is not None
    assert streamed.columns == held.columns and "recency" in held.columns and "purchase per view" in held.columns
    assert streamed.fingerprint == held.fingerprint


def test_too_few_events_are_told_as_for_the_whole(lamps: Workspace, market: Any) -> None:
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


ONE_SHARD = {"stream_above": 0, "shard_events": 10_000}


@pytest.mark.parametrize("options", [{"refit": True}, {"split": "temporal", "test_from": CUT}])
def test_one_shard_makes_the_spoke_of_the_whole(train: Callable[..., Any], options: dict[str, Any]) -> None:
    held, streamed = train({}, **options), train(ONE_SHARD, **options)
    assert streamed.ref != held.ref and streamed.space_fingerprint == held.space_fingerprint
    measured = ("seconds", "windows_per_second", "history")
    kept = [{k: v for k, v in record.summary.items() if k not in measured} for record in (held, streamed)]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("model", ["sasrec", "bert4rec"])
def test_a_spoke_is_trained_on_shards_stored_and_found_again(
    lamps: Workspace, train: Callable[..., Any], model: str
) -> None:
    held, streamed = train({}, config={"model": model}), train(STREAMED, config={"model": model})
    assert streamed.space_fingerprint != held.space_fingerprint
    for key in ("training_events", "training_users", "training_end", "waterfall", "held_out", "items_with_id"):
        assert streamed.summary[key] == held.summary[key]
    assert train(STREAMED, config={"model": model}).ref == streamed.ref
    # Made once more it is the same to the bit, whether or not its session files are still there.
    for folder in (lamps.cache_dir / "sessions").iterdir():
        for path in folder.iterdir():
            path.unlink()
    again = train(STREAMED, config={"model": model}, force=True)
    assert again.ref != streamed.ref and again.space_fingerprint == streamed.space_fingerprint
    index = lamps.index.build(streamed.ref)
    assert lamps.promote(streamed.ref).after is not None and index.ref
    assert len(lamps.recommend("many", ["lamps-0001"], k=5).items) == 5


@pytest.mark.parametrize("nth", [1, 3])
def test_a_killed_cut_is_repeated_to_the_same_spoke(
    lamps: Workspace, train: Callable[..., Any], tiny_spoke: Any, tmp_path: Path, stopped: Any, nth: int
) -> None:
    whole = train(STREAMED)
    (folder,) = (lamps.cache_dir / "sessions").iterdir()
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    config = tmp_path / "spoke.json"
    own = {**tiny_spoke, "statistics": {}, "training": {**tiny_spoke["training"], **STREAMED}}
    config.write_text(json.dumps(own), encoding="utf-8")
    command = ("spoke", "train", "many", "--config", str(config), "--workspace", str(lamps.settings.workspace))
    process = stopped("hubspoke.catalog.streams:coded_events", nth, *command)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    (left,) = (lamps.cache_dir / "sessions").iterdir()
    assert left.name.endswith(".tmp") and len(list(left.iterdir())) == nth - 1
    again = train(STREAMED, force=True)
    assert again.space_fingerprint == whole.space_fingerprint
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == written


def test_sessions_are_cut_once_for_each_snapshot_and_setting(lamps: Workspace, train: Callable[..., Any]) -> None:
    def folders() -> set[Path]:
        return set((lamps.cache_dir / "sessions").iterdir())

    train(ONE_SHARD)
    first = folders()
    written = {path: path.stat().st_mtime_ns for folder in first for path in folder.glob("part-*")}
    train(ONE_SHARD, split="all")
    assert folders() == first
    assert {path: path.stat().st_mtime_ns for folder in first for path in folder.glob("part-*")} == written
    record = lamps.registry.domains.get("many")
    lamps.registry.domains.set_settings("many", {**record.settings, "sessions": {"mode": "per_user"}})
    train(ONE_SHARD)
    assert len(folders()) == len(first) + 1


def test_session_files_that_nobody_opens_make_room(lamps: Workspace, train: Callable[..., Any]) -> None:
    def age(folder: Path) -> None:
        long_ago = time.time() - UNUSED_SECONDS - 60
        os.utime(folder / MANIFEST_FILE, (long_ago, long_ago))

    train(ONE_SHARD)
    (first,) = (lamps.cache_dir / "sessions").iterdir()
    age(first)
    train(ONE_SHARD, split="all")  # opened again, so they are young
    train(STREAMED)
    second = next(folder for folder in (lamps.cache_dir / "sessions").iterdir() if folder != first)
    age(first)
    train({**STREAMED, "shard_events": 60})
    left = set((lamps.cache_dir / "sessions").iterdir())
    assert len(left) == 2 and first not in left and second in left


def test_a_damaged_session_file_is_told_with_the_remedy(lamps: Workspace, train: Callable[..., Any]) -> None:
    train(STREAMED)
    (folder,) = (lamps.cache_dir / "sessions").iterdir()
    part = sorted(folder.glob("part-*"))[2]
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(CorruptArtifactError, match=r"remove the folder .* and repeat the command"):
        train(STREAMED, force=True)
    shutil.rmtree(folder)
    train(STREAMED, force=True)

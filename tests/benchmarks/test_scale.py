"""The scale benchmark: what it simulates, that each step of it works, and what it reports."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hubspoke.catalog.streams import SessionFiles

from benchmarks.spokes import scale

TINY = ("--items", "300", "--set", "transformer.dimension=8", "--device", "cpu", "--threads", "1")


def test_simulated_shoppers_come_in_order_with_pauses_between_visits() -> None:
    made = scale.simulated_users(5_000, 0, 3)
    assert made.equals(scale.simulated_users(5_000, 0, 3)) and not made.equals(scale.simulated_users(5_000, 0, 4))
    assert made["user_id"].is_sorted() and made["user_id"].n_unique() == scale.CHUNK_USERS
    gap = (pl.col("timestamp") - pl.col("timestamp").shift(1)).over("user_id").dt.total_minutes()
    gaps = made.select(gap)["timestamp"].drop_nulls()
    assert gaps.min() >= 1 and not gaps.is_between(6, 24 * 60 - 1).any()
    visits = (gaps > 30).sum() + scale.CHUNK_USERS
    assert made.height / visits == pytest.approx(7.5, abs=0.1)
    assert visits / scale.CHUNK_USERS == pytest.approx(2.5, abs=0.1)


def test_simulated_items_are_popular_by_zipfs_law_and_follow_a_taste() -> None:
    made = scale.simulated_users(5_000, 1, 0)
    items = made["item_id"].cast(pl.Int64).to_numpy()
    assert items.min() >= 0 and items.max() < 5_000
    counts = np.sort(np.bincount(items, minlength=5_000))[::-1]
    assert counts[:50].sum() > 0.2 * len(items) and (counts > 0).sum() > 4_000
    topics = items % scale.TOPICS
    same_user = (made["user_id"] == made["user_id"].shift(1)).fill_null(False).to_numpy()
    stays = (topics[1:] == topics[:-1])[same_user[1:]].mean()
    strangers = (topics[1:] == np.random.default_rng(0).permutation(topics)[:-1]).mean()
    assert stays > 0.6 > 6 * strangers
    for n_items in (1, 7, 250):  # small catalogs have all their items
        items = scale.simulated_users(n_items, 0, 0)["item_id"].cast(pl.Int64)
        assert items.min() == 0 and items.max() < n_items


def test_a_smaller_table_is_the_beginning_of_a_larger_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "CHUNK_USERS", 40)
    for n in (500, 2_000):
        (tmp_path / str(n)).mkdir()
        scale.simulate(tmp_path / str(n), n, 300, seed=2)
    small, large = (pl.read_parquet(tmp_path / n / scale.EVENTS) for n in ("500", "2000"))
    assert (small.height, large.height) == (500, 2_000) and large.head(500).equals(small)
    assert large["user_id"].is_sorted() and large["user_id"].n_unique() > 80
    told = scale.cut(tmp_path / "2000", 300)
    files = SessionFiles.open(tmp_path / "2000" / scale.FILES)
    assert files is not None and told["session_events"] == files.manifest.events > 1_200


def test_it_reports_each_size_and_leaves_nothing_behind(tmp_path: Path, monkeypatch, capsys) -> None:
    threads, work = torch.get_num_threads(), tmp_path / "work"
    work.mkdir()
    # Steps in this process: that they also run in a fresh one is the next test's.
    monkeypatch.setattr(scale, "in_fresh_process", scale.run_step)
    out = tmp_path / "report.json"
    sizes = ("--events", "400,4e3", "--set", "training.shard_events=900", "--folder", str(work))
    scale.main([*TINY, *sizes, "--out", str(out)])
    torch.set_num_threads(threads)
    report, told = json.loads(out.read_text(encoding="utf-8")), capsys.readouterr()
    assert [row["events"] for row in report["sizes"]] == [400, 4_000] and not list(work.iterdir())
    small, large = (row["train"] for row in report["sizes"])
    assert (small["shards"], large["shards"]) == (1, 1)  # a table of one range is one file, which is never cut
    assert large["training_events"] > 8 * small["training_events"] > 0
    assert large["transitions"] > large["windows"] > 0 and large["seconds_per_epoch"] > 0
    assert large["events_per_second"] > 0 < large["peak_mib"] >= large["before_mib"]
    assert report["config"]["transformer"]["dimension"] == 8 and report["settings"]["items"] == 300
    assert "| 4,000 |" in told.out and "every item has an ID residual" in told.out and str(tmp_path) not in told.out
    assert "4000 events, train:" in told.err


def test_a_step_runs_in_a_fresh_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = scale.parse([*TINY, "--events", "100", "--out", "unused"])
    told = scale.in_fresh_process("simulate", arguments, tmp_path, 100)
    assert pl.read_parquet(tmp_path / scale.EVENTS).height == 100
    assert told["bytes"] == (tmp_path / scale.EVENTS).stat().st_size and told["peak_mib"] > 10
    with pytest.raises(SystemExit, match="The step train with 100 events failed"):
        scale.in_fresh_process("train", arguments, tmp_path, 100)
    with pytest.raises(SystemExit):
        scale.parse([])
    assert "--out" in capsys.readouterr().err  # where the report goes must be said

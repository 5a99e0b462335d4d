"""The benchmark of stability: how cycles are cut, and that each recipe goes on from its own last version."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import stability

ITEMS = pl.DataFrame(
    {"item_id": [f"i{i:02}" for i in range(44)], "title": [f"group{i % 4} thing {i}" for i in range(44)]}
)
EVENTS = pl.DataFrame(
    [
        (f"u{user:02}", f"i{(4 * step + user) % 44:02}", step, "view", step)
        for user in range(30)
        for step in np.random.default_rng(user).permutation(11)[:10].tolist()
    ],
    schema=["user_id", "item_id", "timestamp", "event_type", "position"],
    orient="row",
)


def test_cycles_bring_items_and_go_on_with_each_history() -> None:
    tables = list(stability.cycle_tables(ITEMS, EVENTS, 2, 0.1, seed=0))
    assert [items.height for items, _ in tables] == [36, 40, 44]  # 44 / 1.21, 44 / 1.1
    for (few, before), (more, after) in pairwise(tables):
        assert set(few["item_id"]) < set(more["item_id"]) and before.height < after.height
        assert set(before.iter_rows()) < set(after.iter_rows())
    assert tables[-1][1].height == EVENTS.height and set(tables[0][1]["item_id"]) <= set(tables[0][0]["item_id"])
    # Of ten events the base has the first eight, less those on items that nobody knows yet.
    assert tables[0][1].group_by("user_id").len()["len"].max() <= 8
    other = next(stability.cycle_tables(ITEMS, EVENTS, 2, 0.1, seed=1))[0]
    assert set(other["item_id"]) != set(tables[0][0]["item_id"])


@pytest.fixture
def lamps(tmp_path: Path) -> Path:
    folder = tmp_path / "lamps"
    folder.mkdir()
    ITEMS.write_parquet(folder / "items.parquet")
    EVENTS.write_parquet(folder / "interactions.parquet")
    return folder


def test_a_hub_goes_through_the_same_cycles(tmp_path: Path, lamps: Path) -> None:
    out, config = tmp_path / "report.json", tmp_path / "config.json"
    training = {"steps": 20, "batch_size": 32, "learning_rate": 1e-2}
    config.write_text(json.dumps({"hub": {"text": {"name": "tiny"}, "image": None, "contrastive": training}}))
    given = [str(lamps), "--hub", "--cycles", "2", "--config", str(config), "--out", str(out), "--quiet"]
    stability.main(given)
    report = json.loads(out.read_text(encoding="utf-8"))
    assert [row["cycle"] for row in report["rows"]] == [1] * 3 + [2] * 3
    scratch, free, held = report["recipes"]
    assert 0 < held["drift"] < min(free["drift"], scratch["drift"]) and held["cold"] is None


@pytest.mark.slow
def test_each_recipe_is_trained_and_measured_in_every_cycle(
    tmp_path: Path, lamps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, config = tmp_path / "report.json", tmp_path / "config.json"
    training = {"max_epochs": 2, "validate_every": 1, "learning_rate": 1e-2}
    spoke = {"transformer": {"dimension": 16}, "min_item_count": 2, "training": training}
    config.write_text(json.dumps({"hub": {"text": {"name": "tiny"}, "image": None}, "spoke": spoke}))
    given = [str(lamps), "--cycles", "2", "--config", str(config), "--out", str(out), "--quiet"]
    stability.main([*given, "--workspace", str(tmp_path / "kept")])
    report = json.loads(out.read_text(encoding="utf-8"))
    assert [(row["cycle"], row["recipe"]) for row in report["rows"]] == [
        (cycle, name) for cycle in (1, 2) for name in stability.RECIPES
    ]
    scratch, free, anchored, held = report["recipes"]
    assert held["content"] == anchored["content"] == 0 < free["content"]
    assert 0 < held["drift"] < scratch["drift"] and scratch["difference"]["value"] == 0
    assert held["difference"]["value"] == pytest.approx(held["ndcg@10"] - scratch["ndcg@10"])
    with stability.hubspoke.open(workspace=tmp_path / "kept") as ws:
        for first, second in zip(report["rows"][:4], report["rows"][4:], strict=True):
            about = ws.spoke.show(second["spoke"]).summary.get("warm_start", {})
            assert about.get("parent") == (None if first["recipe"] == "from scratch" else first["spoke"])
            if about:  # what the version itself says of its drift
                told = ws.spoke.show(second["spoke"]).summary["drift"]
                assert second["drift"]["distance"] == pytest.approx(told["distance"], abs=1e-4)
    assert "| and weights consolidated |" in capsys.readouterr().out

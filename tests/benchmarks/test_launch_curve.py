"""The benchmark of the launch curve: who is drawn, and that each number of events is measured."""

import json
from pathlib import Path

import polars as pl
import pytest

from benchmarks import launch_curve

from .test_hub import write_category


def test_whole_shoppers_are_drawn_until_there_are_events_enough() -> None:
    users = [user for user, count in (("a", 3), ("b", 4), ("c", 5)) for _ in range(count)]
    events = pl.DataFrame({"user_id": users, "item_id": list(range(12))})
    for count, rows in ((1, {3, 4, 5}), (6, {7, 8, 9}), (12, {12}), (99, {12})):
        drawn = launch_curve.shoppers(events, count, seed=0)
        assert drawn.height in rows
        assert drawn["item_id"].is_sorted()  # in the order of the file


def test_each_number_of_events_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = {"transformer": {"dimension": 8}, "training": {"max_epochs": 1, "validate_every": 1}}
    monkeypatch.setattr(launch_curve, "HUB", {"text": {"name": "tiny"}, "contrastive": {"steps": 0}})
    monkeypatch.setattr(launch_curve, "SPOKE", tiny)
    monkeypatch.setattr(launch_curve, "BASELINES", ("popularity", "item-cf"))
    out = tmp_path / "report.json"
    given = [write_category(tmp_path / "lamps", "lamps"), "--no-images", "--events", "48,96", "--quiet"]
    launch_curve.main([*given, "--out", str(out)])
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert {(row["events"], row["excluded"]) for row in rows} == {(48, False), (48, True), (96, False), (96, True)}
    assert {row["model"] for row in rows} == {"spoke", "ids", "popularity", "item-cf", "hub"}
    shown = capsys.readouterr().out
    assert "Seen items ranked, all targets:" in shown and "| 48 |" in shown

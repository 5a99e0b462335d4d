"""The benchmark of re-ranking: a category of shoppers who come back, judged on their last eighth."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import ranking


def write_shop(folder: Path) -> str:
    """Forty items of four prices, and shoppers who take three of one price at each of three visits."""
    folder.mkdir()
    items = {"item_id": [f"i{row}" for row in range(40)], "title": [f"thing {row}" for row in range(40)]}
    pl.DataFrame({**items, "price": [float(1 + row // 10) for row in range(40)]}).write_parquet(
        folder / "items.parquet"
    )
    rng, start, rows = np.random.default_rng(0), datetime(2024, 1, 1, tzinfo=UTC), []
    for user in range(160):
        for step, row in enumerate(rng.permutation(10)[:9].tolist()):
            at = start + timedelta(days=8 * (step // 3) + user % 8, minutes=step)
            rows.append((f"u{user}", f"i{10 * (user % 4) + row}", at, "purchase"))
    columns = ["user_id", "item_id", "timestamp", "event_type"]
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(folder / "interactions.parquet")
    return f"shop={folder}"


def test_both_policies_are_measured_beside_the_spoke_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    training = {"max_epochs": 1, "validate_every": 1, "negatives": 16}
    spoke = {"transformer": {"dimension": 8}, "min_item_count": 3, "statistics": None, "training": training}
    monkeypatch.setattr(ranking, "HUB", {"text": {"name": "tiny"}, "image": None, "contrastive": {"steps": 0}})
    monkeypatch.setattr(ranking, "SPOKE", spoke)
    monkeypatch.setattr(ranking, "RERANK", {"origins": 1, "trees": 5, "margins": [1.0]})
    out = tmp_path / "report.json"
    ranking.main([write_shop(tmp_path / "shop"), "--quiet", "--out", str(out)])
    report = json.loads(out.read_text(encoding="utf-8"))
    asked = {(row["model"], row["excluded"]) for row in report["rows"] if row["slice"] == "all"}
    assert asked == {(name, seen) for name in ("spoke", "re-ranked", *ranking.BASELINES) for seen in (False, True)}
    assert report["milliseconds"]["re-ranked"] > 0
    shown = capsys.readouterr().out
    assert "| ranked | all | " in shown and "The command's own verdict: it " in shown


def test_a_source_is_a_folder_or_a_department(tmp_path: Path) -> None:
    assert ranking.category("deli=DELI") == ("deli", "DELI")
    with pytest.raises(ranking.argparse.ArgumentTypeError, match="is not NAME=FOLDER"):
        ranking.category(f"shop={tmp_path}")

"""The benchmark of the assessment: cards of small categories, side by side, with their drift."""

import json
from pathlib import Path

import polars as pl
import pytest

from benchmarks import assessment

from .test_hub import write_category


@pytest.mark.slow
def test_cards_stand_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assessment, "HUB", {**assessment.HUB, "text": {"name": "tiny"}, "image": None})
    small = {"transformer": {"dimension": 8}, "min_item_count": 3, "statistics": None}
    monkeypatch.setattr(assessment, "SPOKE", {**assessment.SPOKE, **small})
    out = tmp_path / "report.json"
    given = [write_category(tmp_path / name, name) for name in ("lamps", "mugs")]
    for table, told in (("items", {"price": 2.0}), ("interactions", {"event_type": "purchase"})):
        file = tmp_path / "lamps" / f"{table}.parquet"
        pl.read_parquet(file, glob=False).with_columns(**{k: pl.lit(v) for k, v in told.items()}).write_parquet(file)
    assessment.main([*given, "--epochs", "1", "--quiet", "--out", str(out)])
    cards = json.loads(out.read_text(encoding="utf-8"))["cards"]
    assert list(cards) == ["lamps", "mugs"]
    rows = {(row["slice"], row["metric"]): row for row in cards["lamps"]["rows"]}
    assert {row["dimension"] for row in rows.values()} == {"intrinsic", "downstream", "operational", "business"}
    assert {("all", "hubness"), ("text", "hubness"), ("all", "drift"), ("all", "latency_p99_ms")} <= set(rows)
    assert cards["lamps"]["notes"] == []
    (note,) = cards["mugs"]["notes"]
    assert note.startswith("business: snapshot:mugs/events/1 tells the revenue of no purchase")
    printed = capsys.readouterr().out
    assert "| intrinsic | better | threshold | lamps | mugs |" in printed
    assert "| hubness | lower | 2 | " in printed and "| drift | lower | 0.1 | " in printed
    assert "| ndcg@10 | " in printed and "| ndcg@100 | " not in printed
    assert "| simulated_revenue_per_impression@10 | higher | - | " in printed

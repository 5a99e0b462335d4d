"""The benchmark of trained encoders: each way is judged on a target that it has not been trained on."""

import json
from pathlib import Path

import pytest

from benchmarks import encoder_training, hub

from .test_hub import write_category


def test_every_way_is_judged_on_the_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_training, "FLOOR", {**hub.FLOOR, "text": {"name": "tiny"}})
    monkeypatch.setattr(
        encoder_training, "WAYS", {"b": {"text_layers": 1}, "v": {"objectives": ["views"], "text_layers": 1}}
    )
    given = [write_category(tmp_path / name, name) for name in ("lamps", "mugs")]
    out = tmp_path / "report.json"
    more = ["--targets", "mugs", "--ways", "b,v", "--steps", "3", "--batch", "8", "--plain", "--no-images", "--quiet"]
    encoder_training.main([*given, *more, "--out", str(out)])
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [(row["way"], row["share"]) for row in rows] == [(way, share) for way in "bv" for share in (0.0, 0.5, 1.0)]
    assert {(row["held_out"], row["users"]) for row in rows} == {("mugs", 16)}
    assert rows[0]["ndcg@10"] == rows[3]["ndcg@10"]  # the same start
    for row in rows:
        start = rows[0]["ndcg@10"]
        assert row["difference"] == pytest.approx(row["ndcg@10"] - start, abs=1e-6)
    assert "| mugs | 16 | v | 0.5 |" in capsys.readouterr().out

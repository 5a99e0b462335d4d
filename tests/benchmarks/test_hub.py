"""The benchmark of the hub: that each target is measured on a hub that was taught by the others alone."""

import json
from pathlib import Path

import hubspoke
import polars as pl
import pytest

from benchmarks import hub


def write_category(folder: Path, name: str) -> str:
    """Items in two groups, shoppers who stay within theirs."""
    folder.mkdir()
    items = {"item_id": [f"{name}{i}" for i in range(24)], "title": [f"group{i % 2} {name} {i}" for i in range(24)]}
    pl.DataFrame(items).write_parquet(folder / "items.parquet")
    rows = [
        (f"u{user}", f"{name}{(2 * step + user) % 24}", f"2024-05-01T10:{step:02}:00Z", "view")
        for user in range(16)
        for step in range(6)
    ]
    columns = ["user_id", "item_id", "timestamp", "event_type"]
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(folder / "interactions.parquet")
    return f"{name}={folder}"


def test_a_target_is_measured_on_what_the_others_taught(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FLOOR", "TAUGHT", "PACKAGED"):
        monkeypatch.setattr(hub, name, {**getattr(hub, name), "text": {"name": "tiny"}})
    given = [write_category(tmp_path / name, name) for name in ("lamps", "mugs", "hoses")]
    out, kept = tmp_path / "report.json", tmp_path / "kept"
    hub.main([*given, "--targets", "mugs", "--no-images", "--quiet", "--keep-workspace", str(kept), "--out", str(out)])
    report = json.loads(out.read_text(encoding="utf-8"))
    (row,) = report["rows"]
    assert (row["target"], row["users"], report["categories"]) == ("mugs", 16, ["lamps", "mugs", "hoses"])
    assert 0 <= row["floor"]["value"] <= 1 and row["floor"]["difference"] is None
    assert row["taught"]["difference"] == pytest.approx(row["taught"]["value"] - row["floor"]["value"], abs=1e-6)
    assert "| mugs | 16 |" in capsys.readouterr().out
    with hubspoke.open(workspace=kept) as ws:
        trained = ws.hub.show("hub:3").summary["domains"]
    assert trained == ["lamps", "hoses"]
    with pytest.raises(SystemExit):
        hub.main(["lamps=nowhere"])

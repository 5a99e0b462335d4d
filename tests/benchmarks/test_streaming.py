"""The benchmark of events tells them, compares every list with the batch's, and leaves its workspace as it was."""

import json
from pathlib import Path

import pytest

from benchmarks import streaming


@pytest.mark.slow
def test_events_are_told_and_lists_compared(tmp_path: Path, lamps, capsys) -> None:
    kept, out = tmp_path / "workspace", tmp_path / "report.json"
    options = ["--shoppers", "4", "--events", "3", "--epochs", "1", "--quiet", "--keep-workspace", str(kept)]
    streaming.main([f"lamps={lamps}", *options, "--out", str(out)])
    report = json.loads(out.read_text())
    assert (report["shoppers"], report["lists in the same order"]) == (4, 1.0)
    assert report["largest difference of a score"] < 1e-5
    assert report["ingest"]["events in the log"] == 24
    assert report["bytes of a session"] > 0 and not any((kept / "events").iterdir())
    for where in ("in process", "over HTTP"):
        for own in report[where].values():
            assert 0 < own["p50"] <= own["p99"] <= own["max"]
    assert "Lists in the order of the batch: 100.00%" in capsys.readouterr().out

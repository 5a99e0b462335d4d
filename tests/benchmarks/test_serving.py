"""The benchmark of the service counts, times and judges what it is told, on a service of a tiny category."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hubspoke.registry.records import ReleaseRecord

from benchmarks import serving, serving_client


def test_latencies_are_those_that_a_share_of_the_requests_does_not_exceed() -> None:
    ordered = [float(n) for n in range(100)]
    assert [serving_client.at(ordered, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 99.0]
    assert serving_client.at([], 0.5) == 0.0
    assert serving_client.summed([{"200": 2}, {"200": 1, "503": 4}]) == {"200": 3, "503": 4}


@pytest.mark.slow
def test_a_service_is_started_asked_moved_and_stopped(tmp_path: Path, lamps, monkeypatch, capsys) -> None:
    monkeypatch.setattr(serving, "PROMOTE_SECONDS", 0.5)
    monkeypatch.setattr(serving, "MEMORY_SECONDS", 0.1)
    options = ["--clients", "2", "--seconds", "0.3", "--soak", "0.05", "--epochs", "1", "--quiet"]
    out = tmp_path / "report.json"
    serving.main([f"lamps={lamps}", *options, "--out", str(out)])
    report = json.loads(out.read_text())
    for name, found in report["cases"].items():
        assert set(found["statuses"]) == {"200"} and found["requests"] > 0, (name, found)
        assert 0 < found["p50"] <= found["p99"] <= found["max"]
    soak = report["soak"]
    assert (soak["failed"], soak["mixed"]) == (0, 0) and soak["moves"] >= 2 and soak["memory_mb"]["most"] > 0
    assert "Start to ready" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("made_of", "whole"),
    [
        ("release:x/1 index:x/1 x:1", True),
        ("release:x/1 index:x/1 newest", True),
        ("release:x/1 index:x/2 x:1", False),
        ("release:x/1 index:x/1 x:2", False),
    ],
)
def test_an_answer_that_names_parts_of_two_releases_is_mixed(made_of: str, whole: bool) -> None:
    made = ReleaseRecord("release:x/1", "x", 1, "hub:1", "x:1", "index:x/1", None, None, datetime.now(UTC))
    assert serving._is_whole({"release:x/1": made}, made_of) is whole

"""The benchmark of off-policy estimates on a few logs and experiments."""

import argparse

import pytest

from benchmarks import off_policy


def test_the_better_policy_is_found_and_peeking_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RUNS": 20, "SHOPPERS": 1000, "EXPERIMENTS": 40, "DAYS": 7}.items():
        monkeypatch.setattr(off_policy, name, value)
    report = off_policy.measure(argparse.Namespace(python=None))
    by_name = {row["estimate"]: row for row in report["rows"]}
    assert by_name["unweighted"]["holds"] < 0.2
    assert min(by_name[name]["holds"] for name in ("ips", "snips", "dr")) > 0.8
    assert by_name["unweighted"]["bias"] < by_name["ips, clip 2"]["bias"] < by_name["ips"]["bias"]  # cut towards it
    assert report["peeking"]["confidence sequence, daily"] <= report["peeking"]["fixed sample, daily"]
    assert "| snips |" in off_policy.markdown(report)

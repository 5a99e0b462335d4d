"""The benchmark of transfer: that policies are trained as they are named, and readings learned on what they say."""

import json
from pathlib import Path

import pytest

from benchmarks import transfer

from .test_hub import write_category

CONFIG = """transformer: {dimension: 8}
training: {max_epochs: 1, validate_every: 1, negatives: 8}
statistics: null
"""


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict:
    """The report on three categories, with its Markdown."""
    monkeypatch.setattr(transfer, "TAUGHT", {**transfer.TAUGHT, "text": {"name": "tiny"}})
    given = [write_category(tmp_path / name, name) for name in ("lamps", "mugs", "hoses")]
    (tmp_path / "config.yaml").write_text(CONFIG)
    options = ["--targets", "mugs", "--siblings", "hoses", "--no-images", "--quiet", "--epochs", "mugs=2"]
    files = ["--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "report.json")]
    transfer.main([*given, *options, *files])
    return {**json.loads((tmp_path / "report.json").read_text()), "markdown": capsys.readouterr().out}


def test_every_policy_stands_beside_the_one_that_was_chosen(report: dict) -> None:
    (row,) = report["table"]
    assert (row["target"], row["users"], row["sibling"]) == ("mugs", 16, "hoses:1")
    policies = [own["policy"] for own in row["policies"]]
    assert {*transfer.TEXT_ONLY, row["auto"]} == set(policies) and len(policies) == len(set(policies))
    chosen = next(own for own in row["policies"] if own["policy"] == row["auto"])
    assert chosen["all"]["difference"] is None
    for own in row["policies"]:
        if own is not chosen:
            change = own["all"]["value"] - chosen["all"]["value"]
            assert own["all"]["difference"] == pytest.approx(change, abs=1e-6)
    assert f"| mugs | **{row['auto']}** |" in report["markdown"] and "chosen by auto" in report["markdown"]
    assert "auto is beaten beyond the interval by: " in report["markdown"]


def test_readings_are_learned_on_one_on_all_and_on_all_others(report: dict) -> None:
    taught = [row["taught_on"] for row in report["union"] if row["target"] == "mugs"]
    assert taught == [transfer.START, "lamps", "mugs", "hoses", transfer.UNION, transfer.OTHERS]
    start = next(row for row in report["union"] if (row["target"], row["taught_on"]) == ("mugs", transfer.START))
    assert (start["difference"], start["low"], start["high"], start["users"]) == (0.0, 0.0, 0.0, 16)
    assert "| mugs | 16 | itself |" in report["markdown"]


def test_what_is_no_cap_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        transfer.main([write_category(tmp_path / "lamps", "lamps"), "--epochs", "lamps"])

"""The benchmark of the space: that a catalog is measured as encoded and as a hub makes it."""

import json
from pathlib import Path

import pytest

from benchmarks import space

from .test_hub import write_category


def test_a_catalog_is_measured_before_and_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "HUB", {**space.HUB, "text": {"name": "tiny"}})
    out = tmp_path / "report.json"
    space.main([write_category(tmp_path / "lamps", "lamps"), "--quiet", "--out", str(out)])
    encoded, content = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert (encoded["space"], content["space"], content["items"], content["leaves"]) == ("as encoded", "content", 24, 0)
    assert content["cosine"] < encoded["cosine"]  # whitening takes away what all items share
    assert "| lamps | content |" in capsys.readouterr().out

"""The benchmark of encoders: that each is measured beside what else runs its model, and what it is worth."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import encoders


def test_speed_and_worth_are_measured_and_the_peer_gives_the_same(
    category: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A peer that can be imported anywhere, and whose vectors are the other way round.
    monkeypatch.setitem(
        encoders.PEERS, "tiny", ("json", lambda: lambda texts: -encoders.ours("tiny")(texts), ("titles",))
    )
    threads = torch.get_num_threads()
    files = category[:4]
    encoders.main([*files, "--encoders", "tiny,tiny:1", "--texts", "9", "--quiet", "--out", str(tmp_path / "r.json")])
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [(row["encoder"], row["system"], row["input"], row["least cosine"]) for row in report["speed"]] == [
        ("tiny", "hubspoke", "titles", 1.0),
        ("tiny", "json", "titles", -1.0),
        ("tiny", "hubspoke", "whole texts", 1.0),
        ("tiny:1", "hubspoke", "titles", 1.0),
        ("tiny:1", "hubspoke", "whole texts", 1.0),
    ]
    assert all(row["texts per CPU second"] > 0 and row["texts per second"] > 0 for row in report["speed"])
    assert (report["texts"], [own["encoder"] for own in report["worth"]]) == (9, ["tiny", "tiny:1"])
    assert all(
        0 <= own[part]["low"] <= own[part]["value"] <= 1 for own in report["worth"] for part in ("validation", "test")
    )
    assert capsys.readouterr().out.count("| tiny:1 |") == 3
    assert torch.get_num_threads() == threads


def test_the_same_model_in_sentence_transformers_gives_the_same_vectors() -> None:
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    texts = ["Red garden hose, 20 m", "", "Laser printer paper " * 40]
    name = encoders.ENCODERS[0]
    with encoders.one_thread():
        np.testing.assert_allclose(encoders.sentence_transformers()(texts), encoders.ours(name)(texts), atol=1e-5)

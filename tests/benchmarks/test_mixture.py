"""Every mixture of a trained spoke, fitted on validation, beside the weights that it serves with."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.spokes import mixture


def test_every_mixture_is_measured(category: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mixture.main([*category, "--out", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    names = [own["mixture"].partition(":")[0].partition(" (")[0] for own in report["rows"]]
    once = ["behaviour alone", "content alone", "fixed, content 2", "fixed, content 3", "fixed, content 5"]
    once += ["best content on validation", "served", "learned, one weight"]
    once += ["learned, a weight per number of events", "learned, a weight and a bias per number of events"]
    assert names == once
    assert {own["n_users"] for own in report["rows"]} == {30}
    assert capsys.readouterr().out.count("learned, ") == 3
    with pytest.raises(SystemExit):
        mixture.parse([*category, "--out", "report.json", "--refit"])


# Validation of two users over three items; the second has seen item 0.
CHECKED = SimpleNamespace(
    users=SimpleNamespace(targets=(np.array([1]), np.array([2])), histories=(np.array([], np.int64), np.array([0])))
)


def test_learned_weights_lean_on_the_part_that_is_right() -> None:
    parts = SimpleNamespace(filtered=True, counts=np.array([0, 7, 200]))
    right, wrong = (np.eye(3, dtype=np.float32)[rows] for rows in ([1, 2], [2, 1]))
    for behaviour, content, larger in ((wrong, right, True), (right, wrong, False)):
        weights, bias = mixture.learn(parts, CHECKED, behaviour, content, shared=True, biased=False)
        assert (weights[0] > np.e) == larger
        np.testing.assert_array_equal(bias, 0)
        np.testing.assert_array_equal(weights, weights[0])
    per_count, bias = mixture.learn(parts, CHECKED, wrong, right, shared=False, biased=True)
    assert per_count[1] > np.e and bias[1] != 0 and torch.is_grad_enabled()

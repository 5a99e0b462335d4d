"""Encoders trained by two processes: all items are each other's negatives, and one process trains the same."""

import json
import runpy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("worker.py")
IN = runpy.run_path(str(WORKER))


@pytest.fixture(scope="module")
def both(tmp_path_factory, two_processes):
    """The folder in which two processes left their weights."""
    out = tmp_path_factory.mktemp("both")
    ended = two_processes([str(WORKER), str(out)])
    assert [code for code, *_ in ended] == [0, 0], ended
    return out


@pytest.mark.parametrize("case", IN["CASES"])
def test_two_processes_train_what_one_trains_on_the_joint_batch(both, case):
    weights, losses = IN["train"](IN["CASES"][case])
    first, second = (load_file(both / f"{case}-{rank}") for rank in (0, 1))
    for name, weight in weights["text"].items():
        torch.testing.assert_close(first[name], weight, rtol=0, atol=1e-5)
        assert torch.equal(first[name], second[name])
    for rank in (0, 1):
        assert json.loads((both / f"{case}-{rank}.json").read_text()) == pytest.approx(losses, abs=1e-5)

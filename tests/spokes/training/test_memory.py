import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hubspoke.errors import UsageError
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.training.memory import device_bytes, refuse_beyond_device, training_bytes

CPU = torch.device("cpu")


def config(**training):
    return SpokeConfig.model_validate({"transformer": {"dimension": 8}, "training": training})


def test_the_bytes_of_a_training_and_of_a_gpu(monkeypatch):
    # The table in five copies, and content, ID row and counter of each item.
    assert training_bytes(config(), 99, 200, 10) == 4 * (100 * 8 * 5 + 200 * 12)
    full = training_bytes(config(loss="softmax", tokens_per_batch=64), 99, 200, 10)
    assert full - training_bytes(config(), 99, 200, 10) == 4 * 2 * 200 * (8 + 64)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=80 * 10**9))
    assert device_bytes(torch.device("cuda:0")) == 80 * 10**9


def test_tables_beyond_the_device_are_refused_with_what_helps_and_those_that_just_fit_are_not(monkeypatch):
    with pytest.raises(UsageError, match=r"needs [\d,]+\.\d GB .*10,000,000,000 items.*cpu has .* GB.*TorchRec"):
        refuse_beyond_device(config(), 10**10, 10**10, 1000, CPU)
    needed = training_bytes(config(), 99, 200, 10)
    monkeypatch.setattr("hubspoke.spokes.training.memory.device_bytes", lambda device: needed)
    refuse_beyond_device(config(), 99, 200, 10, CPU)
    with pytest.raises(UsageError):
        refuse_beyond_device(config(), 100, 200, 10, CPU)
    monkeypatch.setattr("hubspoke.spokes.training.memory.device_bytes", lambda device: 1000)
    worker = runpy.run_path(str(Path(__file__).with_name("worker.py")))
    with pytest.raises(UsageError, match=r"12 items, 12 of them .* 8 columns.* cpu has 0\.0 GB"):
        worker["train"](worker["config"]())  # before it begins

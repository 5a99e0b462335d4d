import os

import pytest
import torch
from hubspoke.errors import UsageError
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.memory import device_bytes, refuse_beyond, training_bytes

CPU = torch.device("cpu")


def config(**training):
    return SpokeConfig.model_validate({"transformer": {"dimension": 8}, "training": training})


def test_the_bytes_of_a_training_by_hand():
    # The table in five copies, and content, ID row and counter of each item.
    assert training_bytes(config(), 99, 200, 10) == 4 * (100 * 8 * 5 + 200 * 12)
    full = training_bytes(config(loss="softmax", tokens_per_batch=64), 99, 200, 10)
    assert full - training_bytes(config(), 99, 200, 10) == 4 * 2 * 200 * (8 + 64)
    chunked = training_bytes(config(loss="softmax", tokens_per_batch=64, softmax_positions=4), 99, 200, 10)
    assert full - chunked == 4 * 2 * 200 * 60


def test_tables_beyond_the_device_are_refused_with_what_helps():
    needed = training_bytes(config(), 10**9, 10**9, 1000)
    with pytest.raises(UsageError, match=r"needs 4,1\d\d.\d GB .*1,000,000,000 items.*cpu has 8.0 GB.*TorchRec"):
        refuse_beyond(needed, 8 * 10**9, CPU, config(), 10**9)
    refuse_beyond(needed, needed, CPU, config(), 10**9)


def test_the_memory_of_this_machine():
    assert device_bytes(CPU) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_the_memory_of_a_gpu(monkeypatch):
    class Card:
        total_memory = 80 * 10**9

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Card)
    assert device_bytes(torch.device("cuda:0")) == 80 * 10**9

import contextlib
import random

import numpy as np
import pytest
import torch
from hubspoke.errors import UsageError
from hubspoke.hub import devices


@pytest.fixture
def restored_torch():
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(deterministic)


def test_auto_prefers_the_first_gpu_and_each_process_of_a_team_takes_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.pick_device("auto") == devices.pick_device("cuda") == torch.device("cuda:0")
    for choice in ("cuda:1", "cpu"):
        assert devices.pick_device(choice) == torch.device(choice)
    with pytest.raises(UsageError, match="sees 2 CUDA GPUs; use auto or cpu"):
        devices.pick_device("cuda:2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert devices.pick_device("auto") == devices.pick_device("cuda") == torch.device("cuda:1")
    assert devices.pick_device("cuda:0") == torch.device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UsageError, match="'cuda:2' was asked for but torch sees 2"):
        devices.pick_device("auto")


def test_a_missing_gpu_and_unknown_devices_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.pick_device("auto") == torch.device("cpu")
    with pytest.raises(UsageError, match="'cuda' was asked for but torch sees 0"):
        devices.pick_device("cuda")
    for choice in ("", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "cuda:²"):
        with pytest.raises(UsageError, match="unknown"):
            devices.pick_device(choice)


@pytest.mark.parametrize("supported", [True, False])
def test_bfloat16_only_on_a_gpu_that_supports_it(monkeypatch, supported):
    with devices.autocast_for(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype: ("autocast", kind, dtype))
    chosen = devices.autocast_for(torch.device("cuda:0"))
    plain = isinstance(chosen, contextlib.nullcontext)
    assert chosen == ("autocast", "cuda", torch.bfloat16) if supported else plain


def test_the_same_seed_draws_the_same_numbers(restored_torch):
    def draw():
        devices.seed_everything(7)
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    assert draw() == draw()
    assert torch.are_deterministic_algorithms_enabled()
    with pytest.raises(UsageError, match="-1 is out of range"):
        devices.seed_everything(-1)

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from hubspoke.hub.distributed import World, join_world
from hubspoke.spokes.training.batches import Batch, share
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("worker.py")
IN = runpy.run_path(str(WORKER))
train, config, score = IN["train"], IN["config"], IN["score"]
CASES = {
    "plain": {},
    "one_window_each": {"tokens_per_batch": 8},  # batches without a window for the second process
    "hard": {"sampler": "popularity", "hard_negatives": 2},
    "softmax": {"loss": "softmax"},
    "bce": {"loss": "bce", "sampler": "popularity"},
    "encoders": {"encoder_adapter": {"rank": 2}},
    "held": {"held": True, "tokens_per_batch": 8},
}


@pytest.fixture(scope="module")
def both(tmp_path_factory, two_processes, stream_of):
    """The folder in which two processes left their weights."""
    out = tmp_path_factory.mktemp("both")
    stream_of(IN["sequences"](), 12, folder=out)
    ended = two_processes([str(WORKER), str(out), json.dumps(CASES)])
    assert [code for code, *_ in ended] == [0, 0], ended
    return out


def close(weights, expected):
    for name, weight in expected.items():
        given = weights[name]
        if name.endswith("query_key_value.bias"):
            # Attention does not depend on the bias of its keys: its gradient is rounding, which AdamW makes a step of.
            given, weight = (torch.cat([own.chunk(3)[0], own.chunk(3)[2]]) for own in (given, weight))
        torch.testing.assert_close(given, weight, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_what_one_trains(both, case):
    model, run = train(config(**CASES[case]), validate=score)
    first, second = (load_file(both / f"{case}-{rank}.safetensors") for rank in (0, 1))
    close(first, model.state_dict())
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())
    epochs = [json.loads((both / f"{case}-{rank}.json").read_text()) for rank in (0, 1)]
    assert epochs[0] == epochs[1] == [run.best_epoch, pytest.approx(run.best_score, abs=1e-3)]


def test_they_do_so_on_a_stream_and_from_a_checkpoint(both, stream_of):
    (streamed, _), (whole, _) = train(config(), source=stream_of(IN["sequences"](), 12)), train(config())
    for rank in (0, 1):
        close(load_file(both / f"streamed-{rank}.safetensors"), streamed.state_dict())
        close(load_file(both / f"resumed-{rank}.safetensors"), whole.state_dict())
        assert json.loads((both / f"begun-{rank}.json").read_text()) == [0, 1, 2]


def test_shares_cover_a_batch_without_overlap_and_one_process_has_all(monkeypatch):
    inputs = np.arange(10).reshape(5, 2)
    batch = Batch(inputs, inputs + 1, timestamps=inputs * 10)
    shares = [share(batch, World(rank, 2)) for rank in (0, 1)]
    np.testing.assert_array_equal(shares[0].inputs, inputs[[0, 2, 4]])
    np.testing.assert_array_equal(shares[1].inputs, inputs[[1, 3]])
    np.testing.assert_array_equal(shares[1].timestamps, inputs[[1, 3]] * 10)
    assert shares[1].event_types is None
    assert World(1, 2).own(5).tolist() == [False, True, False, True, False]
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    world = join_world(torch.device("cpu"))
    assert world == World(0, 1) and world.leads
    assert world.broadcast({"epochs": 3}) == {"epochs": 3} and world.gather(3) == [3]
    batch = Batch(np.zeros((2, 1), np.int64), np.zeros((2, 1), np.int64))
    assert share(batch, world) is batch

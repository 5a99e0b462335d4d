import runpy
import tracemalloc
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hubspoke.hub.training.checkpoints import Checkpoints
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.training.batches import training_batches

WORKER = runpy.run_path(str(Path(__file__).parent / "training" / "worker.py"))
train, config, interrupted, same = (WORKER[name] for name in ("train", "config", "interrupted", "same"))
MODELS = ("sasrec", "bert4rec")


def settings(model="sasrec", length=5, tokens=24, **transformer):
    shape = {"dimension": 4, "heads": 1, "max_length": length, **transformer}
    return SpokeConfig.model_validate({"model": model, "transformer": shape, "training": {"tokens_per_batch": tokens}})


def made(users=40):
    rng = np.random.default_rng(0)
    held = WORKER["sequences"](rng.integers(1, 15, users), 30)
    return replace(held, event_types=rng.integers(1, 4, held.n_events).astype(np.int8))


def shown(batch):
    """Everything that a batch says, in a form that compares."""
    told = (batch.inputs, batch.targets, batch.timestamps, batch.event_types)
    return [None if part is None else part.tolist() for part in told]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("context", [False, True])
def test_one_shard_gives_the_batches_of_sequences_in_memory(stream_of, model, context):
    held, chosen = made(), settings(model, time_bias=context, event_types=context)
    streamed = training_batches(stream_of(held, 10_000), chosen)
    assert streamed.n_windows == training_batches(held, chosen).n_windows
    for epoch in (0, 1):
        expected = [shown(batch) for batch in training_batches(held, chosen).epoch(epoch)]
        assert [shown(batch) for batch in streamed.epoch(epoch)] == expected


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("shard_events", [1, 20, 100])
def test_every_window_of_sequences_in_memory_once_an_epoch_whatever_the_shards(stream_of, model, shard_events):
    held, chosen = made(), settings(model)
    stream = stream_of(held, shard_events)
    assert stream.n_shards > 1
    found = []
    for source in (stream, held):
        seen, made_batches = Counter(), training_batches(source, chosen)
        for batch in made_batches.epoch(2):
            assert batch.inputs.size <= 24
            items = np.where(batch.hidden, batch.targets, batch.inputs)  # with nothing hidden
            seen.update(tuple(row[real].tolist()) for row, real in zip(items, batch.valid, strict=True))
        assert seen.total() == made_batches.n_windows
        found.append(seen)
    assert found[0] == found[1]


def test_seed_and_epoch_decide_batches_and_the_order_of_shards(stream_of):
    stream = stream_of(made(), 60)

    def flat(epoch, seed=0):
        made_batches = training_batches(stream, settings().model_copy(update={"seed": seed}))
        return [shown(batch) for batch in made_batches.epoch(epoch)]

    assert flat(0) == flat(0) and flat(3) == flat(3)
    # Item i of shard s is 100 s + i: the shards follow each other whole, in another order each epoch.
    held = replace(made(), items=np.arange(made().n_events), n_items=made().n_events)
    stream = stream_of(held, 60)
    place = np.concatenate([np.full(shard.n_events, k) for k, shard in enumerate(stream.shards())])
    orders = []
    for epoch in range(4):
        batches = training_batches(stream, settings()).epoch(epoch)
        visited = [int(k) for batch in batches for k in np.unique(place[batch.inputs[batch.valid]])]
        orders.append([k for k, after in pairwise([*visited, -1]) if k != after])
    assert all(sorted(order) == list(range(stream.n_shards)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


@pytest.mark.parametrize("sampler", ["uniform", "popularity"])
def test_one_shard_trains_the_same_bits(stream_of, sampler):
    chosen = config(sampler=sampler)
    torch.manual_seed(1)
    held, run = train(chosen, validate=lambda _: 0.5)
    streamed, again = train(chosen, validate=lambda _: 0.5, source=stream_of(WORKER["sequences"](), 10_000))
    assert same(held, streamed) and [row["loss"] for row in run.history] == [row["loss"] for row in again.history]


@pytest.mark.parametrize("model", MODELS)
def test_a_killed_training_on_a_stream_ends_with_the_same_bits(tmp_path, stream_of, model):
    chosen = config(max_epochs=4, sampler="popularity").model_copy(update={"model": model})
    held, begun = WORKER["sequences"](), []
    stream = stream_of(held, 12)
    assert stream.n_shards > 2
    whole, _ = train(chosen, source=stream)
    keep = Checkpoints(tmp_path / "kept", every=1)
    with suppress(KeyboardInterrupt), interrupted(2, begun):
        train(chosen, source=stream, checkpoints=keep)
    torch.manual_seed(99)
    with interrupted(99, begun):
        resumed, _ = train(chosen, source=stream_of(held, 12), checkpoints=keep)
    assert begun == [0, 1, 2, 3] and same(whole, resumed)


def test_memory_does_not_grow_with_the_number_of_events(stream_of):
    def peak(source):
        tracemalloc.start()
        for _ in training_batches(source, settings(tokens=512)).epoch(0):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    small, large = made(2_000), made(16_000)
    small_stream, large_stream = (stream_of(source, 4_000, grain=1_000) for source in (small, large))
    assert peak(large_stream) < 1.5 * peak(small_stream)  # of eight times the events
    assert peak(large) > 4 * peak(small)
    assert peak(large_stream) < 0.5 * peak(large)

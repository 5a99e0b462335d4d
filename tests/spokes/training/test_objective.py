import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from hubspoke.hub.distributed import World
from hubspoke.spokes.training.batches import training_batches
from hubspoke.spokes.training.losses import sampled_softmax_loss
from hubspoke.spokes.training.objective import REFRESH_EVERY, Objective

WORKER = runpy.run_path(str(Path(__file__).with_name("worker.py")))
train, config, sequences, same, N = (WORKER[name] for name in ("train", "config", "sequences", "same", "N"))
BCE = [{"loss": "bce"}, {"loss": "bce", "hard_negatives": 3}]
SAMPLED = [{"temperature": 0.5}, {"sampler": "popularity", "hard_negatives": 3}]
OTHERS = [{"sampler": "popularity"}, {"hard_negatives": 3}, {"temperature": 0.7}, {"loss": "bce"}, {"loss": "softmax"}]


def trained(**training):
    return train(config(**training))[0]


@pytest.mark.parametrize("options", [*SAMPLED, *BCE], ids=str)
def test_every_loss_and_sampler_learns(options):
    """Of the training sequences' next items more than half are ranked first of all, of twelve."""
    _, model, items = objective(100, max_epochs=100, **options)
    vectors = model.item_vectors(items)
    asked = [(row[: at + 1], row[at + 1]) for row in sequences() for at in range(len(row) - 1)]
    best = (model.session_vectors(vectors, [history for history, _ in asked]) @ vectors.T).argmax(axis=1)
    assert np.mean(best == np.array([target for _, target in asked])) > 0.5


@pytest.mark.parametrize("options", OTHERS, ids=str)
def test_options_matter_and_a_seed_repeats_them(options):
    first = trained(**options)
    assert same(first, trained(**options)) and not same(first, trained())


def test_popularity_is_corrected_for(monkeypatch):
    corrected, plain = trained(sampler="popularity"), lambda *own, log_q, **how: sampled_softmax_loss(*own, **how)
    monkeypatch.setattr("hubspoke.spokes.training.objective.sampled_softmax_loss", plain)
    assert not same(corrected, trained(sampler="popularity"))


def objective(epochs=0, **training):
    settings = config(**training)
    model, _ = train(settings, epochs=epochs)
    rng = np.random.default_rng(0)
    encoded = WORKER["EncodedItems"](*(rng.standard_normal((N, 32)).astype(np.float32) for _ in range(2)))
    items = model.inputs(encoded, np.arange(1, N + 1))
    return Objective(model, items, sequences().item_counts(), settings, World()), model, items


def test_hard_negatives_are_mined_when_they_are_due():
    made, model, _ = objective(hard_negatives=3)
    mined = []
    for epoch in range(2 * REFRESH_EVERY):
        made.start(epoch)
        mined.append(made.hard.nearest)
        with torch.no_grad():
            model.ids.weight.normal_()
    assert mined[0].shape == (N, N - 1)
    assert all(own is mined[0] for own in mined[:REFRESH_EVERY]) and not np.array_equal(mined[0], mined[-1])


@pytest.mark.parametrize("options", [{"sampler": "popularity"}, {"hard_negatives": 3}])
def test_an_epoch_decides_the_draw(options):
    made, model, _ = objective(**options)
    batch, losses = next(iter(training_batches(sequences(), config(**options)).epoch(0))), []
    made.start(0)
    for epoch in (3, 5, 3):
        model.train()
        made.start(epoch)
        losses.append(made.loss(batch).item())
    assert losses[0] == losses[2] != losses[1]

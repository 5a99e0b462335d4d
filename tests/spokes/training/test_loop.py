import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.model import BehaviourModel
from hubspoke.spokes.training.loop import train_behaviour

N = 12
SHAPE = {"dimension": 16, "heads": 2, "max_length": 6, "dropout": 0.0}
TRAINING = {"max_epochs": 4, "validate_every": 1, "patience": 2, "tokens_per_batch": 64, "learning_rate": 1e-2}


def config(seed=0, model="sasrec", transformer=None, **training):
    own = {"seed": seed, "model": model, "adapter": {"rank": 2}, "id_dropout": 0.0}
    shapes = {"transformer": SHAPE | (transformer or {}), "training": {"negatives": 16} | TRAINING | training}
    return SpokeConfig.model_validate(own | shapes)


@pytest.fixture
def items(make, encoded):
    return make().inputs(encoded, np.arange(1, N + 1))


@pytest.fixture
def make(hub, space):
    def model(seed=0, settings=None):
        torch.manual_seed(seed)
        return BehaviourModel(settings or config(), hub.fusion, space, N)

    return model


def weights(model):
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(weight, b[name]) for name, weight in a.items())


@pytest.mark.parametrize("loss", ["sampled-softmax", "softmax"])
@pytest.mark.parametrize(("name", "epochs"), [("sasrec", 40), ("bert4rec", 125)])
def test_it_learns_a_cycle_by_heart(make, items, cycle, known_by_heart, loss, name, epochs):
    settings = config(model=name, loss=loss)
    model = make(settings=settings)
    before = None if model.mask is None else model.mask.detach().clone()
    run = train_behaviour(model, items, cycle, settings, epochs=epochs)
    assert run.best_epoch == epochs and math.isnan(run.best_score) and run.history == ()
    assert run.windows_per_second > 0
    lengths = (4,) if before is None else (2, 3, 4, 5)
    assert [known_by_heart(model, items, length) for length in lengths] == [1.0] * len(lengths)
    assert before is None or not torch.equal(model.mask, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_a_cycle_is_learned_with_every_option(make, items, cycle, known_by_heart, name):
    settings = config(model=name, transformer={"time_bias": True, "event_types": True, "dwell": True})
    known = replace(cycle, event_types=np.ones(len(cycle.items), np.int8), timestamps=cycle.timestamps * 3_000_000)
    model = make(settings=settings)
    train_behaviour(model, items, known, settings, epochs=200)
    assert known_by_heart(model, items) == 1.0  # asked without times: some batches were trained without, too
    grown = {name for name, weight in model.named_parameters() if not weight.any()}
    assert not grown & {"transformer.blocks.0.attention.interval_bias.weight", "transformer.type_vectors.weight"}


def test_the_same_seed_gives_the_same_weights(make, items, cycle):
    trained = []
    for seed in (3, 3, 4):
        model = make()
        torch.manual_seed(0)
        train_behaviour(model, items, cycle, config(seed), epochs=2)
        trained.append(weights(model))
    assert same(trained[0], trained[1]) and not same(trained[0], trained[2])


@pytest.mark.parametrize(
    ("settings", "scores", "epochs", "best"),
    [
        ({}, [0.1, 0.5, 0.4, 0.3], [1, 2, 3, 4], (2, 0.5)),
        # An equal score is no improvement; an improvement starts the count again.
        ({"max_epochs": 9}, [0.5, 0.5, 0.6, 0.6, 0.1, 0.9], [1, 2, 3, 4, 5], (3, 0.6)),
        # Validation comes every few epochs and after the last.
        ({"max_epochs": 5, "validate_every": 2}, [0.1, 0.2, 0.3], [2, 4, 5], (5, 0.3)),
    ],
)
def test_patience_counts_validations_and_the_best_weights_come_back(make, items, cycle, settings, scores, epochs, best):
    model, told, shown, own = make(), [], [], config(**settings)

    def validate(model):
        shown.append(weights(model))
        return scores[len(shown) - 1]

    told_of = {"validate": validate, "progress": lambda *given: told.append(given)}
    run = train_behaviour(model, items, cycle, own, **told_of)
    assert (run.best_epoch, run.best_score) == best
    assert same(weights(model), shown[epochs.index(best[0])])
    assert [(row["epoch"], row["score"]) for row in run.history] == list(zip(epochs, scores, strict=False))
    assert told == [(done, own.training.max_epochs) for done in range(1, epochs[-1] + 1)]


@pytest.mark.parametrize(("rows", "epochs"), [([], None), ([[0], [3]], None), ([[0, 1, 2]], 0)])
def test_nothing_to_learn_from_or_no_epochs_change_nothing(make, items, sequences, rows, epochs):
    model = make()
    before, data = weights(model), sequences(*rows, n_items=N)
    run = train_behaviour(model, items, data, config(), validate=lambda _: 1.0, epochs=epochs)
    assert run.best_epoch == 0 and math.isnan(run.best_score) and run.windows_per_second == 0.0
    assert same(weights(model), before)

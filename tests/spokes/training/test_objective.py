import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from hubspoke.spokes.config import TrainingConfig
from hubspoke.spokes.training.batches import training_batches
from hubspoke.spokes.training.distributed import Team
from hubspoke.spokes.training.negatives import InBatchNegatives, MixedNegatives, PopularityNegatives, UniformNegatives
from hubspoke.spokes.training.objective import Objective, sampler_of

MEMBER = runpy.run_path(str(Path(__file__).with_name("team_member.py")))
train, config, sequences, N = MEMBER["train"], MEMBER["config"], MEMBER["sequences"], MEMBER["N"]
HARD = {"count": 3, "pool": 5, "refresh_every": 2}


def weights(**training):
    model, _ = train(config(**training))
    return model.state_dict()


def same(one, other):
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


def known_pairs(model, items):
    """Share of the training sequences' next items that the model ranks first of all."""
    vectors = model.item_vectors(items)
    asked = [(row[: at + 1], row[at + 1]) for row in sequences() for at in range(len(row) - 1)]
    best = (model.session_vectors(vectors, [history for history, _ in asked]) @ vectors.T).argmax(axis=1)
    return float(np.mean(best == np.array([target for _, target in asked])))


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "softmax", "softmax_positions": 5},
        {"loss": "sampled-softmax", "temperature": 0.5},
        {"loss": "sampled-softmax", "sampler": "popularity"},
        {"loss": "sampled-softmax", "sampler": "in-batch", "negatives": 32},
        {"loss": "sampled-softmax", "sampler": "mixed", "hard": HARD},
        {"loss": "bce"},
        {"loss": "gbce"},
        {"loss": "bpr", "hard": HARD},
    ],
    ids=str,
)
def test_every_loss_and_sampler_learns(options, monkeypatch):
    made = []
    inputs = MEMBER["BehaviourModel"].inputs
    monkeypatch.setattr(MEMBER["BehaviourModel"], "inputs", lambda *a: (made.append(inputs(*a)), made[0])[1])
    model, _ = train(config(max_epochs=100, **options))
    # One in twelve by chance.
    assert known_pairs(model, made[0]) > 0.5


def test_a_chunked_softmax_trains_what_the_whole_one_trains():
    whole, chunked = weights(loss="softmax"), weights(loss="softmax", softmax_positions=3)
    for name, weight in whole.items():
        if "query_key_value.bias" not in name:  # the keys' part has no gradient but rounding
            torch.testing.assert_close(chunked[name], weight, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": "popularity"},
        {"sampler": "mixed", "log_q": False},
        {"hard": HARD},
        {"temperature": 0.7},
        {"schedule": "linear"},
        {"clip_norm": 0.1},
        {"loss": "gbce"},
    ],
    ids=str,
)
def test_options_matter_and_a_seed_repeats_them(options):
    first = weights(**options)
    assert same(first, weights(**options)) and not same(first, weights())


def test_log_q_matters_where_the_sampler_is_not_uniform():
    assert same(weights(), weights(log_q=False))
    assert not same(weights(sampler="popularity"), weights(sampler="popularity", log_q=False))


def test_a_compiled_transformer_is_for_gpus():
    assert same(weights(), weights(compiled=True))


def objective(**training):
    settings = config(**training)
    model, _ = train(settings, epochs=0)
    rng = np.random.default_rng(0)
    encoded = MEMBER["EncodedItems"](*(rng.standard_normal((N, 32)).astype(np.float32) for _ in range(2)))
    items = model.inputs(encoded, np.arange(1, N + 1))
    return Objective(model, items, sequences().item_counts(), settings, Team()), settings


def test_hard_negatives_are_mined_when_they_are_due():
    made, _ = objective(hard=HARD)
    mined = []
    for epoch in range(5):
        made.start(epoch)
        mined.append(made.hard.nearest)
        with torch.no_grad():
            made._model.ids.weight.normal_()
    assert mined[0].shape == (N, 5)
    assert mined[0] is mined[1] and mined[2] is mined[3]
    assert not np.array_equal(mined[1], mined[2]) and not np.array_equal(mined[3], mined[4])


@pytest.mark.parametrize("options", [{"sampler": "popularity"}, {"hard": HARD}])
def test_an_epoch_decides_the_draw(options):
    made, settings = objective(**options)
    batch = next(iter(training_batches(sequences(), settings).epoch(0)))
    losses = []
    made.start(0)
    for epoch in (3, 5, 3):
        made._model.train()
        made.start(epoch)
        losses.append(made.loss(batch).item())
    assert losses[0] == losses[2] != losses[1]


def test_samplers_by_name():
    counts = np.arange(N)

    def made(**training):
        return sampler_of(TrainingConfig(negatives=10, **training), counts)

    assert isinstance(made(), UniformNegatives)
    assert isinstance(made(sampler="popularity"), PopularityNegatives)
    assert isinstance(made(sampler="in-batch"), InBatchNegatives)
    mixed = made(sampler="mixed", shares={"uniform": 0.3, "popularity": 0.7, "in_batch": 0.0})
    assert isinstance(mixed, MixedNegatives) and mixed.count == 10
    expected = 0.3 / N + 0.7 * counts**0.75 / (counts**0.75).sum()
    np.testing.assert_allclose(np.exp(mixed.log_q), expected, rtol=1e-5)

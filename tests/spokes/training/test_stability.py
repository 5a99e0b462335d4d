"""What holds a training near its parent: losses on numbers that a hand can follow, and what they do to a training."""

import runpy
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hubspoke.hub.training.checkpoints import Checkpoints
from hubspoke.hub.training.losses import anchor_loss
from hubspoke.spokes.training.batches import Batch
from hubspoke.spokes.training.loop import train_behaviour
from hubspoke.spokes.training.stability import Anchors, Hold, consolidation_loss, fisher_diagonal

WORKER = runpy.run_path(str(Path(__file__).with_name("worker.py")))
train, config, sequences, same, N = (WORKER[name] for name in ("train", "config", "sequences", "same", "N"))
EVERY = np.arange(N)


def test_the_losses_are_their_formulas():
    vectors, anchors = torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([[1.0, 2.0], [0.0, 1.0]])
    # Squared distances 0, 4, 0 and 4 in units of 2: the mean of 0, 1, 0 and 1.
    assert anchor_loss(vectors, anchors, torch.tensor(2.0)).item() == 0.5
    weights, start = {"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([[7.0]])}, {"a": torch.tensor([1.0, 0.0])}
    # Two steps of information 1 and one of information 4, halved; what has no information is free.
    assert consolidation_loss(weights, start, {"a": torch.tensor([1.0, 4.0])}).item() == (1 * 4 + 4 * 1) / 2


def made(epochs=2, **training):
    """A trained model, its items and its config, with a hold that is asked for."""
    settings = config(**training).model_copy(update={"id_dropout": 0.3})
    model, _ = train(settings, epochs=epochs)
    rng = np.random.default_rng(0)
    encoded = WORKER["EncodedItems"](*(rng.standard_normal((N, 32)).astype(np.float32) for _ in range(2)))
    return model, model.inputs(encoded, np.arange(1, N + 1)), settings


def asked(settings, anchor=0.0, consolidation=0.0):
    stability = settings.stability.model_copy(update={"anchor": anchor, "consolidation": consolidation})
    return settings.model_copy(update={"stability": stability})


def test_fisher_is_the_squared_gradient_of_each_window_per_position():
    model, items, settings = made(loss="softmax")
    names, source = ("transformer.positions", "content.linear.weight"), sequences((3, 5, 2))
    found = fisher_diagonal(model, items, source, settings, names)
    squares, positions = dict.fromkeys(names, 0), 0
    for row in source:
        shown = np.asarray(row)[None, :]
        batch = Batch(inputs=shown[:, :-1], targets=shown[:, 1:])
        model.zero_grad()
        vectors = model.eval().embed_items(items)
        scores = model.encode_batch(vectors[torch.from_numpy(batch.rows)], batch) @ vectors.T
        F.cross_entropy(scores, torch.from_numpy(shown[0, 1:]), reduction="sum").backward()
        named = dict(model.named_parameters())
        squares = {name: squares[name] + named[name].grad.square() for name in names}
        positions += len(row) - 1
    assert positions == 2 + 4 + 1 and found.keys() == {*names}
    for name in names:
        torch.testing.assert_close(found[name], squares[name] / positions, rtol=1e-4, atol=1e-9)
        assert found[name].any()


def test_a_sample_of_the_windows_is_enough(monkeypatch):
    model, items, settings = made()
    before, state = torch.get_rng_state(), {name: own.clone() for name, own in model.state_dict().items()}
    names = [name for name, own in model.named_parameters() if own.requires_grad and not name.startswith("ids.")]
    whole, again = (fisher_diagonal(model, items, sequences(), settings, names) for _ in range(2))
    assert all(torch.equal(own, again[name]) for name, own in whole.items()) and {*whole} == {*names}
    monkeypatch.setattr("hubspoke.spokes.training.stability.FISHER_WINDOWS", 3)
    few = fisher_diagonal(model, items, sequences(), settings, names)
    assert any(not torch.equal(own, few[name]) for name, own in whole.items())
    # Neither weights nor the generator of dropout are touched.
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(own, state[name]) for name, own in model.state_dict().items())


def hold_of(model, items, settings, names=("transformer.positions",)):
    anchors = Anchors(EVERY, model.item_vectors(items)) if settings.stability.anchor else None
    fisher = fisher_diagonal(model, items, sequences(), settings, names) if settings.stability.consolidation else {}
    return Hold(model, items, settings, anchors, fisher)


def test_it_pulls_back_to_where_the_training_starts():
    model, items, settings = made()
    hold = hold_of(model, items, asked(settings, anchor=2.0, consolidation=3.0))
    model.train()
    hold.start(0)
    assert hold.loss().item() == pytest.approx(0, abs=1e-6)  # although residuals are dropped in training
    assert model.training
    with torch.no_grad():
        model.content.linear.bias += 0.5
    vectors = torch.from_numpy(model.item_vectors(items))
    unit = (vectors - 0.5).square().mean().sqrt()
    model.train()
    hold.start(1)
    loss = hold.loss()
    assert loss.item() == pytest.approx(2.0 * 0.25 / unit.item() ** 2, rel=1e-3)
    loss.backward()
    assert (model.content.linear.bias.grad > 0).all()
    model.zero_grad()
    with torch.no_grad():
        model.content.linear.bias -= 0.5
        model.transformer.positions += 0.1
    fisher = fisher_diagonal(model, items, sequences(), settings, ["transformer.positions"])
    hold = hold_of(model, items, asked(settings, consolidation=3.0))
    with torch.no_grad():
        model.transformer.positions += 0.1
    expected = 3.0 * 0.5 * 0.01 * float(fisher["transformer.positions"].sum())
    assert hold.loss().item() == pytest.approx(expected, rel=1e-3)


def test_an_epoch_decides_which_items_are_compared():
    model, items, settings = made()
    hold = hold_of(model, items, asked(settings, anchor=1.0))
    with torch.no_grad():
        model.ids.weight.normal_()
    losses = []
    for epoch in (3, 5, 3):
        hold.start(epoch)
        losses.append(hold.loss().item())
    assert losses[0] == losses[2] != losses[1]


@pytest.mark.parametrize("held", [{"anchor": 30.0}, {"consolidation": 300.0}], ids=str)
def test_what_is_held_moves_less(held):
    moved = []
    for given in ({}, held):
        model, items, settings = made(max_epochs=6)
        hold = hold_of(model, items, asked(settings, **given), names=("transformer.positions",))
        positions = model.transformer.positions.detach()
        before = model.item_vectors(items), positions.clone()
        train_behaviour(model, items, sequences((9, 8, 7)), settings, hold=hold if given else None, epochs=6)
        vectors = float(np.square(model.item_vectors(items) - before[0]).sum())
        moved.append((vectors, float((positions - before[1]).square().sum())))
    place = 0 if "anchor" in held else 1
    assert 0 < moved[1][place] < 0.7 * moved[0][place]


def test_a_held_training_that_was_killed_goes_on_as_if_it_was_not(tmp_path):
    ended = []
    for dies in (None, 2):
        model, items, settings = made()
        settings = asked(settings, anchor=1.0, consolidation=10.0)
        hold, begun, folder = hold_of(model, items, settings), [], tmp_path / str(dies)
        source, kept = sequences((9, 8, 7)), Checkpoints(folder, every=1)
        torch.manual_seed(0)
        with suppress(KeyboardInterrupt), WORKER["interrupted"](dies, begun):
            train_behaviour(model, items, source, settings, hold=hold, epochs=4, checkpoints=kept)
        if dies is not None:  # another process makes all of it anew
            model, items, _ = made()
            hold = hold_of(model, items, settings)
            with WORKER["interrupted"](None, begun):
                train_behaviour(model, items, source, settings, hold=hold, epochs=4, checkpoints=kept)
        assert begun == [0, 1, 2, 3]
        ended.append(model)
    assert same(*ended)

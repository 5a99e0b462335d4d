import json
import runpy
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hubspoke.spokes.training.checkpoints import (
    FACTS,
    TENSORS,
    Checkpoint,
    Checkpoints,
    newest_checkpoint,
    write_checkpoint,
)

WORKER = runpy.run_path(str(Path(__file__).with_name("worker.py")))
train, config, interrupted = WORKER["train"], WORKER["config"], WORKER["interrupted"]


def checkpoint(epoch):
    return Checkpoint(epoch, {"model/a": torch.full((2,), float(epoch))}, {"seconds": 1.5})


def same(one, other):
    return all(torch.equal(weight, other.state_dict()[name]) for name, weight in one.state_dict().items())


def test_what_is_written_is_read_and_the_older_ones_go(tmp_path):
    for epoch in (3, 6):
        write_checkpoint(tmp_path / "new", "me", checkpoint(epoch))
    found = newest_checkpoint(tmp_path / "new", "me")
    assert found.epoch == 6 and found.facts["seconds"] == 1.5
    assert found.group("model")["a"].tolist() == [6.0, 6.0] and found.group("best") == {}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["epoch-000006"]


@pytest.mark.parametrize(
    "broken", ["never written", "cut", "empty", "missing", "no json", "another training", "another version"]
)
def test_a_checkpoint_that_is_not_usable_is_none(tmp_path, broken):
    if broken != "never written":
        write_checkpoint(tmp_path, "me", checkpoint(3))
    folder = tmp_path / "epoch-000003"
    tensors, facts = folder / TENSORS, folder / FACTS
    if broken == "cut":
        tensors.write_bytes(tensors.read_bytes()[:-3])
    elif broken == "empty":
        tensors.write_bytes(b"")
    elif broken == "missing":
        facts.unlink()
    elif broken == "no json":
        facts.write_text("{")
    elif broken == "another version":
        facts.write_text(json.dumps(json.loads(facts.read_text()) | {"version": 99}))
    assert newest_checkpoint(tmp_path, "you" if broken == "another training" else "me") is None


@pytest.mark.parametrize("dies_at", ["save_file", "write_text", "rename"])
def test_a_write_that_dies_leaves_the_last_one(tmp_path, monkeypatch, dies_at):
    write_checkpoint(tmp_path, "me", checkpoint(3))

    def die(*_, **__):
        raise KeyboardInterrupt

    where = "hubspoke.spokes.training.checkpoints.save_file" if dies_at == "save_file" else f"pathlib.Path.{dies_at}"
    with monkeypatch.context() as patched:
        patched.setattr(where, die)
        with pytest.raises(KeyboardInterrupt):
            write_checkpoint(tmp_path, "me", checkpoint(6))
    assert newest_checkpoint(tmp_path, "me").epoch == 3
    # What the dead process left does not stay.
    (tmp_path / ".writing-1").mkdir(exist_ok=True)
    write_checkpoint(tmp_path, "me", checkpoint(9))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000009"]


OPTIONS = {"default": {}, "everything": {"sampler": "popularity", "hard_negatives": 2, "temperature": 0.5}}


def random_config(**training):
    """With all that draws random numbers."""
    made = config(max_epochs=6, patience=2, **training)
    shape = made.transformer.model_copy(update={"dropout": 0.3})
    return made.model_copy(update={"transformer": shape, "id_dropout": 0.3})


def scripted():
    """A validation whose best score comes before the interruption."""
    scores = {1: 0.3, 2: 0.5, 3: 0.1, 4: 0.6, 5: 0.2, 6: 0.4}
    seen = []

    def validate(model):
        seen.append(None)
        return scores[len(seen)]

    return validate, seen


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("validated", [False, True])
def test_a_killed_training_ends_with_the_same_bits(tmp_path, options, every, validated):
    settings = random_config(**OPTIONS[options])
    validate, seen = scripted()
    whole, run = train(settings, validate=validate if validated else None)
    begun = []
    validate, seen = scripted()
    keep = Checkpoints(tmp_path / "kept", every=every)
    with suppress(KeyboardInterrupt), interrupted(5, begun):
        train(settings, validate=validate if validated else None, checkpoints=keep)
    # A fresh process knows nothing of the random numbers drawn before.
    torch.manual_seed(99)
    del seen[4 if every == 2 else 5 :]
    with interrupted(99, begun):
        resumed, again = train(settings, validate=validate if validated else None, checkpoints=keep)
    assert begun == ([0, 1, 2, 3, 4, 5] if every == 1 else [0, 1, 2, 3, 4, 4, 5])
    assert same(whole, resumed)
    assert again.best_epoch == run.best_epoch == (4 if validated else 6)
    assert [(row["loss"], row["score"]) for row in again.history] == [
        (row["loss"], row["score"]) for row in run.history
    ]


def test_the_seconds_of_all_processes_up_to_a_checkpoint_are_told(tmp_path, monkeypatch):
    now = 50.0

    def epoch_and_more(done, _):
        nonlocal now
        now += 10.0

    monkeypatch.setattr("hubspoke.spokes.training.loop.time", SimpleNamespace(perf_counter=lambda: now))
    keep, runs = Checkpoints(tmp_path, every=2), []
    for ends_before in (3, 5):
        # The epochs from 2 and 4 on are lost, and with them their seconds.
        with suppress(KeyboardInterrupt), interrupted(ends_before, []):
            train(random_config(), checkpoints=keep, progress=epoch_and_more)
    for _ in range(2):
        runs.append(train(random_config(), checkpoints=keep, progress=epoch_and_more)[1].seconds_before)
    assert runs == [40.0, 60.0]
    assert train(random_config())[1].seconds_before == 0.0


@pytest.mark.parametrize(("change", "seed"), [({"negatives": 7}, 0), ({}, 1)])
def test_a_finished_training_is_not_trained_again_and_another_one_begins_anew(tmp_path, change, seed):
    keep, begun = Checkpoints(tmp_path), []
    with interrupted(99, begun):
        first, _ = train(config(), checkpoints=keep)
        again, run = train(config(), checkpoints=keep)
        assert begun == [0, 1, 2] and same(first, again) and run.best_epoch == 3
        train(config(**change), seed=seed, checkpoints=keep)
    assert begun == [0, 1, 2, 0, 1, 2]

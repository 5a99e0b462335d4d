import errno
import runpy
import shutil
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from hubspoke.errors import LockedError
from hubspoke.files import new_name
from hubspoke.hub.training.checkpoints import FACTS, TENSORS, Checkpoint, Checkpoints
from hubspoke.hub.training.checkpoints import newest_checkpoint as newest
from hubspoke.hub.training.checkpoints import write_checkpoint as write
from hubspoke.progress import Remark
from safetensors import SafetensorError

WORKER = runpy.run_path(str(Path(__file__).with_name("worker.py")))
train, config, interrupted, same = (WORKER[name] for name in ("train", "config", "interrupted", "same"))
OPTIONS = {"default": {}, "everything": {"sampler": "popularity", "hard_negatives": 2, "temperature": 0.5}}
BROKEN = {
    "cut": (TENSORS, lambda path: path.write_bytes(path.read_bytes()[:-3])),
    "empty": (TENSORS, lambda path: path.write_bytes(b"")),
    "missing": (FACTS, lambda path: path.unlink()),
    "no json": (FACTS, lambda path: path.write_text("{")),
    "another version": (FACTS, lambda path: path.write_text(path.read_text().replace('"version": ', '"version": 9'))),
}


def checkpoint(epoch):
    return Checkpoint(epoch, {"model/a": torch.full((2,), float(epoch))}, {"seconds": 1.5})


def test_what_is_written_is_read_and_the_older_ones_go(tmp_path):
    for epoch in (3, 6):
        write(tmp_path / "new", "me", checkpoint(epoch))
    found = newest(tmp_path / "new", "me")
    assert found.epoch == 6 and found.facts["seconds"] == 1.5
    assert found.group("model")["a"].tolist() == [6.0, 6.0] and found.group("best") == {}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["epoch-000006"]
    assert newest(tmp_path / "never written", "me") is newest(tmp_path / "new", "another training") is None


@pytest.mark.parametrize(("name", "harm"), BROKEN.values(), ids=BROKEN)
def test_a_checkpoint_that_is_not_usable_is_none(tmp_path, name, harm):
    write(tmp_path, "me", checkpoint(3))
    harm(tmp_path / "epoch-000003" / name)
    assert newest(tmp_path, "me") is None


@pytest.mark.parametrize("dies_at", ["hubspoke.hub.training.checkpoints.save_file", "write_text", "rename"])
def test_a_write_that_dies_leaves_the_last_one(tmp_path, monkeypatch, dies_at):
    write(tmp_path, "me", checkpoint(3))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(dies_at if "." in dies_at else f"pathlib.Path.{dies_at}", Mock(side_effect=KeyboardInterrupt))
        write(tmp_path, "me", checkpoint(6))
    assert newest(tmp_path, "me").epoch == 3
    # What the dead process left does not stay.
    (tmp_path / ".writing-1").mkdir(exist_ok=True)
    write(tmp_path, "me", checkpoint(9))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000009"]


def test_what_another_process_writes_or_wrote_since_is_left_alone(tmp_path):
    newer, staged = tmp_path / "epoch-000009", tmp_path / f".epoch-000006.{new_name()}.tmp"
    machine, pid, start, number = new_name().split("-")
    dead = tmp_path / f".epoch-000003.{machine}-{pid}-{int(start) + 1}-{number}.tmp"
    for folder in (newer, staged, dead, tmp_path / "epoch-000003"):
        folder.mkdir()
    write(tmp_path, "me", checkpoint(6))
    assert {path.name for path in tmp_path.iterdir()} == {newer.name, staged.name, "epoch-000006"}


FULL = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
OBSTACLES = {
    "full disk": (FULL, "No space left on device"),
    "quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), "Disk quota exceeded"),
    "read-only": (OSError(errno.EROFS, "Read-only file system", "x"), "Read-only file system"),
    "permission": (PermissionError(errno.EACCES, "Permission denied", "x"), "Permission denied"),
}


@pytest.mark.parametrize(("obstacle", "cause"), OBSTACLES.values(), ids=OBSTACLES)
def test_a_checkpoint_that_cannot_be_written_costs_no_training(tmp_path, monkeypatch, obstacle, cause):
    notes = []
    keep = Checkpoints(tmp_path / "kept", every=1, remark=Remark(notes.append, "Checkpoints are written again."))
    plain, _ = train(config())
    with monkeypatch.context() as patched:
        patched.setattr("hubspoke.hub.training.checkpoints.save_file", Mock(side_effect=obstacle))
        trained, run = train(config(), checkpoints=keep)
    assert same(plain, trained) and run.best_epoch == 3
    assert notes == [
        f"No checkpoint can be written to {tmp_path / 'kept'} ({cause}); the training goes on, and would begin again "
        "from the last one if it were stopped."
    ]
    assert list(keep.folder.iterdir()) == []
    train(config(), checkpoints=keep)
    assert notes[1:] == ["Checkpoints are written again."]


def test_a_folder_that_is_a_file_or_full_or_vanishes_costs_no_training(tmp_path):
    notes = []
    (tmp_path / "cache").write_text("")
    keep = Checkpoints(tmp_path / "cache" / "kept", every=1, remark=Remark(notes.append))
    trained, _ = train(config(), checkpoints=keep, progress=lambda done, _: (tmp_path / "cache").touch())
    assert same(train(config())[0], trained)
    assert len(notes) == 1 and "Not a directory" in notes[0]
    # What was taken away meanwhile is made again.
    gone = Checkpoints(tmp_path / "gone", every=1, remark=Remark(notes.append))
    train(config(), checkpoints=gone, progress=lambda *_: shutil.rmtree(tmp_path / "gone", ignore_errors=True))
    assert len(notes) == 1 and [path.name for path in gone.folder.iterdir()] == ["epoch-000003"]


def test_a_training_that_may_not_go_on_stops_before_it_writes(tmp_path):
    keep = Checkpoints(tmp_path / "kept", every=1, check=Mock(side_effect=[None, LockedError("taken")]))
    with pytest.raises(LockedError, match="taken"):
        train(config(), checkpoints=keep)
    assert [path.name for path in keep.folder.iterdir()] == ["epoch-000001"]


def random_config(**training):
    """With all that draws random numbers."""
    made = config(max_epochs=6, patience=2, **training)
    shape = made.transformer.model_copy(update={"dropout": 0.3})
    return made.model_copy(update={"transformer": shape, "id_dropout": 0.3})


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("validated", [False, True])
def test_a_killed_training_ends_with_the_same_bits(tmp_path, options, every, validated):
    settings, begun, keep = random_config(**OPTIONS[options]), [], Checkpoints(tmp_path / "kept", every=every)
    scores = [0.3, 0.5, 0.1, 0.6, 0.2, 0.4]  # the best comes before the interruption

    def trained(left, **more):
        return train(settings, validate=(lambda _: left.pop(0)) if validated else None, **more)

    whole, run = trained([*scores])
    with suppress(KeyboardInterrupt), interrupted(5, begun):
        trained([*scores], checkpoints=keep)
    # A fresh process knows nothing of the random numbers drawn before.
    torch.manual_seed(99)
    with interrupted(99, begun):
        resumed, again = trained(scores[4 if every == 2 else 5 :], checkpoints=keep)
    assert begun == ([0, 1, 2, 3, 4, 5] if every == 1 else [0, 1, 2, 3, 4, 4, 5])
    assert same(whole, resumed)
    assert again.best_epoch == run.best_epoch == (4 if validated else 6)
    losses, expected = ([(row["loss"], row["score"]) for row in own.history] for own in (again, run))
    assert losses == expected


def test_the_seconds_of_all_processes_up_to_a_checkpoint_are_told(tmp_path, monkeypatch):
    now = 50.0

    def epoch_and_more(done, _):
        nonlocal now
        now += 10.0

    monkeypatch.setattr("hubspoke.spokes.training.loop.time", SimpleNamespace(perf_counter=lambda: now))
    keep = Checkpoints(tmp_path, every=2)
    for ends_before in (3, 5):
        # The epochs from 2 and 4 on are lost, and with them their seconds.
        with suppress(KeyboardInterrupt), interrupted(ends_before, []):
            train(random_config(), checkpoints=keep, progress=epoch_and_more)
    runs = [train(random_config(), checkpoints=keep, progress=epoch_and_more)[1] for _ in range(2)]
    assert [run.seconds_before for run in runs] == [40.0, 60.0]
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

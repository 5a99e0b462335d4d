"""Checkpoints of a training: safetensors and JSON, written whole or not at all, so that a killed training goes on.

A checkpoint holds all that decides the next epoch (or step, where a training counts these): weights, optimiser moments,
the best weights so far, the state of every random generator. A training that goes on from one ends with the bits of one
that was never killed. It is a convenience: a training that can write none goes on, and says so.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...errors import HubspokeError
from ...files import atomic_folder, is_stale, staged_for, why
from ...progress import Remark

VERSION = 2
TENSORS, FACTS = "training.safetensors", "training.json"


@dataclass(frozen=True)
class Checkpoint:
    """One moment between two epochs: the epochs done, tensors by name, and plain data."""

    epoch: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def group(self, name: str) -> dict[str, Tensor]:
        """The tensors whose names start with `name/`, without it."""
        return {key[len(name) + 1 :]: tensor for key, tensor in self.tensors.items() if key.startswith(f"{name}/")}


@dataclass(frozen=True)
class Checkpoints:
    """Where a training keeps its checkpoints, and who is asked and told on the way."""

    folder: Path  # of this training alone; made when needed
    every: int = 3  # epochs between two of them
    check: Callable[[], object] = lambda: None  # raises where the training is to stop, since another has its place
    remark: Remark = field(default_factory=Remark)  # told why none can be written

    def within(self, name: str) -> Checkpoints:
        """Those of one of several trainings."""
        return replace(self, folder=self.folder / name)

    def write(self, made_for: str, checkpoint: Checkpoint) -> None:
        """Write one where that is possible; what stands in the way is told, once for each cause."""
        try:
            write_checkpoint(self.folder, made_for, checkpoint)
        except (OSError, SafetensorError, HubspokeError) as error:
            cause = why(error.__cause__ or error)
            self.remark(
                f"No checkpoint can be written to {self.folder} ({cause}); the training goes on, and would begin again "
                "from the last one if it were stopped."
            )
        else:
            self.remark("")


def write_checkpoint(folder: Path, made_for: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint of the training with this fingerprint, then remove the older ones."""
    final = folder / f"epoch-{checkpoint.epoch:06d}"
    shutil.rmtree(final, ignore_errors=True)  # one that could not be read
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in checkpoint.tensors.items()}
    facts = {"version": VERSION, "made_for": made_for, "epoch": checkpoint.epoch, **checkpoint.facts}
    with atomic_folder(final) as unfinished:
        save_file(tensors, unfinished / TENSORS)
        (unfinished / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    # A training has one writer. Should it have lost its place to another process, what that one has written since, or
    # writes now, is newer or staged by a process that lives.
    for old in folder.iterdir():
        left = is_stale(old, writer) if (writer := staged_for(old)) else old.name < final.name
        if left:
            shutil.rmtree(old, ignore_errors=True)


def newest_checkpoint(folder: Path, made_for: str) -> Checkpoint | None:
    """The newest readable checkpoint of this training; None where there is none to go on from."""
    for path in sorted(folder.glob("epoch-*"), reverse=True):
        # Going on is a convenience: whatever cannot be read, or was made for another training, is as good as not there.
        with suppress(OSError, ValueError, KeyError, TypeError, SafetensorError):
            facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
            if facts["version"] == VERSION and facts["made_for"] == made_for:
                return Checkpoint(int(facts["epoch"]), load_file(path / TENSORS), facts)
    return None

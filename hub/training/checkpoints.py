"""Checkpoints of a training: safetensors and JSON, written whole or not at all, so that a killed training goes on.

A checkpoint holds all that decides the next epoch (or step, where a training counts these): weights, optimiser moments,
the best weights so far, the state of every random generator. A training that goes on from one ends with the bits of one
that was never killed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...files import atomic_folder

VERSION = 2
TENSORS, FACTS = "training.safetensors", "training.json"


@dataclass(frozen=True)
class Checkpoints:
    """Where a training keeps its checkpoints."""

    folder: Path  # of this training alone; made when needed
    every: int = 3  # epochs between two of them


@dataclass(frozen=True)
class Checkpoint:
    """One moment between two epochs: the epochs done, tensors by name, and plain data."""

    epoch: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def group(self, name: str) -> dict[str, Tensor]:
        """The tensors whose names start with `name/`, without it."""
        return {key[len(name) + 1 :]: tensor for key, tensor in self.tensors.items() if key.startswith(f"{name}/")}


def write_checkpoint(folder: Path, made_for: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint of the training with this fingerprint, then remove the older ones."""
    final = folder / f"epoch-{checkpoint.epoch:06d}"
    shutil.rmtree(final, ignore_errors=True)  # one that could not be read
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in checkpoint.tensors.items()}
    facts = {"version": VERSION, "made_for": made_for, "epoch": checkpoint.epoch, **checkpoint.facts}
    with atomic_folder(final) as unfinished:
        save_file(tensors, unfinished / TENSORS)
        (unfinished / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    # Whatever else lies here is older, or was left by a process that was killed: a training has one writer.
    for old in folder.iterdir():
        if old != final:
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

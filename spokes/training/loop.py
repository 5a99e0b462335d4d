"""Training of the behavioural part: optimiser, schedule, early stopping; on one process or several, from a checkpoint.

The same seed gives the same weights, and a training that was killed and goes on gives them as well.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...catalog.sequences import SequenceSource
from ...errors import UsageError
from ...hub.adapters.adapted import PREFIX
from ...hub.devices import autocast_for
from ...progress import StepProgress
from ..config import SpokeConfig
from ..model import BehaviourModel, ItemInputs
from .batches import Batch, BucketedBatches, training_batches
from .checkpoints import Checkpoint, Checkpoints, newest_checkpoint, write_checkpoint
from .distributed import Team, join_team
from .memory import refuse_beyond_device
from .objective import Objective
from .optimiser import adamw
from .schedules import rate_factor

Validate = Callable[[BehaviourModel], float]
# Losses of so many batches wait on the device before they are asked for.
LOSSES_HELD = 4096


@dataclass(frozen=True)
class TrainingRun:
    """What a training did.

    Attributes:
        best_epoch: epochs behind the weights that the model now holds.
        best_score: validation score of those weights; nan without validation.
        history: one row per validation (epoch, loss, score, seconds).
        windows_per_second: training windows per second of training proper, validation excluded.
        seconds_before: of the processes before this one, up to the checkpoint it went on from, validation included.
    """

    best_epoch: int
    best_score: float
    history: tuple[dict[str, float], ...]
    windows_per_second: float
    seconds_before: float = 0.0


def train_behaviour(
    model: BehaviourModel,
    items: ItemInputs,
    sequences: SequenceSource,
    config: SpokeConfig,
    *,
    validate: Validate | None = None,
    epochs: int | None = None,
    progress: StepProgress | None = None,
    checkpoints: Checkpoints | None = None,
) -> TrainingRun:
    """Train in place; with `validate`, stop early and end with the best weights, else after `epochs` with the last.

    Under torchrun every process calls this with the same arguments and ends with the same weights; rank 0 alone
    validates, reports and stores.

    Args:
        model: on the device where it is to train.
        items: inputs of the N items that `sequences` speak of, on the same device.
        sequences: training sequences, one per session or user; in memory, or a stream of which it holds two shards.
        config: optimiser, batches and stopping.
        validate: higher is better; called every `config.training.validate_every` epochs.
        epochs: overrides `max_epochs`; used when refitting for an epoch count chosen before.
        progress: called after each epoch with the epochs done and the upper bound.
        checkpoints: where the training goes on from, if it was begun there before, and leaves its own.

    Raises:
        UsageError: the item tables do not fit on the device, or processes see different checkpoints.
    """
    settings = config.training
    total = settings.max_epochs if epochs is None else epochs
    device = model.ids.weight.device
    _check_memory(model, items, config)
    team = join_team(device)
    team.align(model)
    batches = training_batches(sequences, config)
    trainer = _Trainer(model, items, sequences, config, team, horizon=max(settings.max_epochs, total))
    best = _Best(model, settings.patience)
    made_for = _made_for(model, sequences, config, total) if checkpoints else ""
    log = _Log(checkpoints, trainer, best, made_for, team, began=time.perf_counter())
    done = log.resume()
    while done < total and batches.n_windows and not best.exhausted:
        started = time.perf_counter()
        loss = trainer.epoch(batches, done)
        log.seconds += time.perf_counter() - started
        done += 1
        if progress and team.leads:
            progress(done, total)
        if validate and (done % settings.validate_every == 0 or done == total):
            score = validate(model) if team.leads else 0.0
            best.record(done, loss, team.told(score, device), log.seconds)
        log.store(done, last=done == total or best.exhausted)
    rate = batches.n_windows * done / log.seconds if log.seconds else 0.0
    if validate is None or not best.history:
        return TrainingRun(done, float("nan"), (), rate, log.before)
    best.restore()
    return TrainingRun(best.epoch, best.score, tuple(best.history), rate, log.before)


def _check_memory(model: BehaviourModel, items: ItemInputs, config: SpokeConfig) -> None:
    known = max(model.ids.num_embeddings - 1, 0)
    refuse_beyond_device(config, known, len(items), items.content_columns, model.ids.weight.device)


def _made_for(model: BehaviourModel, sequences: SequenceSource, config: SpokeConfig, total: int) -> str:
    """SHA-256 over what decides a training: its config, its length, its events, the weights that it starts from."""
    digest = hashlib.sha256(f"{config.model_dump_json()}|{total}|{sequences.fingerprint}".encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.cpu().contiguous().numpy().data)
    return digest.hexdigest()


class _Best:
    """The best weights so far, and whether patience has run out."""

    def __init__(self, model: BehaviourModel, patience: int) -> None:
        self._model = model
        self._patience = patience
        self.weights: dict[str, Tensor] = {}
        self._failures = 0
        self.epoch, self.score = 0, float("-inf")
        self.history: list[dict[str, float]] = []

    @property
    def exhausted(self) -> bool:
        return self._failures >= self._patience

    def record(self, epoch: int, loss: float, score: float, seconds: float) -> None:
        self.history.append({"epoch": epoch, "loss": loss, "score": score, "seconds": round(seconds, 2)})
        if score > self.score:
            self.epoch, self.score, self._failures = epoch, score, 0
            self.weights = {name: weight.clone() for name, weight in self._model.state_dict().items()}
        else:
            self._failures += 1

    def restore(self) -> None:
        if self.weights:
            self._model.load_state_dict(self.weights)

    def facts(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "score": self.score, "failures": self._failures, "history": self.history}

    def load(self, facts: dict[str, Any], weights: dict[str, Tensor]) -> None:
        self.epoch, self.score, self._failures = facts["epoch"], facts["score"], facts["failures"]
        self.history = facts["history"]
        own = self._model.state_dict()
        self.weights = {name: weight.to(own[name].device) for name, weight in weights.items()}


class _Trainer:
    """One optimiser over one model; an epoch is one pass over all windows.

    Args:
        model: on the device where it is to train.
        items: inputs of its items.
        sequences: what it is trained on.
        config: of the spoke.
        team: the processes that train it.
        horizon: epochs that the learning rate's schedule spans.
    """

    def __init__(
        self,
        model: BehaviourModel,
        items: ItemInputs,
        sequences: SequenceSource,
        config: SpokeConfig,
        team: Team,
        horizon: int,
    ) -> None:
        self._model = model
        self._settings = config.training
        self._team = team
        self._horizon = horizon
        self.device = model.ids.weight.device
        self._objective = Objective(model, items, sequences.item_counts(), config, team)
        self._named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        slower = {PREFIX: config.encoder_adapter.learning_rate_factor} if config.encoder_adapter else {}
        self._optimiser = adamw(self._named, config.training.learning_rate, slower)
        if not team.leads:
            # Equal dropout in every process would make one sample of several.
            torch.manual_seed(int(np.random.SeedSequence((config.seed, team.rank)).generate_state(1)[0]))

    def epoch(self, batches: BucketedBatches, number: int) -> float:
        """Mean loss per batch."""
        self._objective.start(number)
        self._model.train()
        told, losses, windows = array("d"), [], 0
        for batch in batches.epoch(number):
            windows += len(batch.inputs)
            self._set_rate(number + windows / batches.n_windows)
            losses.append(self._step(batch))
            # Waiting for the device is dear, and so are the tensors of a long epoch: one wait for many batches.
            if len(losses) == LOSSES_HELD:
                told.extend(torch.stack(losses).tolist())
                losses = []
        if losses:
            told.extend(torch.stack(losses).tolist())
        return float(np.mean(told))

    def _step(self, batch: Batch) -> Tensor:
        with autocast_for(self.device):
            loss = self._objective.loss(batch)
        for parameter in self._named.values():
            parameter.grad = None
        if not self._team.alone:
            # The batch's mean is the sum of what its positions give, wherever they are computed.
            loss = loss * (int(self._team.share(batch).scored.sum()) / int(batch.scored.sum()))
        if loss.requires_grad:
            loss.backward()
        if not self._team.alone:
            loss = self._team.sum_gradients(self._named.values(), loss)
        self._optimiser.step()
        return loss.detach()

    def _set_rate(self, done: float) -> None:
        factor = rate_factor(done, self._horizon)
        for group in self._optimiser.param_groups:
            group["lr"] = self._settings.learning_rate * group["share"] * factor

    def tensors(self) -> dict[str, Tensor]:
        """Weights, moments and generators, of all processes; every process has to ask."""
        held = {f"model/{name}": weight for name, weight in self._model.state_dict().items()}
        for name, parameter in self._named.items():
            for key, value in self._optimiser.state.get(parameter, {}).items():
                held[f"adam/{name}/{key}"] = value
        for rank, state in enumerate(self._team.gather(torch.get_rng_state(), self.device)):
            held[f"rng/cpu/{rank}"] = state
        if self.device.type == "cuda":
            for rank, state in enumerate(self._team.gather(torch.cuda.get_rng_state(self.device), self.device)):
                held[f"rng/cuda/{rank}"] = state
        nearest = self._objective.hard.nearest if self._objective.hard else None
        return held if nearest is None else held | {"hard/nearest": torch.from_numpy(nearest)}

    def facts(self) -> dict[str, Any]:
        return {"negatives": self._objective.rng.bit_generator.state}

    def load(self, checkpoint: Checkpoint) -> None:
        self._model.load_state_dict(checkpoint.group("model"))
        moments = checkpoint.group("adam")
        for name, parameter in self._named.items():
            own = {
                key: moments[f"{name}/{key}"] for key in ("step", "exp_avg", "exp_avg_sq") if f"{name}/{key}" in moments
            }
            if own:
                self._optimiser.state[parameter] = {key: value.to(self.device) for key, value in own.items()}
        generators = checkpoint.group("rng")
        # A process that was not there before keeps the generator that it was given.
        if f"cpu/{self._team.rank}" in generators:
            torch.set_rng_state(generators[f"cpu/{self._team.rank}"])
        if self.device.type == "cuda" and f"cuda/{self._team.rank}" in generators:
            torch.cuda.set_rng_state(generators[f"cuda/{self._team.rank}"], self.device)
        self._objective.rng.bit_generator.state = checkpoint.facts["negatives"]
        if self._objective.hard and "hard/nearest" in checkpoint.tensors:
            self._objective.hard.nearest = checkpoint.tensors["hard/nearest"].numpy()


@dataclass
class _Log:
    """Checkpoints of a running training, where it keeps any.

    Attributes:
        checkpoints: where and how often.
        trainer: what is stored.
        best: likewise.
        made_for: fingerprint of the training.
        team: rank 0 of it writes.
        began: when this process began to train, on the clock of `time.perf_counter`.
        seconds: of training proper so far.
        before: of earlier processes, validation included, up to the checkpoint.
    """

    checkpoints: Checkpoints | None
    trainer: _Trainer
    best: _Best
    made_for: str
    team: Team
    began: float
    seconds: float = 0.0
    before: float = 0.0

    def resume(self) -> int:
        """Epochs done before, whose state is taken on.

        Raises:
            UsageError: the processes of the training see different checkpoints.
        """
        if self.checkpoints is None:
            return 0
        found = newest_checkpoint(self.checkpoints.folder, self.made_for)
        done = found.epoch if found else 0
        if not self.team.agrees(done, self.trainer.device):
            raise UsageError(
                f"Rank {self.team.rank} finds {done} epochs done in {self.checkpoints.folder}, other ranks another "
                "number; put the workspace's cache where all of them see it, or remove that folder."
            )
        if found:
            self.trainer.load(found)
            self.best.load(found.facts["best"], found.group("best"))
            self.seconds, self.before = found.facts["seconds"], found.facts["elapsed"]
        return done

    def store(self, done: int, *, last: bool) -> None:
        """Leave a checkpoint where one is due."""
        if self.checkpoints is None or not (last or done % self.checkpoints.every == 0):
            return
        tensors = self.trainer.tensors() | {f"best/{name}": weight for name, weight in self.best.weights.items()}
        elapsed = self.before + time.perf_counter() - self.began
        spent = {"seconds": self.seconds, "elapsed": elapsed}
        facts = self.trainer.facts() | {"best": self.best.facts(), **spent}
        if self.team.leads:
            write_checkpoint(self.checkpoints.folder, self.made_for, Checkpoint(done, tensors, facts))

"""Training of the behavioural part: optimiser, schedule, early stopping; on one process or several, from a checkpoint.

The same seed on as many threads gives the same weights, and so does a training that was killed and goes on.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...catalog.streams import SequenceSource
from ...errors import UsageError
from ...hub.adapters.adapted import PREFIX
from ...hub.devices import autocast_for
from ...hub.distributed import World, join_world
from ...hub.training.checkpoints import Checkpoint, Checkpoints, newest_checkpoint
from ...progress import StepProgress
from ..config import SpokeConfig
from ..model import BehaviourModel, ItemInputs
from .batches import Batch, BucketedBatches, share, training_batches
from .memory import refuse_beyond_device
from .objective import Objective
from .optimiser import adamw, rate_factor
from .stability import Hold

Validate = Callable[[BehaviourModel], float]
# Losses of so many batches wait on the device before they are asked for.
LOSSES_HELD = 4096


@dataclass(frozen=True)
class TrainingRun:
    """What a training did."""

    best_epoch: int  # epochs behind the weights that the model now holds
    best_score: float  # of those weights on validation; nan without
    history: tuple[dict[str, float], ...]  # one row per validation: epoch, loss, score, seconds
    windows_per_second: float  # of training proper, validation excluded
    seconds_before: float = 0.0  # of earlier processes, up to the checkpoint it went on from, validation included


def train_behaviour(
    model: BehaviourModel,  # on the device where it is to train
    items: ItemInputs,  # of the N items that `sequences` speak of, on the same device
    sequences: SequenceSource,  # one per session or user; of a stream two shards are held at a time
    config: SpokeConfig,
    *,
    hold: Hold | None = None,  # on the weights that the model starts from
    validate: Validate | None = None,  # higher is better
    epochs: int | None = None,  # in the place of `max_epochs`: a refit takes the count that was chosen before
    progress: StepProgress | None = None,  # told the epochs done and the upper bound after each epoch
    checkpoints: Checkpoints | None = None,  # where the training goes on from, if begun before, and leaves its own
) -> TrainingRun:
    """Train in place; with `validate`, stop early and end with the best weights, else after `epochs` with the last.

    Under torchrun every process calls this with the same arguments and ends with the same weights; rank 0 alone
    validates, reports and stores.
    """
    settings, device = config.training, model.ids.weight.device
    total = settings.max_epochs if epochs is None else epochs
    refuse_beyond_device(config, max(model.ids.num_embeddings - 1, 0), len(items), items.content_columns, device)
    world = join_world(device)
    world.share_weights(model)
    batches = training_batches(sequences, config)
    training = _Training(model, items, sequences, config, world, hold, horizon=max(settings.max_epochs, total))
    made_for = _made_for(model, sequences, config, total) if checkpoints else ""
    if checkpoints:
        training.resume(newest_checkpoint(checkpoints.folder, made_for), checkpoints)
    while training.done < total and batches.n_windows and training.failures < settings.patience:
        loss = training.epoch(batches)
        if progress and world.leads:
            progress(training.done, total)
        if validate and (training.done % settings.validate_every == 0 or training.done == total):
            training.record(loss, world.broadcast(validate(model) if world.leads else None))
        if checkpoints and world.leads:
            checkpoints.check()
        ends = training.done == total or training.failures >= settings.patience
        if checkpoints and (ends or training.done % checkpoints.every == 0):
            reached = training.checkpoint()
            if world.leads:
                checkpoints.write(made_for, reached)
    rate = batches.n_windows * training.done / training.seconds if training.seconds else 0.0
    if validate is None or not training.history:
        return TrainingRun(training.done, float("nan"), (), rate, training.before)
    if training.best:
        model.load_state_dict(training.best)
    return TrainingRun(training.best_epoch, training.best_score, tuple(training.history), rate, training.before)


def _made_for(model: BehaviourModel, sequences: SequenceSource, config: SpokeConfig, total: int) -> str:
    """SHA-256 over what decides a training: its config, its length, its events, the weights that it starts from."""
    digest = hashlib.sha256(f"{config.model_dump_json()}|{total}|{sequences.fingerprint}".encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.cpu().contiguous().numpy().data)
    return digest.hexdigest()


class _Training:
    """One optimiser over one model, and all that a checkpoint holds of it; an epoch is one pass over all windows."""

    def __init__(
        self,
        model: BehaviourModel,
        items: ItemInputs,
        sequences: SequenceSource,
        config: SpokeConfig,
        world: World,
        hold: Hold | None,
        horizon: int,
    ) -> None:
        self._model, self._world, self._hold, self._horizon = model, world, hold, horizon
        self._rate = config.training.learning_rate
        self._device = model.ids.weight.device
        self._objective = Objective(model, items, sequences.item_counts(), config, world)
        self._named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        slower = {PREFIX: config.encoder_adapter.learning_rate_factor} if config.encoder_adapter else {}
        self._optimiser = adamw(self._named, self._rate, slower)
        if not world.leads:
            # Equal dropout in every process would make one sample of several.
            torch.manual_seed(int(np.random.SeedSequence((config.seed, world.rank)).generate_state(1)[0]))
        self.done = 0  # epochs
        self.seconds, self.before = 0.0, 0.0  # of training proper; of earlier processes up to the checkpoint
        self.best: dict[str, Tensor] = {}  # the weights with the best validation so far, and validations since
        self.best_epoch, self.best_score, self.failures = 0, float("-inf"), 0
        self.history: list[dict[str, float]] = []
        self._began = time.perf_counter()

    def epoch(self, batches: BucketedBatches) -> float:
        """Mean loss per batch."""
        started = time.perf_counter()
        self._objective.start(self.done)
        if self._hold:
            self._hold.start(self.done)
        self._model.train()
        found, waiting, windows = array("d"), [], 0
        for batch in batches.epoch(self.done):
            windows += len(batch.inputs)
            factor = rate_factor(self.done + windows / batches.n_windows, self._horizon)
            for group in self._optimiser.param_groups:
                group["lr"] = self._rate * group["share"] * factor
            waiting.append(self._step(batch))
            # Waiting for the device is dear, and so are the tensors of a long epoch: one wait for many batches.
            if len(waiting) == LOSSES_HELD:
                found.extend(torch.stack(waiting).tolist())
                waiting = []
        if waiting:
            found.extend(torch.stack(waiting).tolist())
        self.done += 1
        self.seconds += time.perf_counter() - started
        return float(np.mean(found))

    def _step(self, batch: Batch) -> Tensor:
        with autocast_for(self._device):
            loss = self._objective.loss(batch)
        if self._hold:
            loss = loss + self._hold.loss()
        for parameter in self._named.values():
            parameter.grad = None
        shared = self._world.size > 1
        if shared:
            # The batch's mean is the sum of what its positions give, wherever they are computed.
            loss = loss * (int(share(batch, self._world).scored.sum()) / int(batch.scored.sum()))
        if loss.requires_grad:
            loss.backward()
        if shared:
            loss = self._world.sum_gradients(self._named.values(), loss)
        self._optimiser.step()
        return loss.detach()

    def record(self, loss: float, score: float) -> None:
        """Take down a validation, and the weights where they are the best so far."""
        self.history.append({"epoch": self.done, "loss": loss, "score": score, "seconds": round(self.seconds, 2)})
        if score > self.best_score:
            self.best_epoch, self.best_score, self.failures = self.done, score, 0
            self.best = {name: weight.clone() for name, weight in self._model.state_dict().items()}
        else:
            self.failures += 1

    def checkpoint(self) -> Checkpoint:
        """Weights, moments and generators of all processes; every process has to ask."""
        held = {f"model/{name}": weight for name, weight in self._model.state_dict().items()}
        held |= {f"best/{name}": weight for name, weight in self.best.items()}
        for name, parameter in self._named.items():
            for key, value in self._optimiser.state.get(parameter, {}).items():
                held[f"adam/{name}/{key}"] = value
        generators = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self._device)
        for rank, states in enumerate(self._world.gather(generators)):
            held |= {f"rng/{device}/{rank}": state for device, state in states.items()}
        if self._objective.hard and self._objective.hard.nearest is not None:
            held["hard/nearest"] = torch.from_numpy(self._objective.hard.nearest)
        best = {"epoch": self.best_epoch, "score": self.best_score, "failures": self.failures, "history": self.history}
        facts = {
            "negatives": self._objective.rng.bit_generator.state,
            "best": best,
            "seconds": self.seconds,
            "elapsed": self.before + time.perf_counter() - self._began,
        }
        return Checkpoint(self.done, held, facts)

    def resume(self, found: Checkpoint | None, checkpoints: Checkpoints) -> None:
        """Go on from a checkpoint, where there is one."""
        done = found.epoch if found else 0
        if len({*self._world.gather(done)}) > 1:
            raise UsageError(
                f"Rank {self._world.rank} finds {done} epochs done in {checkpoints.folder}, other ranks another "
                "number; put the workspace's cache where all of them see it, or remove that folder."
            )
        if found is None:
            return
        self.done, self.seconds, self.before = done, found.facts["seconds"], found.facts["elapsed"]
        best = found.facts["best"]
        self.best_epoch, self.best_score, self.failures = best["epoch"], best["score"], best["failures"]
        self.history = best["history"]
        self._model.load_state_dict(found.group("model"))
        self.best = {name: weight.to(self._device) for name, weight in found.group("best").items()}
        moments = found.group("adam")
        for name, parameter in self._named.items():
            own = {key: moments.get(f"{name}/{key}") for key in ("step", "exp_avg", "exp_avg_sq")}
            state = {key: value.to(self._device) for key, value in own.items() if value is not None}
            if state:
                self._optimiser.state[parameter] = state
        # A process that was not there before keeps the generator that it was given.
        generators, rank = found.group("rng"), self._world.rank
        if f"cpu/{rank}" in generators:
            torch.set_rng_state(generators[f"cpu/{rank}"])
        if self._device.type == "cuda" and f"cuda/{rank}" in generators:
            torch.cuda.set_rng_state(generators[f"cuda/{rank}"], self._device)
        self._objective.rng.bit_generator.state = found.facts["negatives"]
        if self._objective.hard and "hard/nearest" in found.tensors:
            self._objective.hard.nearest = found.tensors["hard/nearest"].numpy()

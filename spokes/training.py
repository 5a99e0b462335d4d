"""Training of the behavioural part: softmax, sampled over shared negatives or full, with early stopping."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..catalog.sequences import Sequences
from ..hub.devices import autocast_for
from .batches import Batch, BucketedBatches, training_batches
from .behaviour import BehaviourModel, ItemInputs
from .config import SpokeConfig
from .losses import full_softmax_loss, sampled_softmax_loss

Validate = Callable[[BehaviourModel], float]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TrainingRun:
    """What a training did.

    Attributes:
        best_epoch: epochs behind the weights that the model now holds.
        best_score: validation score of those weights; nan without validation.
        history: one row per validation (epoch, loss, score, seconds).
        windows_per_second: training windows per second of training proper, validation excluded.
    """

    best_epoch: int
    best_score: float
    history: tuple[dict[str, float], ...]
    windows_per_second: float


def train_behaviour(
    model: BehaviourModel,
    items: ItemInputs,
    sequences: Sequences,
    config: SpokeConfig,
    *,
    validate: Validate | None = None,
    epochs: int | None = None,
    progress: Progress | None = None,
) -> TrainingRun:
    """Train in place; with `validate`, stop early and end with the best weights, else after `epochs` with the last.

    Args:
        model: on the device where it is to train.
        items: inputs of the N items that `sequences` speak of, on the same device.
        sequences: training sequences, one per session or user.
        config: optimiser, batches and stopping.
        validate: higher is better; called every `config.training.validate_every` epochs.
        epochs: overrides `max_epochs`; used when refitting for an epoch count chosen before.
        progress: called after each epoch with the epochs done and the upper bound.
    """
    settings = config.training
    total = settings.max_epochs if epochs is None else epochs
    batches = training_batches(sequences, config)
    trainer = _Trainer(model, items, config)
    best = _Best(model, settings.patience)
    seconds = 0.0
    done = 0
    for epoch in range(total if batches.n_windows else 0):
        started = time.perf_counter()
        loss = trainer.epoch(batches, epoch)
        seconds += time.perf_counter() - started
        done = epoch + 1
        if progress:
            progress(done, total)
        if validate and (done % settings.validate_every == 0 or done == total):
            best.record(done, loss, validate(model), seconds)
            if best.exhausted:
                break
    rate = batches.n_windows * done / seconds if seconds else 0.0
    if validate is None or not best.history:
        return TrainingRun(done, float("nan"), (), rate)
    best.restore()
    return TrainingRun(best.epoch, best.score, tuple(best.history), rate)


class _Best:
    """The best weights so far, and whether patience has run out."""

    def __init__(self, model: BehaviourModel, patience: int) -> None:
        self._model = model
        self._patience = patience
        self._weights: dict[str, Tensor] = {}
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
            self._weights = {name: weight.clone() for name, weight in self._model.state_dict().items()}
        else:
            self._failures += 1

    def restore(self) -> None:
        if self._weights:
            self._model.load_state_dict(self._weights)


class _Trainer:
    """One optimiser over one model; an epoch is one pass over all windows."""

    def __init__(self, model: BehaviourModel, items: ItemInputs, config: SpokeConfig) -> None:
        self._model = model
        self._items = items
        self._sampled = config.training.loss == "sampled-softmax"
        self._negatives = config.training.negatives
        self._device = model.ids.weight.device
        self._rng = np.random.default_rng(config.seed)
        self._optimiser = torch.optim.AdamW(
            [p for p in model.parameters() if p.requires_grad],
            lr=config.training.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=config.training.weight_decay,
        )

    def epoch(self, batches: BucketedBatches, number: int) -> float:
        """Mean loss per batch."""
        self._model.train()
        losses = []
        for batch in batches.epoch(number):
            with autocast_for(self._device):
                loss = self._loss(batch)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self._optimiser.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses))

    def _loss(self, batch: Batch) -> Tensor:
        return self._sampled_loss(batch) if self._sampled else self._full_loss(batch)

    def _sampled_loss(self, batch: Batch) -> Tensor:
        """Sampled softmax over the Q scored positions of a batch; only the item rows in use are embedded."""
        negatives = self._rng.integers(len(self._items), size=self._negatives)
        inputs, targets = batch.rows, batch.targets[batch.scored]
        rows, inverse = np.unique(np.concatenate([inputs, targets, negatives]), return_inverse=True)
        vectors = self._model.embed_items(self._items.rows(self._tensor(rows)))  # (U, D)
        place = self._tensor(inverse)
        given, positives, drawn = place.split([len(inputs), len(targets), len(negatives)])
        hidden = self._model.encode_batch(vectors[given], batch)  # (Q, D)
        positive = (hidden * vectors[positives]).sum(dim=1)
        negative = hidden @ vectors[drawn].T  # (Q, K)
        return sampled_softmax_loss(positive, negative, self._tensor(targets), self._tensor(negatives))

    def _full_loss(self, batch: Batch) -> Tensor:
        """Softmax over the whole catalog at the Q scored positions of a batch; every item is embedded."""
        vectors = self._model.embed_items(self._items)  # (N, D)
        hidden = self._model.encode_batch(vectors[self._tensor(batch.rows)], batch)  # (Q, D)
        return full_softmax_loss(hidden @ vectors.T, self._tensor(batch.targets[batch.scored]))

    def _tensor(self, array: np.ndarray[tuple[int, ...], np.dtype[np.int64 | np.bool_]]) -> Tensor:
        return torch.from_numpy(array).to(self._device)

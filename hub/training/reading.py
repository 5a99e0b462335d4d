"""Learning to read sessions: which event, which block and how much crowding tell what is taken next, on any catalog.

A session of the training shows one item that was taken next (the positive) among negatives. The loss is minus the mean
softmax probability of the positive, generalised cross-entropy with q = 1 (Zhang & Sabuncu, 2018): it is bounded, so
that the many next items which no content explains cost no more than being missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...arrays import BoolArray, FloatArray, IntArray
from ...catalog.sequences import Sequences
from ...progress import StepProgress
from ..config import HubConfig, ReadingConfig
from ..content import ContentSpace
from ..reading import CROWDING, Reading, last_rows
from .losses import bounded_loss

# Scores of sessions over a catalog that are held at once while negatives are chosen.
MAX_SCORES = 4_000_000
# A drawn negative that is no negative.
NEVER = -1e9


@dataclass(frozen=True)
class ReadingExamples:
    """E sessions of one category with C candidates each, the positive first."""

    names: tuple[str, ...]  # blocks that the category has, the columns of `similarities`
    similarities: FloatArray  # (E, C, B, H) of each candidate to the last events, the newest first, in spreads
    crowding: FloatArray  # (E, C)
    log_weights: FloatArray  # (E, C) logarithm of how many items of the catalog a candidate stands for

    def __len__(self) -> int:
        return len(self.log_weights)


def reading_examples(
    embeddings: FloatArray, space: ContentSpace, sequences: Sequences, start: Reading, config: HubConfig
) -> ReadingExamples:
    """One example of each of up to `reading.sessions` sessions over the (N, R) content embeddings of a catalog."""
    rng = np.random.default_rng(config.seed)
    histories, positives = _drawn_sessions(sequences, config.reading.sessions, rng)
    names = tuple(name for name in start.lags if name in space.columns)
    weights, reader = space.modality_weights(space.image_share(config)), start.on(space)
    nearest = min(config.reading.nearest, len(embeddings) // 4)
    count = 1 + nearest + config.reading.uniform
    events = config.recent_events
    similarities = np.zeros((len(histories), count, len(names), events), np.float32)
    crowding = np.zeros((len(histories), count), np.float32)
    log_weights = np.zeros((len(histories), count), np.float32)
    log_weights[:, 1 + nearest :] = np.log(max(len(embeddings) - nearest - 1, 1) / config.reading.uniform)
    block = max(1, MAX_SCORES // max(1, len(embeddings)))
    for begin in range(0, len(histories), block):
        own, part = histories[begin : begin + block], slice(begin, begin + block)
        queries: FloatArray = reader.read(embeddings, own) * weights  # (b, R)
        scores = queries @ embeddings.T  # (b, N)
        candidates, taken = _candidates(scores, own, positives[part], nearest, config.reading.uniform, rng)
        log_weights[part][taken] = NEVER
        rows, known = last_rows(own, events)
        for nth, name in enumerate(names):
            columns = space.columns[name]
            shown, looked = embeddings[candidates, columns], embeddings[rows, columns]
            found = np.einsum("bcr,bhr->bch", shown, looked, optimize=True) / space.spreads[name]
            similarities[part, :, nth] = found * known[:, None, :]
        if CROWDING in space.columns:
            column = space.columns[CROWDING].start
            crowding[part] = weights[column] * embeddings[candidates, column]
    shares = np.array([weights[space.columns[name].start] for name in names], np.float32)
    return ReadingExamples(names, similarities * shares[:, None], crowding, log_weights)


def train_reading(
    start: Reading,
    categories: Sequence[ReadingExamples],
    config: ReadingConfig,
    *,
    seed: int,
    progress: StepProgress | None = None,
) -> tuple[Reading, list[float]]:
    """Learn on all categories in turn; returns the reading and the loss of each epoch."""
    names, events = [*start.lags], start.events
    begin = torch.tensor([start.lags[name] for name in names], dtype=torch.float32)  # (B, H)
    lags, crowding = begin.clone().requires_grad_(), torch.tensor(start.crowding, requires_grad=True)
    sets = [_tensors(own, names, events) for own in categories if len(own)]
    batches = [(nth, first) for nth, own in enumerate(sets) for first in range(0, len(own[2]), config.batch_size)]
    optimiser = torch.optim.Adam([lags, crowding], lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, config.epochs * len(batches)))
    rng, losses = np.random.default_rng(seed), []
    for epoch in range(config.epochs):
        orders = [rng.permutation(len(own[2])) for own in sets]
        total = 0.0
        for nth, first in (batches[own] for own in rng.permutation(len(batches))):
            rows = torch.from_numpy(orders[nth][first : first + config.batch_size])
            similarities, crowded, log_weights = (own[rows] for own in sets[nth])
            scores = torch.einsum("ecbh,bh->ec", similarities, lags) + crowded * crowding
            loss = bounded_loss(scores + log_weights) + config.decay * ((lags - begin) ** 2).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        losses.append(total / max(1, len(batches)))
        if progress:
            progress(epoch + 1, config.epochs)
    learned = {name: tuple(own) for name, own in zip(names, lags.detach().tolist(), strict=True)}
    return Reading(lags=learned, crowding=float(crowding.detach())), losses


def _drawn_sessions(sequences: Sequences, at_most: int, rng: np.random.Generator) -> tuple[list[IntArray], IntArray]:
    """Histories, oldest first, with an item that followed and was new to them: one of each of some sessions."""
    histories, positives = [], []
    for nth in rng.permutation(np.flatnonzero(sequences.lengths >= 2)):
        items = sequences[nth]
        place = int(rng.integers(1, len(items)))
        if items[place] not in items[:place]:
            histories.append(items[:place])
            positives.append(items[place])
        if len(histories) >= at_most:
            break
    return histories, np.array(positives, np.int64)


def _candidates(
    scores: FloatArray,  # (b, N)
    histories: Sequence[IntArray],
    positives: IntArray,
    nearest: int,
    uniform: int,
    rng: np.random.Generator,
) -> tuple[IntArray, BoolArray]:
    """(b, C) the positive, the best others and a uniform sample, and which of the sample stand there for nothing."""
    rows = np.arange(len(scores))
    hidden = scores.copy()
    for nth, history in enumerate(histories):
        hidden[nth, history] = -np.inf
    hidden[rows, positives] = -np.inf
    best = np.argpartition(-hidden, nearest, axis=1)[:, :nearest] if nearest else np.zeros((len(rows), 0), np.int64)
    drawn = rng.integers(0, scores.shape[1], (len(rows), uniform))
    # What is hidden was seen or is the positive; what is among the best stands there already.
    np.put_along_axis(hidden, best, -np.inf, axis=1)
    excluded = np.zeros((len(rows), 1 + nearest + uniform), np.bool_)
    excluded[:, 1 + nearest :] = np.isneginf(np.take_along_axis(hidden, drawn, axis=1))
    return np.concatenate([positives[:, None], best, drawn], axis=1), excluded


def _tensors(own: ReadingExamples, names: Sequence[str], events: int) -> tuple[Tensor, Tensor, Tensor]:
    """An example set over all blocks; those that a category lacks are zero."""
    similarities = np.zeros((len(own), own.log_weights.shape[1], len(names), events), np.float32)
    for nth, name in enumerate(own.names):
        similarities[:, :, names.index(name)] = own.similarities[:, :, nth]
    return torch.from_numpy(similarities), torch.from_numpy(own.crowding), torch.from_numpy(own.log_weights)

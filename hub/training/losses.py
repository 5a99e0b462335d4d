"""Losses over pairs that belong together, and the pull on what has a place already; each a pure function.

Shapes: B pairs; C >= B candidates, of which the first B are the partners, so that the diagonal holds the positives, and
the rest are further negatives. `similarity` (B, C) is divided by the temperature already; `false` (B, C) is true where
an entry off the diagonal is no real negative.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

PairLoss = Callable[[Tensor, Tensor], Tensor]


def info_nce_loss(similarity: Tensor, false: Tensor) -> Tensor:
    """Symmetric InfoNCE: the mean of both directions of -log softmax probability of the positive.

    loss = mean_b [ -log p(b | row b) - log p(b | column b) ] / 2 with p(b | row b) = exp(s_bb) / sum_c exp(s_bc): a row
    is over all candidates and a column over the B pairs. van den Oord et al., 2018; both directions as in CLIP,
    Radford et al., 2021.
    """
    logits = without_false(similarity, false)
    square, labels = logits[:, : len(logits)], torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(square.T, labels)) / 2


def bounded_pair_loss(similarity: Tensor, false: Tensor) -> Tensor:
    """The same pairs by minus the mean softmax probability of the positive: between -1 and 0.

    loss = -mean_b [ p(b | row b) + p(b | column b) ] / 2. Generalised cross-entropy with q = 1, Zhang & Sabuncu, 2018:
    a pair that content cannot explain costs one at most, so that it does not spoil what is learned from the others.
    """
    logits = without_false(similarity, false)
    square = logits[:, : len(logits)]
    rows, columns = logits.softmax(dim=1).diagonal(), square.softmax(dim=0).diagonal()
    return -(rows.mean() + columns.mean()) / 2


def bounded_loss(logits: Tensor) -> Tensor:
    """Minus the mean softmax probability of the first of C candidates (E, C): between -1 and 0."""
    return -logits.softmax(dim=1)[:, 0].mean()


def anchor_loss(vectors: Tensor, anchors: Tensor, unit: Tensor) -> Tensor:
    """Mean squared distance of (K, D) vectors to where an earlier version had them: `mean_kd (v_kd - a_kd)^2 / unit^2`.

    `unit` is the root mean square column of all anchors, so that a weight means the same in every dimension and scale:
    where all items have moved as far, the loss is the square of `drift.embedding_drift`'s distance.
    """
    return ((vectors - anchors) / unit).square().mean()


def without_false(similarity: Tensor, false: Tensor) -> Tensor:
    """(B, C) logits in which no false negative counts; the positives stay, whatever is said of them."""
    positives = torch.eye(*similarity.shape, dtype=torch.bool, device=similarity.device)
    return similarity.masked_fill(false & ~positives, float("-inf"))

"""Contrastive training of the base fusion on items that shoppers met together, over all domains in turn."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...arrays import IntArray
from ...progress import StepProgress
from ..config import ContrastiveConfig
from ..content import ContentSpace
from ..fusion import BaseFusion, EncodedItems
from .losses import anchor_loss, info_nce_loss


@dataclass(frozen=True)
class ContrastiveDomain:
    """One category's share of the training: its encoder outputs, its frozen content space and its pairs (P, 2)."""

    encoded: EncodedItems
    space: ContentSpace
    pairs: IntArray
    anchored: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))  # (A,) items that are to stay in place


class CalibratedSpace:
    """A domain's frozen content space as torch tensors, so that the loss is taken where the space is used."""

    def __init__(self, domain: ContrastiveDomain, image_share: float, device: torch.device) -> None:
        self.x = torch.from_numpy(domain.encoded.joined())
        self.pairs, self.anchored = domain.pairs, domain.anchored
        self._split = [domain.encoded.text.shape[1], domain.encoded.image.shape[1]]
        self._blocks = [
            (torch.from_numpy(block.mean).to(device), torch.from_numpy(block.transform).to(device)) if block else None
            for block in (domain.space.text, domain.space.image)
        ]
        both = all(block is not None for block in self._blocks)
        self._weights = (1 - image_share, image_share) if both else (1.0, 1.0)

    def embed(self, fused: Tensor) -> Tensor:
        """(B, Dt + Dv) fused vectors to (B, R) whose inner product is the content score."""
        parts = []
        for raw, block, weight in zip(fused.split(self._split, dim=1), self._blocks, self._weights, strict=True):
            if block is None:
                continue
            # Each side takes the root of the weight, so that their product has it once.
            present = (raw != 0).any(dim=1, keepdim=True)
            parts.append(F.normalize((raw - block[0]) @ block[1], dim=1) * present * weight**0.5)
        return torch.cat(parts, dim=1)


def train_fusion(
    start: BaseFusion,
    domains: Sequence[ContrastiveDomain],
    config: ContrastiveConfig,
    *,
    image_share: float,
    seed: int,
    progress: StepProgress | None = None,
) -> tuple[BaseFusion, list[float]]:
    """A trained copy of `start` and the loss of every step; domains take turns by the square root of their pairs."""
    fusion = copy.deepcopy(start).train()
    # A category whose items have neither text nor pictures has pairs but nothing to compare them by.
    usable = [d for d in domains if len(d.pairs) and d.space.dimension]
    spaces = [CalibratedSpace(d, image_share, fusion.down.weight.device) for d in usable]
    if not spaces or config.steps == 0:
        return fusion.eval(), []
    optimiser = torch.optim.AdamW(fusion.parameters(), lr=config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    # Between equal turns, which repeat the pairs of a small category, and turns by size, in which it drowns.
    rng = np.random.default_rng(seed)
    shares = np.sqrt([len(space.pairs) for space in spaces])
    turns = rng.choice(len(spaces), size=config.steps, p=shares / shares.sum())
    losses = []
    for step, turn in enumerate(turns, 1):
        space = spaces[turn]
        pairs = space.pairs[rng.integers(len(space.pairs), size=config.batch_size)]  # (B, 2)
        loss = pair_loss(fusion, space, pairs, config.temperature)
        if config.anchor and len(space.anchored):
            drawn = space.anchored[rng.integers(len(space.anchored), size=config.batch_size)]
            loss = loss + config.anchor * held_loss(fusion, start, space, drawn)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if progress:
            progress(step, config.steps)
    return fusion.eval(), losses


def pair_loss(fusion: BaseFusion, space: CalibratedSpace, pairs: IntArray, temperature: float) -> Tensor:
    """InfoNCE of B pairs of rows (B, 2), scored as the content space scores them."""
    device = fusion.down.weight.device
    rows, inverse = np.unique(pairs, return_inverse=True)  # an item of many pairs is embedded once
    z = space.embed(fusion(space.x[torch.from_numpy(rows)].to(device)))  # (rows, R)
    anchors, positives = torch.from_numpy(inverse.reshape(pairs.shape)).to(device).unbind(dim=1)  # (B,) each
    left, right = z[anchors], z[positives]  # (B, R) each
    # An item met twice in a batch, on either side, is no negative of its own partner or of itself.
    same = anchors[:, None] == anchors[None, :]
    same |= (positives[:, None] == positives[None, :]) | (anchors[:, None] == positives[None, :])
    return info_nce_loss(left @ right.T / temperature, same)


def held_loss(fusion: BaseFusion, start: BaseFusion, space: CalibratedSpace, rows: IntArray) -> Tensor:
    """`anchor_loss` of some items (K,) to where the start of the training has them in a domain's content space."""
    x = space.x[torch.from_numpy(rows)].to(fusion.down.weight.device)
    with torch.no_grad():
        anchors = space.embed(start(x))  # (K, R)
    return anchor_loss(space.embed(fusion(x)), anchors, anchors.square().mean().sqrt().clamp(min=1e-6))

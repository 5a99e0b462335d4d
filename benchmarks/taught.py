"""What categories teach others of pictures and words, for `pictures.py`: in closed form, and heads by contrast."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from hubspoke.arrays import FloatArray, IntArray
from hubspoke.hub.calibration import fit_calibration, unit_rows
from hubspoke.hub.config import CalibrationConfig
from hubspoke.hub.content import ContentSpace, fit_content_space
from hubspoke.hub.fusion import EncodedItems
from hubspoke.hub.model import Hub
from hubspoke.hub.training.losses import info_nce_loss
from hubspoke.workflows.datasets import Dataset

# Of heads taught by other categories: columns of the coordinates that categories share and of the heads, and training.
SHARED, STEPS, BATCH, TEMPERATURE, RATE = 256, 400, 512, 0.05, 1e-3


@dataclass(frozen=True)
class Catalog:
    """A category under one hub."""

    dataset: Dataset
    hub: Hub
    encoded: EncodedItems

    @property
    def name(self) -> str:
        """Of its domain."""
        return self.dataset.domain.name

    @cached_property
    def space(self) -> ContentSpace:
        """Its content space."""
        return fit_content_space(self.encoded, self.hub.config)

    @cached_property
    def both(self) -> IntArray:
        """Rows of the items that have texts and pictures."""
        return np.flatnonzero(self.encoded.has_text & self.encoded.has_image)

    @cached_property
    def groups(self) -> IntArray:
        """(N,) number of each item's text."""
        return np.unique(self.encoded.text, axis=0, return_inverse=True)[1].reshape(-1)

    @cached_property
    def lines(self) -> IntArray:
        """(N,) 0 or 1: items whose titles begin with the same word are on the same side."""
        titles = self.dataset.items["title"].to_list()
        return np.array([zlib.crc32((title or "").split(" ")[0].lower().encode()) % 2 for title in titles])


class Taught:
    """What other categories teach of pictures and words: coordinates that all share, and maps between them."""

    def __init__(self, others: Sequence[Catalog]) -> None:
        pairs = [_centred(other) for other in others]
        weights = [len(x) ** 0.5 for x, _ in pairs]  # between equal turns and turns by size
        self._sides = [_whitening([pair[side] for pair in pairs], weights) for side in (0, 1)]
        self._pairs = [tuple(own @ side for own, side in zip(pair, self._sides, strict=True)) for pair in pairs]
        self._groups = [other.groups[other.both] for other in others]
        self._turns = np.array(weights) / sum(weights)
        self._heads: dict[int, tuple[FloatArray, FloatArray]] = {}

    def shared(self, catalog: Catalog) -> tuple[FloatArray, FloatArray]:
        """The pictures and texts of a catalog's items that have both, in shared coordinates."""
        x, y = _centred(catalog)
        return x @ self._sides[0], y @ self._sides[1]

    def ridge(self) -> FloatArray:
        """Pictures to texts in closed form."""
        moments = [(x.T @ x / len(x), x.T @ unit_rows(y) / len(x)) for x, y in self._pairs]
        left, right = (sum(w * own[nth] for w, own in zip(self._turns, moments, strict=True)) for nth in (0, 1))
        ridge = np.trace(left) / len(left) * np.eye(len(left))
        return np.linalg.solve(left + ridge, right).astype(np.float32)

    def heads(self, seed: int) -> tuple[FloatArray, FloatArray]:
        """One linear head for pictures and one for texts by InfoNCE within a category, equal texts masked."""
        if seed not in self._heads:
            self._heads[seed] = self._trained(seed)
        return self._heads[seed]

    def _trained(self, seed: int) -> tuple[FloatArray, FloatArray]:
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        sides = [side.shape[1] for side in self._sides]
        heads = torch.nn.ModuleList([torch.nn.Linear(width, SHARED, bias=False) for width in sides])
        optimiser = torch.optim.AdamW(heads.parameters(), lr=RATE, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for turn in rng.choice(len(self._pairs), STEPS, p=self._turns):
            rows = rng.permutation(len(self._groups[turn]))[:BATCH]
            given = [torch.from_numpy(own[rows]) for own in self._pairs[turn]]
            # A third of the columns is left out at a time, so that no head rests on a few.
            told = [F.normalize(head(F.dropout(x, 0.3)), dim=1) for head, x in zip(heads, given, strict=True)]
            groups = torch.from_numpy(self._groups[turn][rows])
            loss = info_nce_loss(told[0] @ told[1].T / TEMPERATURE, groups[:, None] == groups[None, :])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        picture, text = (head.weight.detach().numpy().T.copy() for head in heads)
        return picture, text

    def under(self, catalog: Catalog, head: FloatArray) -> EncodedItems:
        """A catalog's pictures under a head, without its texts; to be whitened on the catalog once more."""
        image = catalog.encoded.image
        centred = image - image[catalog.encoded.has_image].mean(axis=0)
        told = centred @ self._sides[0] @ head * catalog.encoded.has_image[:, None]
        return replace(catalog.encoded.only({"image"}), image=told.astype(np.float32))


def _centred(catalog: Catalog) -> tuple[FloatArray, FloatArray]:
    x, y = catalog.encoded.image[catalog.both], catalog.encoded.text[catalog.both]
    return x - x.mean(axis=0), y - y.mean(axis=0)


def _whitening(parts: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    """(D, R) the whitening of all categories together, each around its own centre."""
    scaled = np.concatenate([own * (weight / len(own)) ** 0.5 for own, weight in zip(parts, weights, strict=True)])
    transform = fit_calibration(scaled, CalibrationConfig(max_rank=SHARED, prior_items=0.01 * len(scaled))).transform
    return transform / np.float32((scaled @ transform).std())

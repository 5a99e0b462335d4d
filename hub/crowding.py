"""How crowded the content space is around an item: what is near to everything explains little of any session."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import FloatArray

# Items of the catalog that stand for it: the value of any item, new ones too, is a matter of these alone.
LANDMARKS = 2048
NEIGHBOURS = 10
BATCH = 4096


@dataclass(frozen=True)
class Crowding:
    """Mean similarity to the nearest landmarks, in units of the catalog.

    Such items are the hubs of a space. Radovanovic et al., 2010.
    """

    landmarks: FloatArray  # (M, R) unit text vectors
    scale: FloatArray  # (2,) mean and standard deviation over the catalog

    def apply(self, text: FloatArray) -> FloatArray:
        """(N, R) unit text vectors to (N, 1), zero on average; zero for a vector that is zero."""
        value = (_nearness(text, self.landmarks) - self.scale[0]) / self.scale[1]
        return np.where(text.any(axis=1), value, 0.0).astype(np.float32)[:, None]


def fit_crowding(text: FloatArray) -> Crowding | None:
    """The crowding of a catalog with these (N, R) unit text vectors; None where there are too few to be crowded."""
    if len(text) < 2 * NEIGHBOURS:
        return None
    chosen = np.random.default_rng(0).permutation(len(text))[:LANDMARKS]
    landmarks = np.ascontiguousarray(text[np.sort(chosen)])
    found = _nearness(text, landmarks)
    return Crowding(landmarks, np.array([found.mean(), max(float(found.std()), 1e-6)], np.float32))


def _nearness(text: FloatArray, landmarks: FloatArray) -> FloatArray:
    """(N,) mean similarity to the nearest landmarks but one: the nearest to a landmark is itself."""
    found = np.zeros(len(text), np.float32)
    wanted = min(NEIGHBOURS + 1, len(landmarks))
    for start in range(0, len(text), BATCH):
        similarity = text[start : start + BATCH] @ landmarks.T
        nearest = -np.sort(np.partition(-similarity, wanted - 1, axis=1)[:, :wanted], axis=1)
        found[start : start + BATCH] = nearest[:, 1:].mean(axis=1)
    return found

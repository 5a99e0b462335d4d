"""Per-catalog calibration: centring and shrunk whitening, fitted on one catalog, frozen with the version that uses it.

Encoders put every catalog into a narrow cone: all garden chairs look alike next to all products there are. Whitening a
catalog's own embeddings spreads them, needs no behaviour, and so exists on day zero.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray
from .config import CalibrationConfig


@dataclass(frozen=True)
class Calibration:
    """An affine map followed by L2 normalisation: `normalise((x - mean) @ transform)`."""

    mean: FloatArray  # (D,) centre of the catalog
    transform: FloatArray  # (D, R) whitening directions

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the numbers: two calibrations with the same fingerprint span the same space."""
        digest = hashlib.sha256(self.mean.tobytes())
        digest.update(np.ascontiguousarray(self.transform).tobytes())
        return digest.hexdigest()

    def apply(self, x: FloatArray) -> FloatArray:
        """(N, D) raw embeddings to (N, R) calibrated ones; a row equal to the mean becomes zero, the neutral vector."""
        return unit_rows((x - self.mean) @ self.transform)


def identity(dimension: int, rank: int | None = None) -> Calibration:
    """The map that leaves the first `rank` of `dimension` columns as they are."""
    return Calibration(np.zeros(dimension, np.float32), np.eye(dimension, rank, dtype=np.float32))


def fit_calibration(x: FloatArray, config: CalibrationConfig) -> Calibration:
    """Fit centring and whitening on a catalog's raw embeddings (N, D)."""
    n, d = x.shape
    rank = min(config.max_rank, d)
    if n < 2:  # nothing to centre on
        return identity(d, rank)
    mean = x.mean(axis=0, dtype=np.float64)
    centred = x - mean
    covariance = centred.T @ centred / n  # (D, D)
    shrinkage = config.prior_items / (n + config.prior_items)
    isotropic = np.trace(covariance) / d
    # In float64: whitening raises the smallest directions most, and their rounding with them.
    values, vectors = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * isotropic * np.eye(d))
    leading = np.argsort(values)[::-1][:rank]
    spread = np.maximum(values[leading], 1e-12 * max(isotropic, 1e-12))
    # Eigenvalues are squared singular values, hence half the power. Signs are fixed so that a refit is reproducible.
    directions = vectors[:, leading] * np.sign(vectors[np.abs(vectors[:, leading]).argmax(axis=0), leading])
    transform = (directions * spread ** (-config.power / 2)).astype(np.float32)
    # Row-major, as it comes back from a file: matrix products differ in the last bit between memory layouts.
    return Calibration(mean.astype(np.float32), np.ascontiguousarray(transform))


def unit_rows(x: npt.NDArray[np.floating]) -> FloatArray:
    """(N, D) with every row scaled to length one; rows of (numerically) zero length become exactly zero."""
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.where(norms > 1e-6, x / np.maximum(norms, 1e-6), 0.0).astype(np.float32)

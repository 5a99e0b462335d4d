"""How far a version has gone from the one before it: one definition for hubs and for spokes.

Both versions claim one space, so nothing is aligned before they are compared.
"""

from __future__ import annotations

import numpy as np

from ..arrays import DoubleArray, FloatArray
from .calibration import unit_rows

# Length of the lists, of recommendations or of neighbours, that two versions are compared by.
LIST = 10
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
# Items whose neighbours are compared, drawn where there are more, and scores that are held at once for them.
ASKED = 1000
MAX_SCORES = 4_000_000


def embedding_drift(ours: FloatArray, theirs: FloatArray) -> dict[str, float]:
    """Distance and neighbour overlap of the (N, D) vectors of the same N items in two versions; empty without items.

    `distance` is the mean over items of `|x_i - y_i| / sqrt(D)`, in units of the earlier version's root mean square
    column, `sqrt(mean_ij y_ij^2)`. So 0.1 says that an item has moved by a tenth of the length of a vector, whatever
    the dimension and the scale; unrelated vectors around zero have 1.4. `neighbours@10` is the mean share of an item's
    ten nearest others (cosine) that both versions have, over at most `ASKED` items.
    """
    if not len(ours):
        return {}
    found = {"distance": round(float(distances(ours, theirs).mean()), 5)}
    if len(ours) > 1:
        found[f"neighbours@{LIST}"] = round(float(neighbours_kept(ours, theirs).mean()), 5)
    return found


def distances(ours: FloatArray, theirs: FloatArray) -> DoubleArray:
    """(N,) how far each item has moved from `theirs` to `ours` (N, D), as `embedding_drift` has it."""
    unit = float(np.sqrt((theirs.astype(np.float64) ** 2).mean())) or 1.0
    return np.asarray(np.linalg.norm(ours.astype(np.float64) - theirs, axis=1) / np.sqrt(ours.shape[1]) / unit)


def neighbours_kept(ours: FloatArray, theirs: FloatArray) -> DoubleArray:
    """(A,) share of an item's ten nearest others that both versions have, over at most `ASKED` of N items.

    The versions may differ in their columns.
    """
    count, k = len(ours), min(LIST, len(ours) - 1)
    asked = np.sort(np.random.default_rng(0).permutation(count)[:ASKED])
    units, step, shared = (unit_rows(ours), unit_rows(theirs)), max(1, MAX_SCORES // count), []
    for start in range(0, len(asked), step):
        rows = asked[start : start + step]
        scores = [unit[rows] @ unit.T for unit in units]
        for own in scores:
            own[np.arange(len(rows)), rows] = -np.inf  # an item is no neighbour of its own
        shared.append(lists_kept(scores[0], scores[1], k))
    return np.concatenate(shared) if shared else np.zeros(0)


def cosine_drift(ours: FloatArray, theirs: FloatArray) -> dict[str, float]:
    """Mean and quantiles of the cosine between the (N, D) vectors of the same items in two versions."""
    cosines = (unit_rows(ours) * unit_rows(theirs)).sum(axis=1)
    if not len(cosines):
        return {}
    levels = {name: float(np.quantile(cosines, level)) for name, level in QUANTILES.items()}
    return {name: round(value, 5) for name, value in ({"mean": float(cosines.mean())} | levels).items()}


def list_overlap(ours: FloatArray, theirs: FloatArray, k: int) -> float:
    """Mean of `lists_kept`, NaN where there are no lists."""
    kept = lists_kept(ours, theirs, k)
    return round(float(kept.mean()), 5) if len(kept) else float("nan")


def lists_kept(ours: FloatArray, theirs: FloatArray, k: int) -> DoubleArray:
    """(U,) share of the first `k` items of each list by (U, N) scores that are among the first `k` of the other."""
    k = min(k, ours.shape[1])
    if not k or not len(ours):
        return np.zeros(0)
    # Ties go to the lower row in both, so that equal scores make equal lists.
    first, second = (np.argsort(-scores, axis=1, kind="stable")[:, :k] for scores in (ours, theirs))
    return np.asarray((first[:, :, None] == second[:, None, :]).any(axis=2).mean(axis=1))

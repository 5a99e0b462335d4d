"""How far a version has gone from the one before it: one definition for hubs and for spokes.

Both versions claim one space, so nothing is aligned before they are compared.
"""

from __future__ import annotations

import numpy as np

from ..arrays import FloatArray
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
    unit = float(np.sqrt((theirs.astype(np.float64) ** 2).mean())) or 1.0
    moved = np.linalg.norm(ours.astype(np.float64) - theirs, axis=1) / np.sqrt(ours.shape[1])  # (N,)
    found = {"distance": round(float(moved.mean()) / unit, 5)}
    if len(ours) > 1:
        found[f"neighbours@{LIST}"] = _neighbour_overlap(ours, theirs)
    return found


def cosine_drift(ours: FloatArray, theirs: FloatArray) -> dict[str, float]:
    """Mean and quantiles of the cosine between the (N, D) vectors of the same items in two versions."""
    cosines = (unit_rows(ours) * unit_rows(theirs)).sum(axis=1)
    if not len(cosines):
        return {}
    levels = {name: float(np.quantile(cosines, level)) for name, level in QUANTILES.items()}
    return {name: round(value, 5) for name, value in ({"mean": float(cosines.mean())} | levels).items()}


def list_overlap(ours: FloatArray, theirs: FloatArray, k: int) -> float:
    """Mean share of the first `k` items of the lists by (U, N) scores that stand among the first `k` of the others."""
    k = min(k, ours.shape[1])
    if not k or not len(ours):
        return float("nan")
    # Ties go to the lower row in both, so that equal scores make equal lists.
    first, second = (np.argsort(-scores, axis=1, kind="stable")[:, :k] for scores in (ours, theirs))
    return round(float((first[:, :, None] == second[:, None, :]).any(axis=2).mean()), 5)


def _neighbour_overlap(ours: FloatArray, theirs: FloatArray) -> float:
    """`list_overlap` of items by their cosine to all others."""
    count, k = len(ours), min(LIST, len(ours) - 1)
    asked = np.sort(np.random.default_rng(0).permutation(count)[:ASKED])
    units, step, shared = (unit_rows(ours), unit_rows(theirs)), max(1, MAX_SCORES // count), 0.0
    for start in range(0, len(asked), step):
        rows = asked[start : start + step]
        scores = [unit[rows] @ unit.T for unit in units]
        for own in scores:
            own[np.arange(len(rows)), rows] = -np.inf  # an item is no neighbour of its own
        shared += list_overlap(scores[0], scores[1], k) * len(rows)
    return round(shared / len(asked), 5)

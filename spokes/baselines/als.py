"""Matrix factorisation by alternating least squares, through the `implicit` library, which only this module imports."""

from __future__ import annotations

import numpy as np

from ...arrays import FloatArray
from ...catalog.sequences import Histories, Sequences
from ...errors import MissingExtraError


class AlternatingLeastSquares:
    """Implicit-feedback matrix factorisation. Hu, Koren, Volinsky, 2008.

    Minimises sum_ui c_ui (p_ui - x_u . y_i)^2 + regularization (|X|^2 + |Y|^2), with p_ui = 1 where sequence u holds
    item i and 0 elsewhere, and confidence c_ui = 1 + alpha * (times it does). A history's factors are
    x = (Y'Y + Y'(C - 1)Y + regularization)^-1 Y'C p, its scores x . y_i. There is a sequence per user; the same seed of
    the first factors gives the same ones on the same machine.
    """

    name = "als"

    def __init__(
        self,
        sequences: Sequences,
        *,
        factors: int = 128,
        regularization: float = 10.0,
        alpha: float = 10.0,
        iterations: int = 15,
        seed: int = 0,
    ) -> None:
        self._alpha = alpha
        self._regularization = regularization
        self.item_factors = _item_factors(sequences, factors, regularization, alpha, iterations, seed)  # (N, K)

    def score(self, histories: Histories) -> FloatArray:
        """(B, N) inner products of the histories' factors and the items'."""
        folded = fold_in(self.item_factors, histories, self._alpha, self._regularization)
        return np.asarray(folded @ self.item_factors.T)


def fold_in(item_factors: FloatArray, histories: Histories, alpha: float, regularization: float) -> FloatArray:
    """(B, K) factors of histories, solved for exactly from (N, K) those of items; zero for an empty one."""
    exact = item_factors.astype(np.float64)
    gram = exact.T @ exact + regularization * np.eye(exact.shape[1])
    systems = np.tile(gram, (len(histories), 1, 1))  # (B, K, K)
    wanted = np.zeros((len(histories), len(gram)))  # (B, K)
    for b, history in enumerate(histories):
        items, times = np.unique(history, return_counts=True)
        known, extra = exact[items], alpha * times[:, None]  # (n, K), (n, 1)
        systems[b] += known.T @ (extra * known)
        wanted[b] = ((1 + extra) * known).sum(axis=0)
    return np.asarray(np.linalg.solve(systems, wanted[:, :, None])[:, :, 0].astype(np.float32))


def _item_factors(
    sequences: Sequences, factors: int, regularization: float, alpha: float, iterations: int, seed: int
) -> FloatArray:
    """(N, K) factors of items; zero for an item without events."""
    try:
        from implicit.cpu.als import AlternatingLeastSquares as Model
        from scipy.sparse import csr_matrix
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise MissingExtraError(
            f"ALS needs the library implicit ({error}); run `pip install 'hubspoke[baselines]'`."
        ) from error
    if not len(sequences.items):
        return np.zeros((sequences.n_items, factors), np.float32)
    users = np.repeat(np.arange(len(sequences)), sequences.lengths)
    times = csr_matrix((np.ones(len(users), np.float32), (users, sequences.items)), (len(sequences), sequences.n_items))
    times.data = 1 + alpha * times.data
    # One thread, in BLAS too: the library warns that BLAS threads beside its own make it several times slower, and the
    # order of sums would change from run to run.
    with threadpool_limits(1, "blas"):
        sizes = {"factors": factors, "regularization": regularization, "iterations": iterations}
        model = Model(**sizes, alpha=1.0, num_threads=1, random_state=seed)
        model.fit(times, show_progress=False)
    seen = sequences.item_counts() > 0
    return np.where(seen[:, None], model.item_factors, 0.0).astype(np.float32)

"""What an index is: the vectors of one embedding space beside their item ids, searched by one of several kinds."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..arrays import BoolArray, DoubleArray, FloatArray, IntArray
from ..errors import CorruptArtifactError, IncompatibleError
from .exact import DIGITS, best_first, scores_of
from .kinds import FLAT, VectorIndex, index_kind
from .planner import Plan, Planner, exact_plan

# Scores are inner products: the two subspaces of a spoke are mixed by the weights in the session's vector, which a
# cosine or a distance would undo.
METRIC = "inner_product"
# What single precision may be wrong by, relative to the largest product that norms allow.
_SINGLE = 4e-6
# Where so many rows may tie all of them are scored.
_MANY = 4096


@dataclass(frozen=True)
class ItemIndex:
    """An index of one embedding space over one item snapshot; row r is the item `item_ids[r]`."""

    index: VectorIndex
    item_ids: tuple[str, ...]
    space_fingerprint: str

    @classmethod
    def build(cls, vectors: FloatArray, item_ids: Sequence[str], space_fingerprint: str, kind: str = FLAT) -> ItemIndex:
        """An index over the (N, D) vectors of N items."""
        made = index_kind(kind).build(np.ascontiguousarray(vectors, np.float32))
        return cls(made, tuple(item_ids), space_fingerprint)

    def regrown(self, vectors: FloatArray, item_ids: Sequence[str], old_rows: IntArray) -> ItemIndex:
        """The same kind over (N, D) other vectors, of which row r is row `old_rows[r]` of this, or new where -1."""
        made = self.index.regrown(np.ascontiguousarray(vectors, np.float32), old_rows)
        return ItemIndex(made, tuple(item_ids), self.space_fingerprint)

    def with_effort(self, effort: int) -> ItemIndex:
        """The same index, whose searches spend that much."""
        return replace(self, index=self.index.with_effort(effort))

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def dimension(self) -> int:
        """D, columns of a vector."""
        return int(self.vectors().shape[1])

    def vectors(self) -> FloatArray:
        """(N, D) the item vectors, exactly as they were added; read-only."""
        return self.index.vectors

    @cached_property
    def _planner(self) -> Planner:
        return Planner(self.index)

    def scores(self, query: FloatArray, rows: IntArray) -> DoubleArray:
        """(n,) inner products of a (D,) query with the vectors of some rows."""
        return scores_of(self.vectors(), query, rows)

    def search(
        self, queries: FloatArray, k: int, allowed: BoolArray | None = None, hidden: Collection[int] = ()
    ) -> list[list[tuple[int, float]]]:
        """For each of (B, D) queries the k best (row, score), best first; of `allowed` (N,) only the true rows.

        Scores are exact, equal ones go by row, and a shorter list is the beginning of a longer one, whatever else is
        asked beside it. Lists are only shorter than `k` where no more rows are allowed. `hidden` rows are passed over
        besides, so that a filter which many share can stay one read-only mask, and its rows gathered (`Planner`).
        """
        if hidden:
            found = self.search(queries, k + len(hidden), allowed)
            return [[one for one in own if one[0] not in hidden][:k] for own in found]
        count = len(self) if allowed is None else int(np.count_nonzero(allowed))
        k = min(k, count)
        if k == 0:
            return [[] for _ in queries]
        return self._search(np.ascontiguousarray(queries, np.float32), k, self._planner.plan(allowed, count), allowed)

    def _search(
        self, queries: FloatArray, k: int, plan: Plan, allowed: BoolArray | None
    ) -> list[list[tuple[int, float]]]:
        rows, scores = best_first(self.vectors(), queries, plan.find(queries, plan.ask(k)))  # (B, n)
        answers = []
        for query, own, given in zip(queries, rows, scores, strict=True):
            slack = 2 * _SINGLE * self._radius * float(np.linalg.norm(query)) + 10.0**-DIGITS
            asked = len(own)
            while asked < plan.limit and _may_tie(given, k, slack):
                asked = min(2 * asked, plan.limit)
                own, given = self._looked_at(query, asked, plan, allowed)
            answer = [one for one in zip(own[:k].tolist(), given[:k].tolist(), strict=True) if one[0] >= 0]
            answers.append(answer if len(answer) == k else answer + self._rest(query, k, own, allowed))
        return answers

    def _looked_at(
        self, query: FloatArray, n: int, plan: Plan, allowed: BoolArray | None
    ) -> tuple[IntArray, DoubleArray]:
        """The rows that are likely the `n` best for a (D,) query, or all that may be, best first with their scores."""
        if n > _MANY:
            rows = np.arange(len(self)) if allowed is None else np.flatnonzero(allowed)
            scores = self.scores(query, rows)
            order = np.argsort(-scores, kind="stable")
            return rows[order], scores[order]
        (rows,), (scores,) = best_first(self.vectors(), query[None], plan.find(query[None], n))
        return rows, scores

    @cached_property
    def _radius(self) -> float:
        """The largest norm of a vector."""
        step, vectors = 1 << 16, self.vectors()
        blocks = (vectors[start : start + step] for start in range(0, len(vectors), step))
        return max((float(np.linalg.norm(block, axis=1).max()) for block in blocks), default=0.0)

    def _rest(self, query: FloatArray, k: int, rows: IntArray, allowed: BoolArray | None) -> list[tuple[int, float]]:
        """What follows the rows that were found, up to `k`, by comparing with every other."""
        found = rows[rows >= 0]
        others = np.ones(len(self), np.bool_) if allowed is None else allowed.copy()
        others[found] = False
        plan = exact_plan(self.vectors(), np.flatnonzero(others))
        return self._search(query[None], k - len(found), plan, others)[0]

    def require_space(self, fingerprint: str) -> None:
        """Refuse to be used with vectors of another embedding space."""
        if fingerprint != self.space_fingerprint:
            raise IncompatibleError(
                f"the index was filled by embedding space {self.space_fingerprint[:12]} but is asked with vectors of "
                f"{fingerprint[:12]}; rebuild it with `hubspoke index build`."
            )

    def save(self, folder: Path) -> None:
        """Write the index with item_ids.json and index.json beside it."""
        self.index.save(folder)
        (folder / "item_ids.json").write_text(json.dumps(list(self.item_ids), ensure_ascii=False), encoding="utf-8")
        about: dict[str, str | int] = {"factory": self.index.kind, "metric": METRIC}
        about |= {"dimension": self.dimension, "space": self.space_fingerprint}
        (folder / "index.json").write_text(json.dumps(about, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ItemIndex:
        """Read a saved index, and refuse one whose parts do not fit together."""
        try:
            about = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            item_ids = tuple(json.loads((folder / "item_ids.json").read_text(encoding="utf-8")))
            space, dimension, metric = str(about["space"]), int(about["dimension"]), str(about["metric"])
            index = index_kind(str(about["factory"])).load(folder)
        # Over bytes that are no index each library raises what it likes; to a caller all of it is one fault.
        except (RuntimeError, OSError, EOFError, ValueError, TypeError, KeyError) as error:
            raise CorruptArtifactError(f"the index in {folder} cannot be read; build it with --force.") from error
        n_vectors, columns = index.vectors.shape
        if n_vectors != len(item_ids):
            raise CorruptArtifactError(
                f"the index holds {n_vectors} vectors for {len(item_ids)} items; build it with --force."
            )
        if metric != METRIC:
            raise IncompatibleError(
                f"the index ranks by {metric}, this version by {METRIC}; rebuild it with `hubspoke index build`."
            )
        if not all(isinstance(item, str) for item in item_ids) or len(set(item_ids)) != len(item_ids):
            raise CorruptArtifactError(
                f"the index in {folder} names an item twice, or something else than items; build it with --force."
            )
        if not np.isfinite(index.vectors.sum(axis=1)).all():
            raise CorruptArtifactError(
                f"the index in {folder} holds vectors that are no numbers; build it with --force."
            )
        if columns != dimension:
            raise CorruptArtifactError(
                f"the index holds vectors of {columns} columns, not {dimension}; build it with --force."
            )
        return cls(index, item_ids, space)


def _may_tie(scores: DoubleArray, k: int, slack: float) -> bool:
    """Whether rows that were not looked at may score like the k-th of those that were, which come best first."""
    return bool(np.isfinite(scores[-1]) and scores[k - 1] - scores[-1] <= slack)

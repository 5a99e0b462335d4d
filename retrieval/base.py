"""What an index is: the vectors of one embedding space beside their item ids, searched by one of several kinds.

A new kind is one file in this folder with a subclass of `VectorIndex`; nothing else lists the kinds.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from ..arrays import BoolArray, DoubleArray, FloatArray, IntArray
from ..errors import CorruptArtifactError, IncompatibleError

FLAT = "Flat"
# Scores are inner products: the two subspaces of a spoke are mixed by the weights in the session's vector, which a
# cosine or a distance would undo.
METRIC = "inner_product"
# Rows looked at beyond those asked for, and the relative difference below which single precision tells no two apart.
_MARGIN = 8
_TIE = 1e-5


class VectorIndex(ABC):
    """N vectors that can be searched by inner product; what every index kind implements."""

    kind: ClassVar[str]

    @classmethod
    @abstractmethod
    def build(cls, vectors: FloatArray) -> Self:
        """An index over (N, D) vectors, row by row."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; whatever is wrong with it may be raised as the library raises it."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the index into a folder that holds the item ids too."""

    @abstractmethod
    def search(self, queries: FloatArray, k: int, allowed: BoolArray | None) -> tuple[FloatArray, IntArray]:
        """(B, k) scores and rows of the best for (B, D) queries, best first; row -1 where there are fewer than k.

        Of `allowed` (N,) only the true rows may be found; `k` lies between 1 and N.
        """

    @property
    @abstractmethod
    def vectors(self) -> FloatArray:
        """(N, D) exactly what was added; not to be written to."""


def index_kinds() -> dict[str, type[VectorIndex]]:
    """Every kind in this folder by its name."""
    # A subclass is known once its module is imported, so the folder is the list of kinds.
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"{__package__}.{module.name}")
    return {kind.kind: kind for kind in VectorIndex.__subclasses__()}


def index_kind(name: str) -> type[VectorIndex]:
    """The class of an index kind."""
    kinds = index_kinds()
    if name not in kinds:
        raise IncompatibleError(
            f"the index is of kind {name}, this version knows {', '.join(sorted(kinds))}; rebuild it with "
            "`hubspoke index build`."
        )
    return kinds[name]


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

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def dimension(self) -> int:
        """D, columns of a vector."""
        return int(self.vectors().shape[1])

    def vectors(self) -> FloatArray:
        """(N, D) the item vectors, exactly as they were added; read-only."""
        return self.index.vectors

    def scores(self, query: FloatArray, rows: IntArray) -> DoubleArray:
        """(n,) inner products of a (D,) query with the vectors of some rows."""
        # Row by row in double precision: a library's own sums depend on what else is in the batch.
        return np.asarray(np.einsum("nd,d->n", self.vectors()[rows], query, dtype=np.float64))

    def search(self, queries: FloatArray, k: int, allowed: BoolArray | None = None) -> list[list[tuple[int, float]]]:
        """For each of (B, D) queries the k best (row, score), best first; of `allowed` (N,) only the true rows.

        Equal scores go by row, and a shorter list is the beginning of a longer one, whatever else is asked beside it.
        """
        k = min(k, len(self))
        if k == 0:
            return [[] for _ in queries]
        queries = np.ascontiguousarray(queries, np.float32)
        _, rows = self.index.search(queries, min(k + _MARGIN, len(self)), allowed)
        return [self._best(query, own, k, allowed) for query, own in zip(queries, rows, strict=True)]

    def _best(self, query: FloatArray, rows: IntArray, k: int, allowed: BoolArray | None) -> list[tuple[int, float]]:
        """The k best of the rows that were found for a query; more are looked for while ties may lie beyond them."""
        while True:
            asked, rows = len(rows), rows[rows >= 0]
            scores = self.scores(query, rows)
            order = np.lexsort((rows, -scores))
            complete = len(rows) < asked or asked == len(self)
            if complete or scores[order[k - 1]] - scores[order[-1]] > _TIE * max(1.0, abs(scores[order[0]])):
                return [(int(rows[place]), float(scores[place])) for place in order[:k]]
            rows = self.index.search(query[None], min(2 * asked, len(self)), allowed)[1][0]

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
        if columns != dimension:
            raise CorruptArtifactError(
                f"the index holds vectors of {columns} columns, not {dimension}; build it with --force."
            )
        return cls(index, item_ids, space)

"""The one door to FAISS: an exact inner-product index over item vectors, saved beside its item ids and fingerprint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import CorruptArtifactError, IncompatibleError, MissingExtraError, UsageError

try:
    import faiss
except ImportError as error:
    raise MissingExtraError(
        "FAISS is not installed; install hubspoke[cpu], or hubspoke[gpu] on a machine with an NVIDIA GPU."
    ) from error

FACTORY = "Flat"
METRIC = "inner_product"


@dataclass(frozen=True)
class ItemIndex:
    """A FAISS index of one embedding space over one item snapshot; row r is the item `item_ids[r]`.

    Attributes:
        index: the FAISS index.
        item_ids: (N,) identifiers, in row order.
        space_fingerprint: of the embedding space that filled it.
    """

    index: Any
    item_ids: tuple[str, ...]
    space_fingerprint: str

    @property
    def dimension(self) -> int:
        """D, columns of a vector."""
        return int(self.index.d)

    def __len__(self) -> int:
        return len(self.item_ids)

    def vectors(self) -> FloatArray:
        """(N, D) the item vectors, exactly as they were added."""
        if not len(self):
            return np.zeros((0, self.dimension), np.float32)
        vectors: FloatArray = self.index.reconstruct_n(0, len(self))
        return vectors

    def search(
        self, queries: FloatArray, k: int, *, exclude: Sequence[Sequence[int]] | None = None
    ) -> list[list[tuple[int, float]]]:
        """For each query the k best (row, score), best first, rows in `exclude` left out."""
        hidden = [set(rows) for rows in exclude] if exclude is not None else [set[int]() for _ in queries]
        width = min(len(self), k + max((len(rows) for rows in hidden), default=0))
        if width == 0:
            return [[] for _ in queries]
        scores, rows = self.index.search(np.ascontiguousarray(queries, np.float32), width)
        ranked = (zip(*own, strict=True) for own in zip(rows.tolist(), scores.tolist(), strict=True))
        return [
            [(row, score) for row, score in own if row >= 0 and row not in banned][:k]
            for own, banned in zip(ranked, hidden, strict=True)
        ]

    def require_space(self, fingerprint: str) -> None:
        """Refuse to be used with vectors of another space.

        Raises:
            IncompatibleError: the fingerprints differ.
        """
        if fingerprint != self.space_fingerprint:
            raise IncompatibleError(
                f"the index was filled by embedding space {self.space_fingerprint[:12]} but is asked with vectors of "
                f"{fingerprint[:12]}; rebuild it with `hubspoke index build`."
            )

    def add(self, item_ids: Sequence[str], vectors: FloatArray, space_fingerprint: str) -> ItemIndex:
        """This index with more items; this one stays as it is.

        Args:
            item_ids: (M,) identifiers that are not in it yet.
            vectors: (M, D).
            space_fingerprint: of the embedding space that the vectors are of.

        Raises:
            IncompatibleError: it is another than the index's, or the vectors have other columns.
            UsageError: an item is in the index already.
        """
        self.require_space(space_fingerprint)
        if vectors.shape[1] != self.dimension:
            raise IncompatibleError(
                f"the index holds vectors of {self.dimension} columns, not {vectors.shape[1]}; rebuild it with "
                "`hubspoke index build`."
            )
        known = set(self.item_ids).intersection(item_ids)
        if known:
            raise UsageError(f"{min(known)} is in the index already; add only items that are not.")
        return build_index(np.concatenate([self.vectors(), vectors]), (*self.item_ids, *item_ids), space_fingerprint)

    def select(self, item_ids: Sequence[str]) -> ItemIndex:
        """Only these of its items, in this order."""
        row_of = {item: row for row, item in enumerate(self.item_ids)}
        rows = np.array([row_of[item] for item in item_ids], np.int64)
        return build_index(self.vectors()[rows], item_ids, self.space_fingerprint)

    def save(self, directory: Path) -> None:
        """Write items.faiss, item_ids.json and index.json."""
        faiss.write_index(self.index, str(directory / "items.faiss"))
        (directory / "item_ids.json").write_text(json.dumps(list(self.item_ids), ensure_ascii=False), encoding="utf-8")
        about = {"factory": FACTORY, "metric": METRIC, "dimension": self.dimension, "space": self.space_fingerprint}
        (directory / "index.json").write_text(json.dumps(about, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> ItemIndex:
        """Read a saved index.

        Raises:
            CorruptArtifactError: a part is missing or unreadable, or the parts do not fit together.
            IncompatibleError: it ranks by another metric.
        """
        try:
            about = json.loads((directory / "index.json").read_text(encoding="utf-8"))
            item_ids = tuple(json.loads((directory / "item_ids.json").read_text(encoding="utf-8")))
            space, dimension, metric = str(about["space"]), int(about["dimension"]), str(about["metric"])
            index = faiss.read_index(str(directory / "items.faiss"))
        except (RuntimeError, OSError, ValueError, TypeError, KeyError) as error:
            raise CorruptArtifactError(f"the index in {directory} cannot be read; build it with --force.") from error
        if index.ntotal != len(item_ids):
            raise CorruptArtifactError(
                f"the index holds {index.ntotal} vectors for {len(item_ids)} items; build it with --force."
            )
        if metric != METRIC:
            raise IncompatibleError(
                f"the index ranks by {metric}, this version by {METRIC}; rebuild it with `hubspoke index build`."
            )
        if index.d != dimension:
            raise CorruptArtifactError(
                f"the index holds vectors of {index.d} columns, not {dimension}; build it with --force."
            )
        return cls(index, item_ids, space)


def build_index(vectors: FloatArray, item_ids: Sequence[str], space_fingerprint: str) -> ItemIndex:
    """An exact index over (N, D) item vectors."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, np.float32))
    return ItemIndex(index, tuple(item_ids), space_fingerprint)

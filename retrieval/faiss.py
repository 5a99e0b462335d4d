"""The one door to FAISS: the flat index, which compares a query with every vector and is exact."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..arrays import BoolArray, FloatArray, IntArray
from ..errors import MissingExtraError
from .base import FLAT, VectorIndex

try:
    import faiss
except ImportError as error:
    raise MissingExtraError(
        "FAISS is not installed; install hubspoke[cpu], or hubspoke[gpu] on a machine with an NVIDIA GPU."
    ) from error

FILE = "items.faiss"


class FlatIndex(VectorIndex):
    """Exact inner products over all vectors."""

    kind = FLAT

    def __init__(self, index: Any) -> None:
        self._index = index
        self._vectors: FloatArray = np.zeros((0, index.d), np.float32)
        if index.ntotal:  # FAISS allocates nothing for an empty one, so there is no memory to look at
            # Its vectors as numpy sees them without a copy: read-only, and kept alive by who looks at them.
            memory = {"shape": (index.ntotal, index.d), "typestr": "<f4", "data": (int(index.get_xb()), True)}
            self._vectors = np.asarray(SimpleNamespace(index=index, __array_interface__=memory | {"version": 3}))

    @classmethod
    def build(cls, vectors: FloatArray) -> FlatIndex:
        """An index over (N, D) vectors."""
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return cls(index)

    @classmethod
    def load(cls, folder: Path) -> FlatIndex:
        """Read a saved index; a file that holds another kind than a flat one is refused."""
        index = faiss.read_index(str(folder / FILE))
        if not isinstance(index, faiss.IndexFlat):
            raise ValueError(f"{folder / FILE} holds a {type(index).__name__}")
        return cls(index)

    def save(self, folder: Path) -> None:
        """Write items.faiss."""
        faiss.write_index(self._index, str(folder / FILE))

    def search(self, queries: FloatArray, k: int, allowed: BoolArray | None) -> tuple[FloatArray, IntArray]:
        """(B, k) scores and rows; FAISS passes over what is not allowed, so that nothing is fetched in vain."""
        params = None
        if allowed is not None:  # the type stubs are those of C++, without what FAISS's Python layer takes
            selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))  # type: ignore[call-arg,arg-type]
            params = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        # FAISS marks an empty place by row -1, which is what `VectorIndex.search` promises.
        scores, rows = self._index.search(queries, k, params=params)
        return scores, rows

    @property
    def vectors(self) -> FloatArray:
        """(N, D), the index's own memory."""
        return self._vectors

"""The one door to FAISS, and the flat index, which compares a query with every vector and is exact."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..arrays import BoolArray, FloatArray, IntArray
from ..errors import MissingExtraError
from .kinds import FLAT, VectorIndex

try:
    import faiss
except ImportError as error:
    raise MissingExtraError(
        "FAISS is not installed; install hubspoke[cpu], or hubspoke[gpu] on a machine with an NVIDIA GPU."
    ) from error

FILE = "items.faiss"
# The library as its Python layer is: the type stubs are those of C++.
library: Any = faiss


def read_mapped(file: Path) -> Any:
    """A stored FAISS index; what is large in it is looked at where it lies on the disk, if its kind allows that."""
    return library.read_index(str(file), library.IO_FLAG_MMAP_IFC)


def selector(allowed: BoolArray) -> Any:
    """What FAISS passes over everything by that is not allowed."""
    return library.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))


def written_bytes(index: Any) -> int:
    """How many bytes a FAISS index has when it is written."""
    sizes: list[int] = []
    library.write_index(index, library.PyCallbackIOWriter(lambda part: sizes.append(len(part))))
    return sum(sizes)


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
        index = library.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return cls(index)

    @classmethod
    def load(cls, folder: Path) -> FlatIndex:
        """Read a saved index; a file that holds another kind than a flat one is refused."""
        index = read_mapped(folder / FILE)
        if not isinstance(index, library.IndexFlat) or index.metric_type != library.METRIC_INNER_PRODUCT:
            raise ValueError(f"{folder / FILE} holds a {type(index).__name__} of metric {index.metric_type}")
        return cls(index)

    def save(self, folder: Path) -> None:
        """Write items.faiss."""
        library.write_index(self._index, str(folder / FILE))

    def prepared(self, allowed: BoolArray) -> Any:
        """FAISS's parameters, by which it passes over what is not allowed, so that nothing is fetched in vain."""
        return library.SearchParameters(sel=selector(allowed))

    def search(self, queries: FloatArray, k: int, allowed: Any = None, effort: float = 1.0) -> IntArray:
        """(B, k) rows."""
        # FAISS marks an empty place by row -1, which is what `VectorIndex.search` promises.
        return np.asarray(self._index.search(queries, k, params=allowed)[1])

    @property
    def vectors(self) -> FloatArray:
        """(N, D), the index's own memory."""
        return self._vectors

    @property
    def nbytes(self) -> int:
        """All vectors."""
        return self._vectors.nbytes

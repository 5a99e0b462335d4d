"""Index kinds over inverted lists: k-means cells, of which a search looks at the nearest; whole vectors or codes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..arrays import BoolArray, FloatArray, IntArray
from .approximate import ApproximateIndex
from .faiss import library, selector

# Vectors that k-means looks at for each cell; FAISS takes 256, for no better cells.
SAMPLE_PER_CELL = 64
# Vectors beside the structure that are asked which cell they would lie in.
ASKED = 10_000


class InvertedIndex(ApproximateIndex):
    """Cells of whole vectors; the effort is the number of cells looked at."""

    kind = "ivf"

    @staticmethod
    def cells(n: int) -> int:
        """The power of two nearest to four times the root of n, with 16 vectors each at least."""
        wanted = min(4 * n**0.5, n / 16)
        return int(2 ** round(np.log2(wanted)))

    @classmethod
    def codes(cls, columns: int) -> str:
        """FAISS's name for how the vectors of a cell are kept."""
        return "Flat"

    @classmethod
    def factory(cls, n: int, columns: int) -> str:
        """Cells of these codes."""
        return f"IVF{cls.cells(n)},{cls.codes(columns)}"

    @classmethod
    def ladder(cls, n: int) -> tuple[int, ...]:
        """One cell in 128 and doubled, up to all."""
        cells = cls.cells(n)
        first = min(cells, max(8, cells // 128))
        return (*(first << step for step in range(16) if first << step < cells), cells)

    @classmethod
    def _train(cls, index: Any, points: FloatArray) -> None:
        index.cp.max_points_per_centroid = SAMPLE_PER_CELL
        index.cp.min_points_per_centroid = 1  # below 39 FAISS warns, on stderr
        if hasattr(library, "StandardGpuResources") and library.get_num_gpus():  # k-means is what takes the time
            index.clustering_index = library.index_cpu_to_all_gpus(library.IndexFlatL2(index.d))
        super()._train(index, points)
        index.clustering_index = None

    def barring(self, inside: BoolArray) -> tuple[Any, FloatArray]:
        """FAISS's selector, and zero for each cell that holds something allowed, infinity for the others."""
        held = np.bincount(self._cell_of[inside], minlength=self._structure.index.nlist) > 0
        return selector(inside), np.where(held, 0.0, np.inf).astype(np.float32)

    def found(self, points: FloatArray, k: int, barring: tuple[Any, FloatArray] | None, effort: float) -> IntArray:
        """Places in the nearest cells, of those that hold something allowed: a category lies in few of them."""
        index = self._structure.index
        if barring is None:
            return np.asarray(index.search(points, k, params=self._usual)[1])
        cells = min(int(self._effort * effort), index.nlist)
        allowed, closed = barring
        norms = np.einsum("bc,bc->b", points, points)[:, None]
        distances = norms + self._centroid_norms - 2.0 * points @ self._centroids.T + closed  # (B, cells)
        near = np.argsort(distances, axis=1)[:, :cells].astype(np.int64)
        nearest = np.take_along_axis(distances, near, axis=1)
        near[np.isinf(nearest)] = -1  # FAISS passes over it
        return self._in_cells(points, k, near, nearest, library.SearchParametersIVF(nprobe=cells, sel=allowed))

    def _in_cells(
        self, points: FloatArray, k: int, cells: IntArray, distances: FloatArray, parameters: Any
    ) -> IntArray:
        """(B, k) places in these (B, C) cells, whose centroids are at these squared distances."""
        found, scores = np.empty((len(points), k), np.int64), np.empty((len(points), k), np.float32)
        given = (points, k, cells, distances, scores, found)
        # FAISS's own wrapper of this call takes no parameters.
        pointers = [library.swig_ptr(part) if isinstance(part, np.ndarray) else part for part in given]
        self._structure.index.search_preassigned_c(len(points), *pointers, False, parameters)
        return found

    @cached_property
    def _usual(self) -> Any:
        """FAISS's parameters of a search without a filter."""
        return library.SearchParametersIVF(nprobe=self._effort)

    @cached_property
    def _cell_of(self) -> IntArray:
        """(n,) cell of each of the structure's vectors."""
        lists = self._structure.index.invlists
        cells = np.empty(len(self._structure.rows), np.int64)
        for cell in range(lists.nlist):
            if size := lists.list_size(cell):
                cells[library.rev_swig_ptr(lists.get_ids(cell), size)] = cell
        return cells

    @cached_property
    def _centroids(self) -> FloatArray:
        """(cells, columns)."""
        return np.asarray(self._structure.index.quantizer.reconstruct_n(0, self._structure.index.nlist))

    @cached_property
    def _centroid_norms(self) -> FloatArray:
        """(cells,) squared."""
        norms: FloatArray = np.einsum("cd,cd->c", self._centroids, self._centroids)
        return norms

    @property
    def state(self) -> Mapping[str, float]:
        """`growth`, and `imbalance`: how many times longer a search takes than over cells of equal size."""
        if not self._structure.index.ntotal:
            return {**super().state, "imbalance": 1.0}
        lists = self._structure.index.invlists
        sizes = np.array([lists.list_size(cell) for cell in range(lists.nlist)], dtype=np.float64)
        if len(self._beside):
            some = self._beside_vectors[:: max(1, len(self._beside) // ASKED)]
            # New vectors may lie outside the sphere, whose norm is then taken as theirs.
            near = self._structure.index.quantizer.search(self._brought_to(self._structure.radius, some), 1)[1][:, 0]
            sizes += np.bincount(near, minlength=len(sizes)) * (len(self._beside) / len(some))
        squares = float((sizes**2).sum()) * len(sizes) / max(float(sizes.sum()) ** 2, 1.0)
        return {**super().state, "imbalance": squares}


class CodesIndex(InvertedIndex):
    """Cells of short codes, scanned in registers; what they find is so rough that hundreds are ranked anew."""

    coarse = True

    @classmethod
    def _turned(cls, points: FloatArray) -> FloatArray:
        """Axes by chance: every column gets as many bits, which says most where all columns say the same."""
        return points @ _rotation(points.shape[1])


class ProductIndex(CodesIndex):
    """Product codes (Jegou et al., 2011, https://doi.org/10.1109/TPAMI.2010.57)."""

    kind = "ivf-pq"

    @classmethod
    def codes(cls, columns: int) -> str:
        """Four bits for every two columns."""
        return f"PQ{columns // 2}x4fs"


class BinaryIndex(CodesIndex):
    """One bit a column (RaBitQ: Gao & Long, 2024, https://arxiv.org/abs/2405.12497)."""

    kind = "ivf-rabitq"

    @classmethod
    def codes(cls, columns: int) -> str:
        """One bit a column and two factors a vector."""
        return "RaBitQfs"


@lru_cache(maxsize=8)
def _rotation(columns: int) -> FloatArray:
    """(columns, columns) the same random rotation every time."""
    axes, triangle = np.linalg.qr(np.random.default_rng(0).standard_normal((columns, columns)))
    turned: FloatArray = (axes * np.sign(np.diag(triangle))).astype(np.float32)
    return turned

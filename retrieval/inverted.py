"""Index kinds over inverted lists: k-means cells, of which a search looks at the nearest; whole vectors or codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arrays import FloatArray
from .approximate import ApproximateIndex
from .faiss import library

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
    def efforts(cls, n: int) -> tuple[int, ...]:
        """One cell in 128 and doubled, up to all."""
        cells = cls.cells(n)
        first = max(8, cells // 128)
        return tuple(min(first << step, cells) for step in range(16) if first << step < 2 * cells)

    @classmethod
    def _train(cls, index: Any, points: FloatArray) -> None:
        index.cp.max_points_per_centroid = SAMPLE_PER_CELL
        if hasattr(library, "StandardGpuResources") and library.get_num_gpus():  # k-means is what takes the time
            index.clustering_index = library.index_cpu_to_all_gpus(library.IndexFlatL2(index.d))
        super()._train(index, points)
        index.clustering_index = None

    def parameters(self, effort: float, allowed: Any) -> Any:
        """The number of cells."""
        cells = min(int(self.effort * effort), self._structure.index.nlist)
        return library.SearchParametersIVF(nprobe=cells, sel=allowed)

    @property
    def state(self) -> Mapping[str, float]:
        """`growth`, and `imbalance`: how many times longer a search takes than over cells of equal size."""
        lists = self._structure.index.invlists
        sizes = np.array([lists.list_size(cell) for cell in range(lists.nlist)], dtype=np.float64)
        if len(self._beside):
            some = self._beside_vectors[:: max(1, len(self._beside) // ASKED)]
            # New vectors may lie outside the sphere, whose norm is then taken as theirs.
            near = self._structure.index.quantizer.search(self._brought_to(self._structure.radius, some), 1)[1][:, 0]
            sizes += np.bincount(near, minlength=len(sizes)) * (len(self._beside) / len(some))
        squares = float((sizes**2).sum()) * len(sizes) / max(float(sizes.sum()) ** 2, 1.0)
        return {**super().state, "imbalance": squares}


class ProductIndex(InvertedIndex):
    """Cells of product codes (Jegou et al., 2011, https://doi.org/10.1109/TPAMI.2010.57), scanned in registers."""

    kind = "ivf-pq"
    coarse = True

    @classmethod
    def codes(cls, columns: int) -> str:
        """Four bits for every two columns."""
        return f"PQ{columns // 2}x4fs"


class BinaryIndex(InvertedIndex):
    """Cells of one bit a column (RaBitQ: Gao & Long, 2024, https://arxiv.org/abs/2405.12497), scanned in registers."""

    kind = "ivf-rabitq"
    coarse = True

    @classmethod
    def codes(cls, columns: int) -> str:
        """One bit a column and two factors a vector."""
        return "RaBitQfs"

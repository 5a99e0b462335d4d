"""Index kinds that do not look at everything: a FAISS structure over vectors made fit for it, ranked by true scores.

Items are ranked by inner product, and their norms differ; what FAISS clusters or links by is distance. With one column
sqrt(R^2 - |x|^2) more, R the largest norm, all vectors lie on one sphere, where the nearest is the largest inner
product (Bachrach et al., 2014, https://doi.org/10.1145/2645710.2645741); a query has a zero there.

Every kind grows alike. A structure is trained once over the vectors of that moment and never changed. What is removed
later is barred from it, what is added or changed lies beside it and is compared one by one, until it is worth training
a new one (`state`). Too few vectors to train over lie beside it, too.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from ..arrays import BoolArray, FloatArray, IntArray
from .exact import likely_first, nearest
from .faiss import library, read_mapped, selector, written_bytes
from .kinds import VectorIndex

# Fewer vectors are compared one by one: k-means and 4-bit codes want 16 to 40 points for each centroid.
FEWEST = 1000
VECTORS, STRUCTURE, ROWS, ABOUT = "vectors.npy", "structure.faiss", "rows.npy", "structure.json"


@dataclass(frozen=True)
class Structure:
    """A trained FAISS index over the vectors of one moment, and where these are now."""

    index: Any
    rows: IntArray  # (n,) row of each of its vectors, -1 where it was removed or changed
    radius: float  # R, the norm that all of its vectors were brought to


@dataclass(frozen=True)
class Allowed:
    """A filter, of the structure in the form that its kind wants, and of what lies beside it as ascending places."""

    inside: Any
    beside: IntArray


class ApproximateIndex(VectorIndex):
    """N vectors behind a FAISS structure; a kind says which, and how much of it a search looks at."""

    # The structure ranks by distance over vectors brought to one norm, or else by inner product.
    by_distance: ClassVar[bool] = True
    deepest: ClassVar[int] = 512  # rows that one search may find
    # Whether the order of what the structure finds is rough, so that all that it can find is ranked.
    coarse: ClassVar[bool] = False

    def __init__(self, vectors: FloatArray, structure: Structure, effort: int) -> None:
        self._vectors, self._structure, self._effort = vectors.view(np.ndarray), structure, effort
        self._vectors.flags.writeable = False
        rows = structure.rows
        self._live: BoolArray = rows >= 0  # (n,)
        self._moved = not np.array_equal(rows, np.arange(len(rows)))
        beside = np.ones(len(vectors), np.bool_)
        beside[rows[self._live]] = False
        self._beside: IntArray = np.flatnonzero(beside)  # rows compared one by one
        self._beside_vectors: FloatArray = np.asarray(self._vectors[self._beside])

    # ---- what a kind says ----

    @classmethod
    @abstractmethod
    def factory(cls, n: int, columns: int) -> str:
        """FAISS's name for the structure over n vectors of so many columns."""

    @classmethod
    @abstractmethod
    def ladder(cls, n: int) -> tuple[int, ...]:
        """What a search over n vectors may spend, in the kind's own unit, least first: more finds more."""

    @abstractmethod
    def barring(self, inside: BoolArray) -> Any:
        """What `found` takes to find only some (n,) of the structure's vectors."""

    @abstractmethod
    def found(self, points: FloatArray, k: int, barring: Any, effort: float) -> IntArray:
        """(B, k) places in the structure for (B, columns) points; `effort` times the usual is spent."""

    # ---- building ----

    @classmethod
    def build(cls, vectors: FloatArray) -> Self:
        """Train the structure over (N, D) vectors."""
        radius = float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors).max(initial=0.0)))
        n = len(vectors) if len(vectors) >= FEWEST else 0
        columns = cls._columns(vectors.shape[1])
        index = library.index_factory(columns, cls.factory(max(n, FEWEST), columns), cls._metric())
        if n:
            cls._train(index, cls._brought_to(radius, vectors))
        return cls(vectors, Structure(index, np.arange(n), radius), cls.ladder(max(n, FEWEST))[0])

    @classmethod
    def _metric(cls) -> int:
        return int(library.METRIC_L2 if cls.by_distance else library.METRIC_INNER_PRODUCT)

    @classmethod
    def _train(cls, index: Any, points: FloatArray) -> None:
        index.train(points)
        index.add(points)

    @classmethod
    def _columns(cls, dimension: int) -> int:
        """Columns with the one for the norm, up to a multiple of four: codes are cut into pairs of columns."""
        return (dimension + 4) // 4 * 4 if cls.by_distance else dimension

    @classmethod
    def _brought_to(cls, radius: float, vectors: FloatArray) -> FloatArray:
        """(N, columns) vectors on the sphere of that radius."""
        if not cls.by_distance:
            return vectors
        points = np.zeros((len(vectors), cls._columns(vectors.shape[1])), np.float32)
        points[:, : vectors.shape[1]] = vectors
        missing = radius**2 - np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
        points[:, vectors.shape[1]] = np.sqrt(np.maximum(missing, 0.0))
        return cls._turned(points)

    @classmethod
    def _turned(cls, points: FloatArray) -> FloatArray:
        """The points in the axes that the kind's codes want; no distance changes."""
        return points

    def regrown(self, vectors: FloatArray, old_rows: IntArray) -> Self:
        """The same structure: what was removed from it is barred, what is new lies beside it."""
        moved_to = np.full(len(self._vectors) + 1, -1, np.int64)  # the last place is for what was gone before
        moved_to[old_rows[old_rows >= 0]] = np.flatnonzero(old_rows >= 0)
        rows = moved_to[self._structure.rows]
        return type(self)(vectors, Structure(self._structure.index, rows, self._structure.radius), self._effort)

    # ---- searching ----

    @property
    def vectors(self) -> FloatArray:
        """(N, D), in memory or mapped from the disk."""
        return self._vectors

    def depth(self, effort: float) -> int:
        """The longest list of one search."""
        return min(self.deepest, len(self._vectors))

    def prepared(self, allowed: BoolArray) -> Allowed:
        """What is allowed, of the structure and of what lies beside it."""
        rows = self._structure.rows
        inside = self._live & allowed[rows] if self._moved else allowed[: len(rows)]
        return Allowed(self.barring(inside), np.flatnonzero(allowed[self._beside]))

    def search(self, queries: FloatArray, k: int, allowed: Allowed | None = None, effort: float = 1.0) -> IntArray:
        """(B, k) rows: what the structure finds, and what lies beside it."""
        found = self._in_structure(queries, self.depth(effort) if self.coarse else k, allowed, effort)
        if len(self._beside):
            found = np.hstack([found, self._among_others(queries, k, allowed)])
        return found if found.shape[1] == k else likely_first(self._vectors, queries, found, k)

    def _in_structure(self, queries: FloatArray, k: int, allowed: Allowed | None, effort: float) -> IntArray:
        structure = self._structure
        if not structure.index.ntotal:
            return np.full((len(queries), k), -1, np.int64)
        found = self.found(self._asked(queries), k, self._still if allowed is None else allowed.inside, effort)
        return np.where(found >= 0, structure.rows[found], -1) if self._moved else found

    @cached_property
    def _still(self) -> Any:
        """What bars all that was removed, None where nothing was."""
        return None if self._live.all() else self.barring(self._live)

    def _asked(self, queries: FloatArray) -> FloatArray:
        """(B, columns) queries on the sphere of the vectors, but in its plane; how long a query is changes no order."""
        if not self.by_distance:
            return queries
        asked = np.zeros((len(queries), self._columns(queries.shape[1])), np.float32)
        norms = np.sqrt(np.einsum("bd,bd->b", queries, queries))[:, None]
        asked[:, : queries.shape[1]] = queries * (self._structure.radius / np.maximum(norms, 1e-12))
        return self._turned(asked)

    def _among_others(self, queries: FloatArray, k: int, allowed: Allowed | None) -> IntArray:
        places = None if allowed is None else allowed.beside
        n = min(k, len(self._beside) if places is None else len(places))
        found = nearest(self._beside_vectors, queries, n, places) if n else np.zeros((len(queries), 0), np.int64)
        return self._beside[found]

    # ---- what it is ----

    @property
    def efforts(self) -> tuple[int, ...]:
        """What a search may spend."""
        return self.ladder(max(len(self._live), FEWEST))

    def with_effort(self, effort: int) -> Self:
        """The same structure, whose searches spend that much."""
        return type(self)(self._vectors, self._structure, effort)

    @property
    def nbytes(self) -> int:
        """The structure and what lies beside it."""
        return written_bytes(self._structure.index) + self._structure.rows.nbytes + self._beside_vectors.nbytes

    @property
    def settings(self) -> Mapping[str, object]:
        """Its effort."""
        return {"effort": self._effort}

    @property
    def state(self) -> Mapping[str, float]:
        """`growth`: what was added to and removed from the structure, for each of its vectors."""
        changed = len(self._beside) + int(np.count_nonzero(~self._live))
        if not len(self._live) and changed < FEWEST:  # a new one would have no structure either
            return {"growth": 0.0}
        return {"growth": changed / max(len(self._live), FEWEST)}

    def save(self, folder: Path) -> None:
        """Write the exact vectors, the structure and what it takes to read it."""
        np.save(folder / VECTORS, np.ascontiguousarray(self._vectors))
        np.save(folder / ROWS, self._structure.rows)
        library.write_index(self._structure.index, str(folder / STRUCTURE))
        about = {"effort": self._effort, "radius": self._structure.radius}
        (folder / ABOUT).write_text(json.dumps(about, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a saved index; its vectors, and the structure where FAISS can, stay on the disk until looked at."""
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        vectors = np.load(folder / VECTORS, mmap_mode="r" if (folder / VECTORS).stat().st_size > 128 else None)
        rows, index = np.load(folder / ROWS), read_mapped(folder / STRUCTURE)
        cls._require_fit(vectors, rows, index, folder)
        return cls(vectors, Structure(index, rows, float(about["radius"])), int(about["effort"]))

    @classmethod
    def _require_fit(cls, vectors: FloatArray, rows: IntArray, index: Any, folder: Path) -> None:
        """A ValueError where what was read is no index of this kind over these vectors."""
        expected = library.index_factory(index.d, cls.factory(max(index.ntotal, FEWEST), index.d), cls._metric())
        there = rows[rows >= 0]
        if (
            (type(index), index.metric_type) != (type(expected), expected.metric_type)
            or index.ntotal != len(rows)
            or index.d != cls._columns(vectors.shape[1])
            or rows.max(initial=-1) >= len(vectors)
            or len(np.unique(there)) != len(there)
        ):
            raise ValueError(f"the parts of the index in {folder} do not fit together")


class ScalarIndex(ApproximateIndex):
    """Every vector compared, at one byte a column: exact but for what the bytes cannot tell apart."""

    kind = "sq8"
    by_distance = False
    coarse = True
    deepest = 256

    @classmethod
    def factory(cls, n: int, columns: int) -> str:
        """One byte a column between its smallest and largest value."""
        return "SQ8"

    @classmethod
    def ladder(cls, n: int) -> tuple[int, ...]:
        """Everything is looked at."""
        return (1,)

    def barring(self, inside: BoolArray) -> Any:
        """FAISS's parameters."""
        return library.SearchParameters(sel=selector(inside))

    def found(self, points: FloatArray, k: int, barring: Any, effort: float) -> IntArray:
        """Places by the products of rounded columns."""
        return np.asarray(self._structure.index.search(points, k, params=barring)[1])


class GraphIndex(ApproximateIndex):
    """HNSW (Malkov & Yashunin, 2018, https://arxiv.org/abs/1603.09320); the effort is the length of the queue."""

    kind = "hnsw"

    @classmethod
    def factory(cls, n: int, columns: int) -> str:
        """32 links a vector."""
        return "HNSW32"

    @classmethod
    def ladder(cls, n: int) -> tuple[int, ...]:
        """A queue is as long as the longest list, so none is shorter than the candidates of a re-ranker."""
        return (256, 512, 1024, 2048, 4096)

    def depth(self, effort: float) -> int:
        """As long as the queue."""
        return min(self._queue(effort), len(self._vectors))

    def _queue(self, effort: float) -> int:
        # Of a longer queue's neighbours more are allowed than lists are long, and comparing with all is faster.
        return int(min(self._effort * effort, max(self._effort, 2048)))

    def barring(self, inside: BoolArray) -> BoolArray:
        """The mask: what is barred is dropped from what was found. Given to FAISS as a selector it would end the walk
        where the neighbourhood of the query is barred, and find what is allowed further away in vain."""
        return inside

    def found(self, points: FloatArray, k: int, barring: BoolArray | None, effort: float) -> IntArray:
        """Places by distance; the queue is as long whatever is asked for, so that a short list begins a long one."""
        if barring is None:
            return np.asarray(self._structure.index.search(points, k, params=self._usual)[1])
        queue = self._queue(effort)
        parameters = library.SearchParametersHNSW(efSearch=queue)
        found = np.asarray(self._structure.index.search(points, queue, params=parameters)[1])
        found[(found >= 0) & ~barring[found]] = -1
        # What is left moves to the front, in its order.
        return np.take_along_axis(found, np.argsort(found < 0, axis=1, kind="stable")[:, :k], axis=1)

    @cached_property
    def _usual(self) -> Any:
        """FAISS's parameters of a search without a filter."""
        return library.SearchParametersHNSW(efSearch=self._effort)

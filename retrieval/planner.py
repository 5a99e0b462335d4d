"""How a question is answered: by the index's own structure, or by comparing with every row that a filter leaves.

A structure built over all vectors wades through what is not allowed, and finds ever less of what is: an HNSW graph
whose filter leaves one vector in a thousand has a recall of 0.16. So what leaves an eighth or less is gathered and
scored exactly, and what leaves more is searched with more effort the more is barred.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import BoolArray, FloatArray, IntArray
from ..forks import Lock
from .exact import nearest

if TYPE_CHECKING:
    from .kinds import VectorIndex

# A filter that leaves this share or less is answered from the rows that it leaves.
GATHERED_SHARE = 1 / 8
# Vectors of repeated filters that one index keeps gathered.
KEPT_BYTES = 256 << 20
# Rows looked at beyond those asked for.
_MARGIN = 8


@dataclass(frozen=True)
class Plan:
    """Where the rows come from that are then ranked by their true scores."""

    find: Callable[[FloatArray, int], IntArray]  # (B, D) queries and n to (B, n) rows, likely best first, -1 for none
    limit: int  # the largest n: rows beyond are found exactly

    def ask(self, k: int) -> int:
        """How many rows to look at for the `k` best."""
        return min(k + _MARGIN, self.limit)


def exact_plan(vectors: FloatArray, rows: IntArray | None = None) -> Plan:
    """A comparison with all (N, D) vectors, or with some ascending `rows` of them."""
    return Plan(lambda queries, n: nearest(vectors, queries, n, rows), len(vectors) if rows is None else len(rows))


class Planner:
    """The plans of one index; any number of threads may ask."""

    def __init__(self, index: VectorIndex, kept_bytes: int = KEPT_BYTES) -> None:
        self._index, self._kept_bytes = index, kept_bytes
        # Masks by identity: while one is kept here its identity is not given to another.
        self._kept: OrderedDict[int, tuple[BoolArray, Plan, int]] = OrderedDict()
        self._lock = Lock()
        self._plain = self._searched(None, 1.0)

    def plan(self, allowed: BoolArray | None, count: int) -> Plan:
        """How to answer where `allowed` (N,) has `count` true rows.

        A mask that cannot be written to is taken to stay as it is: asked again, what it leaves is gathered already.
        """
        if allowed is None or count == len(self._index.vectors):
            return self._plain
        if allowed.flags.writeable:
            return self._made(allowed, count)[0]
        with self._lock:
            if id(allowed) in self._kept:
                self._kept.move_to_end(id(allowed))
                return self._kept[id(allowed)][1]
        made, size = self._made(allowed, count)
        with self._lock:
            self._kept[id(allowed)] = allowed, made, size + allowed.nbytes
            while sum(own for _, _, own in self._kept.values()) > self._kept_bytes:
                self._kept.popitem(last=False)
        return made

    def _made(self, allowed: BoolArray, count: int) -> tuple[Plan, int]:
        """A plan and the bytes that it holds."""
        total = len(self._index.vectors)
        if count > total * GATHERED_SHARE:
            return self._searched(self._index.prepared(allowed), total / count), 2 * allowed.nbytes
        rows = np.flatnonzero(allowed)
        own = np.ascontiguousarray(self._index.vectors[rows])  # (n, D)
        return Plan(lambda queries, n: rows[nearest(own, queries, n)], count), own.nbytes + rows.nbytes

    def _searched(self, allowed: Any, effort: float) -> Plan:
        index = self._index
        return Plan(lambda queries, n: index.search(queries, n, allowed, effort), index.depth(effort))

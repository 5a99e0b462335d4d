"""What every index kind implements, and the list of kinds.

A new kind is a subclass of `VectorIndex` with a name, in a file of this folder; nothing else lists the kinds.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from ..arrays import BoolArray, FloatArray, IntArray
from ..errors import IncompatibleError

FLAT = "flat"


class VectorIndex(ABC):
    """N vectors that can be searched by inner product; what every index kind implements."""

    kind: ClassVar[str] = ""  # its name; a class without one of its own is no kind, but what several have in common

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
    def prepared(self, allowed: BoolArray) -> Any:
        """What `search` needs to know of the true rows of a (N,) mask; made once for many searches."""

    @abstractmethod
    def search(self, queries: FloatArray, k: int, allowed: Any = None, effort: float = 1.0) -> IntArray:
        """(B, k) rows that are likely the best for (B, D) queries, best first to single precision; -1 where fewer are
        found.

        With `allowed`, from `prepared`, only rows of its mask are found. `k` lies between 1 and `depth(effort)`. With
        more effort than 1 a kind that does not look everywhere looks at as many times more.
        """

    def depth(self, effort: float) -> int:
        """The longest list that a search of this effort gives; what lies beyond is found exactly."""
        return len(self.vectors)

    def regrown(self, vectors: FloatArray, old_rows: IntArray) -> Self:
        """An index over (N, D) other vectors: row r is row `old_rows[r]` of this one, unchanged, or new where that
        is -1."""
        return self.build(vectors)

    @property
    def efforts(self) -> Sequence[int]:
        """What a search may spend, in the kind's own unit, least first; empty where it is always the same."""
        return ()

    def with_effort(self, effort: int) -> Self:
        """The same index, whose searches spend that much."""
        return self

    @property
    def settings(self) -> Mapping[str, object]:
        """What it is built with that is worth telling."""
        return {}

    @property
    def state(self) -> Mapping[str, float]:
        """How far it has grown from what it was built over, by the name of the measure."""
        return {}

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Memory that searches fill; exact vectors that stay on the disk do not count."""

    @property
    @abstractmethod
    def vectors(self) -> FloatArray:
        """(N, D) exactly what was added; not to be written to."""


def index_kinds() -> dict[str, type[VectorIndex]]:
    """Every kind in this folder by its name."""
    # A subclass is known once its module is imported, so the folder is the list of kinds.
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"{__package__}.{module.name}")
    return {kind.kind: kind for kind in _below(VectorIndex.__subclasses__()) if vars(kind).get("kind")}


def _below(kinds: list[type[VectorIndex]]) -> Iterator[type[VectorIndex]]:
    for kind in kinds:
        yield kind
        yield from _below(kind.__subclasses__())


def index_kind(name: str) -> type[VectorIndex]:
    """The class of an index kind."""
    kinds = index_kinds()
    # Version 0.1 wrote FAISS's name for its only kind, Flat.
    if name.lower() not in kinds:
        raise IncompatibleError(
            f"the index is of kind {name}, this version knows {', '.join(sorted(kinds))}; rebuild it with "
            "`hubspoke index build`."
        )
    return kinds[name.lower()]

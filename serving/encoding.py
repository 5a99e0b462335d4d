"""JSON in bytes: what is told of an item is encoded once, and an answer is put together from such pieces."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..results import jsonable

Describe = Callable[[Sequence[int]], list[dict[str, Any]]]
# Rows whose pieces are kept: a catalog of this size is held whole, a larger one as far as it is asked for.
KEPT_ROWS = 200_000


def dumps(value: Any) -> bytes:
    """A value as JSON without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


class ItemBytes:
    """What is told of the items of one catalog, by row, as the inside of a JSON object."""

    def __init__(self, describe: Describe, n_items: int) -> None:
        self._describe, self._pieces = describe, dict[int, bytes]()
        if n_items <= KEPT_ROWS:
            self.of(range(n_items))

    @property
    def nbytes(self) -> int:
        """That the pieces take, about: those of a few stand for all."""
        some = [len(piece) for piece in list(self._pieces.values())[:1000]]
        return int((sum(some) / len(some) + 100) * len(self._pieces)) if some else 0

    def of(self, rows: Sequence[int]) -> list[bytes]:
        """The pieces of some rows."""
        pieces = self._pieces  # which another thread may replace meanwhile
        missing = [row for row in rows if row not in pieces]
        if missing:
            if len(pieces) + len(missing) > KEPT_ROWS:
                pieces = self._pieces = {row: pieces[row] for row in rows if row in pieces}
            described = zip(missing, self._describe(missing), strict=True)
            pieces.update({row: dumps(jsonable(own))[1:-1] for row, own in described})
        return [pieces[row] for row in rows]

    def objects(self, rows: Sequence[int]) -> bytes:
        """A JSON array of what is told of some rows."""
        return b"[" + b",".join(b"{" + piece + b"}" for piece in self.of(rows)) + b"]"

    def listed(self, rows: Sequence[int], marks: Sequence[Mapping[str, Any]], fields: Sequence[str] | None) -> bytes:
        """A JSON array of a ranked list; of each item only `fields`, if any are named, beside its rank and its id."""
        pieces = zip(self.of(rows), marks, strict=True)
        if fields is not None:
            return dumps([_only(rank, piece, own, fields) for rank, (piece, own) in enumerate(pieces, 1)])
        items = (b'{"rank":%d,%b,%b' % (rank, piece, dumps(own)[1:]) for rank, (piece, own) in enumerate(pieces, 1))
        return b"[" + b",".join(items) + b"]"


def _only(rank: int, piece: bytes, marks: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    told = {**json.loads(b"{" + piece + b"}"), **marks}
    return {"rank": rank, **{name: value for name, value in told.items() if name == "item_id" or name in fields}}

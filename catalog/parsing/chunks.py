"""Long columns changed piece by piece, which bounds the memory that a change takes beside its result."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from ..spilling import let_go

PIECE = 100_000  # rows at a time


def piecewise(column: pl.Series, change: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """A column changed row by row; a piece that the change leaves as it is goes on sharing the memory of `column`."""
    pieces = [_changed(column.slice(start, PIECE), change) for start in range(0, max(len(column), 1), PIECE)]
    return pl.concat(pieces, rechunk=False)


def _changed(piece: pl.Series, change: Callable[[pl.Series], pl.Series]) -> pl.Series:
    let_go()
    changed = change(piece)
    return piece if changed.dtype == piece.dtype and changed.equals(piece) else changed


def repeated(value: object, dtype: pl.DataType, height: int) -> pl.Series:
    """(height,) one value in every row, which takes the memory of a piece at most."""
    piece = pl.Series([value], dtype=dtype).new_from_index(0, min(height, PIECE))
    whole, rest = divmod(height, PIECE)
    return pl.concat([*[piece] * whole, piece.head(rest)], rechunk=False) if whole else piece

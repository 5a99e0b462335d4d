"""A table of text as it comes in, piece by piece, and how pieces become one table with numbered rows."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from ..errors import InvalidDataError
from . import spilling

Found = dict[int, str | None]  # source row number to what was found there
# Noncharacters, which no text should contain: one that a piece lacks stands in it for bytes that are no UTF-8.
MARKS = tuple(map(chr, range(0xFDD0, 0xFDF0)))
NUL = "\x00"
ENCODING_REMEDY = "convert the file first, for example with iconv -f WINDOWS-1252 -t UTF-8, or say --encoding cp1252"


@dataclass(frozen=True)
class Piece:
    """Some rows of a table, every column as text, and what is wrong with them by code and row from 1."""

    frame: pl.DataFrame
    faults: Mapping[str, Found] = field(default_factory=dict)
    mark: str | None = None  # what stands for bytes that were no UTF-8


def as_utf8(content: bytes) -> tuple[bytes, str | None]:
    """The content with a mark for every run of bytes that is no UTF-8, and the mark if there is one."""
    if content.isascii():
        return content, None
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        mark = next((mark for mark in MARKS if mark.encode() not in content), "\ufffd")
        name = f"hubspoke.mark.{ord(mark):x}"
        codecs.register_error(name, lambda error: (mark, getattr(error, "end", 0)))
        return content.decode("utf-8", errors=name).encode("utf-8"), mark
    return content, None


def joined(pieces: Iterable[Piece]) -> tuple[pl.DataFrame, dict[str, Found]]:
    """All rows of the pieces, with the columns of all of them, and their faults by row of the whole."""
    frames: list[pl.DataFrame] = []
    faults: dict[str, Found] = {}
    spill = spilling.Spill()
    rows = held = 0
    for piece in pieces:
        frame, found = _readable(piece)
        for code, one in found.items():
            faults.setdefault(code, {}).update({rows + row: value for row, value in one.items()})
        frames.append(frame)
        rows += frame.height
        held += int(frame.estimated_size())
        if held > spilling.IN_MEMORY:
            spill.add(_one_below_the_other(frames))
            frames, held = [], 0
    if spill.rows and frames:
        spill.add(_one_below_the_other(frames))
    return spill.frame() if spill.rows else _one_below_the_other(frames), faults


def _one_below_the_other(frames: list[pl.DataFrame]) -> pl.DataFrame:
    if not frames:
        return pl.DataFrame()
    alike = all(frame.columns == frames[0].columns for frame in frames)
    return pl.concat(frames, how="vertical" if alike else "diagonal", rechunk=False)


def _readable(piece: Piece) -> tuple[pl.DataFrame, dict[str, Found]]:
    """The rows without marks and NUL characters, which become faults."""
    frame, faults = piece.frame, dict(piece.faults)
    for code, sign in (("bad_encoding", piece.mark), ("nul_byte", NUL)):
        if sign is None or not frame.height:
            continue
        marked = [name for name in frame.columns if frame[name].str.contains(sign, literal=True).any()]
        if not marked:
            continue
        clean = frame.with_columns(pl.col(marked).str.replace_all(sign, "\ufffd", literal=True))
        found: Found = {}
        for name in reversed(marked):
            mask = frame[name].str.contains(sign, literal=True).fill_null(False)
            shown = clean[name].filter(mask).to_list()
            found.update(zip((mask.arg_true() + 1).to_list(), shown, strict=True))
        frame, faults[code] = clean, found
    return frame, faults


def refuse_bad_names(names: Iterable[str], mark: str | None, path: object) -> None:
    """A header that cannot be read leaves nothing to map columns by."""
    if mark is not None and any(mark in name for name in names):
        raise InvalidDataError(f"The header of {path} holds bytes that are no UTF-8; {ENCODING_REMEDY}.")

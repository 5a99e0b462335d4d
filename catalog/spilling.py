"""Columns of text set down in temporary files and mapped into memory: a large table is not held as it was read.

A mapped column is read like any other, and its pages may leave memory at any time. The files have no name and are gone
with the last column that is read from them, also where a process is killed.
"""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path
from threading import Lock
from typing import IO
from weakref import WeakSet

import polars as pl
import pyarrow as pa

from ..files import file_faults

IN_MEMORY = 1 << 28  # bytes of a table up to which it stays in memory, and that are set down at once
NULLS = 100_000  # rows without value that are written at once
_maps: WeakSet[mmap.mmap] = WeakSet()
_lock = Lock()


class Spill:
    """Frames of text, one below the other in files of a column each; what one lacks is null there."""

    def __init__(self) -> None:
        self._columns: dict[str, _ColumnFile] = {}
        self.rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Set down further rows; `HubspokeError` where the disk of temporary files is full."""
        with file_faults(Path(tempfile.gettempdir())):
            for name in frame.columns:
                if name not in self._columns:
                    self._columns[name] = _ColumnFile()
                    self._columns[name].skip(self.rows)
            for name, file in self._columns.items():
                if name in frame.columns:
                    file.add(frame[name])
                else:
                    file.skip(frame.height)
        self.rows += frame.height

    def frame(self) -> pl.DataFrame:
        """All rows, mapped; none can be added any more."""
        with file_faults(Path(tempfile.gettempdir())):
            return pl.DataFrame([file.mapped().alias(name) for name, file in self._columns.items()])


class _ColumnFile:
    """The Arrow file of one column."""

    def __init__(self) -> None:
        self._stream: IO[bytes] = tempfile.TemporaryFile(prefix="hubspoke-")  # noqa: SIM115
        self._writer = pa.ipc.new_file(self._stream, pa.schema([("column", pa.string_view())]))

    def add(self, column: pl.Series) -> None:
        """Write one batch: rows are gathered faster from few and long ones."""
        array = column.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
        self._writer.write_batch(pa.record_batch([array], ["column"]))

    def skip(self, rows: int) -> None:
        """Write rows without value."""
        for start in range(0, rows, NULLS):
            self.add(pl.Series([None], dtype=pl.String).new_from_index(0, min(NULLS, rows - start)))

    def mapped(self) -> pl.Series:
        """The whole column."""
        self._writer.close()
        self._stream.flush()
        with self._stream:
            content = mmap.mmap(self._stream.fileno(), 0, access=mmap.ACCESS_READ)
        with _lock:
            _maps.add(content)
        frame = pl.from_arrow(pa.ipc.open_file(pa.py_buffer(content)).read_all())
        assert isinstance(frame, pl.DataFrame)
        return frame.to_series()


def filtered(frame: pl.DataFrame, keep: pl.Series) -> pl.DataFrame:
    """The rows where `keep` is true; those of a large table of text are set down anew."""
    if keep.all():
        return frame
    size = int(frame.estimated_size())
    if size <= IN_MEMORY or any(dtype != pl.String for dtype in frame.dtypes):
        return frame.filter(keep)
    spill, rows = Spill(), max(1, frame.height * IN_MEMORY // size)
    for start in range(0, frame.height, rows):
        let_go()
        spill.add(frame.slice(start, rows).filter(keep.slice(start, rows)))
    return spill.frame()


def let_go() -> None:
    """Let the pages of all mapped columns leave memory; those that are read again come back."""
    with _lock:
        for content in _maps:
            if hasattr(mmap, "MADV_DONTNEED"):
                content.madvise(mmap.MADV_DONTNEED)

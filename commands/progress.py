"""Progress on stderr: a bar on a terminal, now and then a plain line elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from ..progress import Progress
from .output import tell
from .plain import visible

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 5.0


class LineProgress(Progress):
    """Plain lines: a stage's beginning, its end, and at most one every few seconds between."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int]] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Write a line if one is due."""
        moment, before = self._last.get(stage, (0.0, -1))
        ended = done >= total
        fresh = before < 0 or done < before
        if fresh or (ended and before < total) or time.monotonic() - moment >= SECONDS_BETWEEN_LINES:
            self._last[stage] = (time.monotonic(), done)
            self.note(f"{stage}: {done}/{total}" if total != 1 else f"{stage}{': done' if ended else ' ...'}")

    def note(self, text: str) -> None:
        """Write the remark."""
        tell(visible(text))


class BarProgress(Progress):
    """Bars on a terminal; rich is imported when the first one is drawn."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Draw or move the stage's bar."""
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            self._bars = Bars(*columns, console=Console(stderr=True))
            self._bars.start()
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(visible(stage), total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)

    def note(self, text: str) -> None:
        """Write the remark above the bars."""
        if self._bars is None:
            tell(visible(text))
        else:
            self._bars.console.print(visible(text), markup=False, highlight=False)

    def close(self) -> None:
        """Leave the bars as they are and give the terminal back."""
        if self._bars is not None:
            self._bars.stop()
            self._bars, self._tasks = None, {}


def make_progress(quiet: bool) -> Progress:
    """The progress that fits where stderr goes."""
    return Progress() if quiet else BarProgress() if sys.stderr and sys.stderr.isatty() else LineProgress()

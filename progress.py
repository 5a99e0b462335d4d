"""How a workflow says how far it is: stages with a count, and notes. Silent unless the caller shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Receives the progress of a workflow; the command line shows it on stderr."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` steps of `stage` are behind us."""

    def note(self, text: str) -> None:
        """One remark for the person who waits."""


class SilentProgress:
    """Shows nothing; what Python callers get by default."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""


def stage_progress(progress: Progress, stage: str) -> Callable[[int, int], None]:
    """`progress` for code that counts steps and knows no stages, such as the encoders."""

    def report(done: int, total: int) -> None:
        progress(stage, done, total)

    return report

"""How work says how far it is: stages with a count, and notes. Silent unless the caller shows them."""

from __future__ import annotations

from collections.abc import Callable

# For code that counts its steps and knows no stages, such as the encoders: what is done, of how many.
StepProgress = Callable[[int, int], None]


class Progress:
    """Receives the progress of a workflow and shows nothing; the command line has kinds that write to stderr."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` steps of `stage` are behind us."""

    def note(self, text: str) -> None:
        """One remark for the person who waits."""

    def close(self) -> None:
        """Nothing more will be reported."""

    def stage(self, name: str) -> StepProgress:
        """The progress of one stage."""
        return lambda done, total: self(name, done, total)

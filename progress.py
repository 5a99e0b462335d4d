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


class Remark:
    """A remark about what lasts for a while: told when it changes, and once more when it is over."""

    def __init__(self, note: Callable[[str], object] = lambda text: None, over: str = "") -> None:
        self._note, self._over, self._last = note, over, ""

    def __call__(self, text: str) -> None:
        """How things stand now; an empty text where all is well."""
        if text != self._last:
            self._note(text or self._over)
        self._last = text

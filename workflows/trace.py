"""Where rows stood after each stage of a list, kept for whoever asks why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..retrieval.caps import Scored


class Trace:
    """The ranking that each stage gave out, as far as the next one read it.

    In the order of serving: `retrieve`, what the index finds, `rank`, what a re-ranker makes of it, `rules`, after
    boosts, `diversity`, each product once and the list spread out, and `list`, after caps and the share of new items.
    What may not be shown at all comes into none.
    """

    def __init__(self) -> None:
        self.stages: dict[str, list[Scored]] = {}

    def follow(self, stage: str, ranked: Iterable[Scored]) -> Iterator[Scored]:
        """The ranking as it is, written down while it is read; stages are followed in the order of serving."""
        kept = self.stages[stage] = []

        def reading() -> Iterator[Scored]:
            for scored in ranked:
                kept.append(scored)
                yield scored

        return reading()

    def places(self, row: int) -> dict[str, int | None]:
        """The place of a row after each stage that is written down; None where it did not come out of it."""
        found: dict[str, int | None] = {}
        for stage, ranked in self.stages.items():
            found[stage] = next((place for place, (own, _) in enumerate(ranked, 1) if own == row), None)
        return found


def followed(trace: Trace | None, stage: str, ranked: Iterable[Scored]) -> Iterator[Scored]:
    """The ranking, written down where there is a trace."""
    return iter(ranked) if trace is None else trace.follow(stage, ranked)

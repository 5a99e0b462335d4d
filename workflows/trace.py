"""Where rows stood after each stage of a list, kept for whoever asks why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..retrieval.caps import Scored

# In the order of serving: what the index finds, what a re-ranker makes of it, boosts, one product once and what spreads
# a list out, and last caps and the share of new items. What may not be shown at all comes into none.
STAGES = ("retrieve", "rank", "rules", "diversity", "list")


class Trace:
    """The ranking that each stage gave out, as far as the next one read it."""

    def __init__(self) -> None:
        self.stages: dict[str, list[Scored]] = {}

    def follow(self, stage: str, ranked: Iterable[Scored]) -> Iterator[Scored]:
        """The ranking as it is, written down while it is read."""
        kept = self.stages.setdefault(stage, [])
        for scored in ranked:
            kept.append(scored)
            yield scored

    def places(self, row: int) -> dict[str, int | None]:
        """The place of a row after each stage that there was; None where it did not come out of it."""
        found: dict[str, int | None] = {}
        for stage in (name for name in STAGES if name in self.stages):
            found[stage] = next((place for place, (own, _) in enumerate(self.stages[stage], 1) if own == row), None)
        return found

    def score(self, stage: str, row: int) -> float | None:
        """The score that a row had after a stage; None where it did not come out of it."""
        return next((score for own, score in self.stages.get(stage, ()) if own == row), None)


def followed(trace: Trace | None, stage: str, ranked: Iterable[Scored]) -> Iterator[Scored]:
    """The ranking, written down where there is a trace."""
    return iter(ranked) if trace is None else trace.follow(stage, ranked)

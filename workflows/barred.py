"""What stood between an item and a list: the stage that held it back, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..arrays import DoubleArray, IntArray
from ..results import Record

if TYPE_CHECKING:
    from .question import Question
    from .recommendations import Recommender
    from .trace import Trace

# At most so many are told.
MOST_BARRED = 20
Stage = Literal["catalog", "rules", "filter", "session", "rank", "diversity", "caps"]


@dataclass(frozen=True)
class BarredItem(Record):
    """An item that scores as well as the list that is shown, and is not in it."""

    item_id: str
    title: str
    score: float
    score_rank: int  # by score alone in the whole catalog
    stage: Stage
    reason: str


class Bars:
    """Why rows are not in a list: one question, what was answered, and what each stage made of it."""

    def __init__(
        self, recommender: Recommender, question: Question, hidden: IntArray, trace: Trace, listed: Sequence[int]
    ) -> None:
        self._recommender, self._question, self._hidden = recommender, question, hidden
        self._listed, self._trace = listed, trace
        self._ruled, self._spread = ({row for row, _ in trace.stages.get(name, ())} for name in ("rules", "diversity"))

    def against(self, row: int) -> tuple[Stage, str] | None:
        """The stage that keeps a row out of every such list, or out of this one, and why; None where none does."""
        catalog, filter = self._recommender.catalog, self._question.filter
        never = catalog.barred(row, self._hidden, filter)
        if never is not None or row in self._listed:
            return never
        groups = catalog.groups
        same = next((own for own in self._listed if groups[own] == groups[row]), None)
        if same is not None and row not in self._spread:
            return "diversity", f"one product with {self._recommender.item_ids[same]}"
        if row in self._spread and (full := catalog.rules.full(row, self._listed)):
            return "caps", full
        return None

    def overtaken(self, row: int) -> tuple[Stage, str]:
        """The stage that ranked a row lower than its score does."""
        boost, places = float(self._recommender.catalog.rules.boosts[row]), self._trace.places(row)
        if boost < 0:
            return "rules", f"held back by a boost of {boost:g}"
        if (ranked := places.get("rank")) is not None and ranked > len(self._listed):
            return "rank", f"the re-ranker puts it at {ranked}"
        if row in self._ruled and (self._question.diversity or self._question.near is not None):
            return "diversity", "like what is shown before it"
        return "rules", "items that are pinned, lifted or put forward take its place"

    def best(self, scores: DoubleArray, k: int) -> list[BarredItem]:
        """What score alone would list and is not shown, best first, with what may never be; `scores` are (N,)."""
        found, kept = list[tuple[int, int, Stage, str]](), 0
        for place, row in enumerate(np.lexsort((np.arange(len(scores)), -scores)).tolist(), 1):
            if kept == k or len(found) == MOST_BARRED:
                break
            reason = self.against(row)
            if row not in self._listed:
                found.append((place, row, *(reason or self.overtaken(row))))
            kept += reason is None
        described = self._recommender.catalog.describe([row for _, row, *_ in found])
        return [
            BarredItem(about["item_id"], about["title"], round(float(scores[row]), 6), place, stage, reason)
            for about, (place, row, stage, reason) in zip(described, found, strict=True)
        ]

"""What people think of recommendations, and how far a recommender agrees with them.

After a session, every item that somebody found good should stand before every one that they found bad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..registry.records import JudgementRecord
from ..results import Record
from .question import Question

if TYPE_CHECKING:
    from .context import Context
    from .recommendations import Recommender


@dataclass(frozen=True)
class Agreement(Record):
    """How a recommender ranks what was judged."""

    ref: str
    judged: int  # judgements that were read
    good: int  # of them
    pairs: int  # of a good and a bad item after one session
    agreed: float | None  # share of the pairs whose good item stands first, halves for equals; None without pairs


class Judgements:
    """Judgements of the domains."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def add(self, domain: str, ref: str, session: Sequence[str], item: str, good: bool) -> None:
        """Keep a judgement in the name of the context's actor."""
        if not session:
            raise UsageError("A judgement is about what follows a session; click products first.")
        self._context.registry.judgements.add(domain, ref, session, item, good, self._context.actor)

    def list(self, domain: str) -> list[JudgementRecord]:
        """The judgements of a domain, oldest first, one for each person and thing."""
        return self._context.registry.judgements.list(domain)


def agreement(recommender: Recommender, judgements: Sequence[JudgementRecord]) -> Agreement:
    """How far a recommender ranks as people judged."""
    sessions: dict[tuple[str, ...], list[JudgementRecord]] = {}
    for own in judgements:
        sessions.setdefault(tuple(own.session), []).append(own)
    pairs, agreed = 0, 0.0
    for session, judged in sessions.items():
        items = list(dict.fromkeys(own.item for own in judged))
        ranked = recommender.rank(Question(session, fallback=True), items).items
        # What may not be shown stands behind everything that is.
        place = dict.fromkeys(items, len(items)) | {own["item_id"]: own["rank"] for own in ranked}
        good, bad = ([place[own.item] for own in judged if own.good is wanted] for wanted in (True, False))
        pairs += len(good) * len(bad)
        agreed += sum(0.5 if one == other else float(one < other) for one in good for other in bad)
    count = sum(own.good for own in judgements)
    return Agreement(recommender.ref, len(judgements), count, pairs, agreed / pairs if pairs else None)

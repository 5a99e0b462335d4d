"""What a recommender hands back: the records of its answers, and what tells them of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..results import Record
from .catalog_change import Behind
from .newcomers import Elsewhere
from .question import Question

if TYPE_CHECKING:
    from ..arrays import BoolArray
    from ..retrieval.caps import Scored
    from .shown_catalog import ShownCatalog


@dataclass(frozen=True)
class Answer(Record):
    """What was asked, and what the answer rests on."""

    ref: str  # what was asked
    release: str | None  # release that answered; None where a version was asked by itself
    index: str  # index version that answered
    # Version behind its order: re-ranker, spoke or hub; without a session `newcomer-popularity`, `newest` or `typical`.
    served_by: str
    session: Sequence[Mapping[str, Any]]  # items that the answer rests on, oldest first
    unknown: Sequence[str]  # items of the session that the index does not know
    seen_items: str  # `ranked` or `excluded`
    rules: str | None  # version of the merchandising rules in force
    behind: Behind | None  # what the index does not know of the newest catalog; None where it knows all of it


@dataclass(frozen=True)
class Recommendations(Answer):
    """A ranked list: items with title, score and what is shown of a product, cold ones and pinned ones marked."""

    known_from: Sequence[Elsewhere]  # categories that know a shopper who has no session in this one
    items: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RankedItems(Recommendations):
    """Items that were given, in the order in which they would be shown."""

    left_out: Sequence[Mapping[str, str]]  # `item_id` and `why` of those that may not be shown


@dataclass(frozen=True)
class Found:
    """The rows that answer a question, best first, before anything is told of them."""

    question: Question
    ranked: Sequence[Scored]
    session: Sequence[int]  # rows that the answer rests on, oldest first
    unknown: Sequence[str]
    by: str  # spoke or hub version behind it, or what decides without a session
    pinned: Sequence[int] = ()
    known_from: Sequence[Elsewhere] = ()


@dataclass(frozen=True)
class SearchResults(Record):
    """A ranked list of what is like a description, a picture or both."""

    ref: str  # what was asked
    release: str | None  # release that answered; None where a version was asked by itself
    index: str  # index version that answered
    served_by: str
    text: str | None
    picture: str | None
    rules: str | None  # version of the merchandising rules in force
    behind: Behind | None  # as in `Answer`
    items: Sequence[Mapping[str, Any]]  # as in `Recommendations`


@dataclass(frozen=True)
class Teller:
    """Makes answers of the rows that one index found."""

    ref: str  # what is asked
    release: str | None  # release that answers; None where a version is asked by itself
    index: str
    catalog: ShownCatalog
    cold: BoolArray  # (N,)

    def tell(self, found: Found) -> Recommendations:
        """The answer that rows make."""
        items = self.shown(found.ranked, found.pinned)
        return Recommendations(**self.about(found), session=self.catalog.describe(found.session), items=items)

    def searched(self, found: Found, text: str | None, picture: str | None) -> SearchResults:
        """The answer that rows make to a search."""
        about = {name: own for name, own in self.about(found).items() if name in SearchResults.__dataclass_fields__}
        return SearchResults(**about, text=text, picture=picture, items=self.shown(found.ranked))

    def about(self, found: Found) -> dict[str, Any]:
        """What an answer says beside its items and those of its session."""
        return {
            "ref": self.ref,
            "release": self.release,
            "index": self.index,
            "served_by": found.by,
            "unknown": list(found.unknown),
            "seen_items": "excluded" if found.question.exclude_seen else "ranked",
            "rules": self.catalog.rules_ref,
            "behind": self.catalog.behind,
            "known_from": list(found.known_from),
        }

    def shown(self, found: Sequence[Scored], pinned: Sequence[int] = ()) -> list[dict[str, Any]]:
        """A ranked list as it is shown."""
        described = zip(self.catalog.describe([row for row, _ in found]), self.marks(found, pinned), strict=True)
        return [{"rank": rank, **about, **marks} for rank, (about, marks) in enumerate(described, 1)]

    def marks(self, found: Sequence[Scored], pinned: Sequence[int] = ()) -> list[dict[str, Any]]:
        """What a list says of its items beside describing them."""
        return [
            {"score": round(score, 6), "cold": bool(self.cold[row]), "pinned": row in pinned} for row, score in found
        ]

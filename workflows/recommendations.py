"""Recommendations of a release, spoke or index: after a session, to a known shopper, or next to an item.
A list is made in stages: items are retrieved from the index, what may not be shown is passed over (`ShownCatalog`), the
best are put in order by the release's re-ranker, if it has one, merchandising rules lift and hold back, one product is
kept once, the list is spread out where that is asked for, and the caps of the rules have the last word. A `Trace`
writes down what each stage made of it.
Items that the newest catalog lacks or says are not available are never recommended, but a session may hold them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import BoolArray, DoubleArray, FloatArray, IntArray
from ..catalog.schema import EVENT_CODES
from ..errors import NotFoundError, UsageError
from ..registry.records import ReleaseRecord
from ..results import Record
from ..retrieval.rules import Arranged
from .diversity import first_of_each, passed_over, spread_out
from .index_loading import LoadedIndex, index_of, load_index
from .models import prepare
from .newcomers import Elsewhere, Ranking, rank_for_newcomers
from .question import Question
from .served_index import ServedIndex, open_index
from .shoppers import Shoppers
from .shown_catalog import ShownCatalog
from .trace import Trace, followed

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from ..catalog.sequences import History
    from ..retrieval.caps import Scored
    from ..retrieval.filters import Filter
    from .context import Context
    from .datasets import Dataset
    from .ranker import Ranker

# Rows that a shopper's past gives more, and how much: (M,) each.
Lifted = tuple[IntArray, FloatArray]


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
    items: Sequence[Mapping[str, Any]]  # as in `Recommendations`


class Recommender:
    """One index, loaded once for many questions; any number of threads may ask it at once.

    An alias is followed, and the newest events are looked up, when it is loaded: make a new one to see later ones.
    """

    def __init__(self, context: Context, ref: str) -> None:
        # An alias is followed once: one that moves meanwhile must not give the index of one release and the rules of
        # another.
        exact = context.registry.resolve(ref).ref
        self.ref, self._context = ref, context
        named = context.registry.get(exact)
        # A version that is asked by itself has no rules.
        release = named if isinstance(named, ReleaseRecord) else None
        self.release_ref = release.ref if release else None
        self.loaded: ServedIndex = open_index(context, index_of(context, exact))
        self.vectors: FloatArray = self.loaded.index.vectors()  # (N, D)
        self.catalog = ShownCatalog(
            context, self.loaded.record, self.loaded.index.item_ids, release.rules if release else None
        )
        self.reranker_ref = release.reranker if release else None
        self.ranker = self._load_ranker()
        self.shoppers = Shoppers(context, self.dataset.domain, self.dataset.items["item_id"])
        # A spoke's vectors say in one column whether the item was cold; to a launch floor without it every item is.
        flag = self.loaded.sessions.width
        self.cold: BoolArray = self.vectors[:, flag] > 0 if flag else np.ones(len(self.vectors), dtype=np.bool_)
        self._lock = Lock()  # around what is computed once, at the first question that needs it
        self._completing = Lock()  # one of its own: loading the hub takes seconds, which lists must not wait for

    def _load_ranker(self) -> Ranker | None:
        if self.reranker_ref is None:
            return None
        from .ranker import load_ranker

        return load_ranker(self._context, self.reranker_ref, self.loaded, self.shown)

    @property
    def item_ids(self) -> tuple[str, ...]:
        """Every item of the catalog, by row."""
        return self.catalog.item_ids

    @property
    def dataset(self) -> Dataset:
        """The catalog that the index was filled from."""
        return self.catalog.dataset

    @property
    def shown(self) -> pl.DataFrame:
        """What the newest catalog says of the items, by row."""
        return self.catalog.items

    @property
    def complete(self) -> LoadedIndex:
        """All of what filled the index, loaded when it is first asked for: a description takes the hub's encoders."""
        with self._completing:
            return self._complete

    @cached_property
    def _complete(self) -> LoadedIndex:
        prepare(self._context)
        return load_index(self._context, self.loaded.record, self.loaded.index)

    @property
    def rules_ref(self) -> str | None:
        """The version of the merchandising rules in force."""
        return self.catalog.rules_ref

    def row(self, item: str) -> int:
        """The row of an item of the catalog."""
        return self.catalog.row(item)

    def recommend(
        self,
        session: Sequence[str] = (),
        user: str | None = None,
        k: int = 10,
        exclude_seen: bool = False,
        diversity: float = 0.0,
        near: float | None = None,
        filter: Filter | None = None,
    ) -> Recommendations:
        """`answer` to a question of these parts."""
        return self.answer(Question(session, user, k, exclude_seen, filter, diversity, near))

    def answer(self, question: Question, trace: Trace | None = None) -> Recommendations:
        """The `k` items to show after a session, or to a known shopper; `trace` is told what each stage does.

        Without a session, or to a shopper known from other categories alone, it is what is popular with newcomers, or
        what is new; a user id that no category knows is a NotFoundError, as long as all of them can be read. One
        product is shown once, as long as there are others.
        """
        return self.tell(self.find(question, trace))

    def find(self, question: Question, trace: Trace | None = None) -> Found:
        """The rows of the answer to a question."""
        return self._find(question, self.catalog.allowed(question.filter), trace)

    def rank(self, question: Question, items: Sequence[str]) -> RankedItems:
        """Given items in the order in which the shopper of a question would see them; its `k` has no part in it."""
        known = [self.catalog.row_of[item] for item in dict.fromkeys(items) if item in self.catalog.row_of]
        given = np.zeros(len(self.item_ids), dtype=np.bool_)
        given[known] = True
        whole = replace(question, k=max(1, len(known)))
        answer = self.tell(self._find(whole, given & self.catalog.allowed(question.filter)))
        listed = {own["item_id"] for own in answer.items}
        hidden = self._hidden(self.history(question)[0], question.exclude_seen)
        left_out = [
            {"item_id": item, "why": self._why_left_out(item, hidden, question.filter)}
            for item in dict.fromkeys(items)
            if item not in listed
        ]
        fields = {name: getattr(answer, name) for name in Recommendations.__dataclass_fields__}
        return RankedItems(**fields, left_out=left_out)

    def _why_left_out(self, item: str, hidden: IntArray, filter: Filter | None) -> str:
        if item not in self.catalog.row_of:
            return "not in the catalog"
        return self.catalog.reason_against(self.row(item), hidden, filter) or "beyond a limit of the rules"

    def similar(self, item: str, k: int = 10, filter: Filter | None = None) -> Recommendations:
        """The `k` items whose content is nearest to an item's, the item itself left out.

        Where content is not read at all it is the behavioural part of their vectors that is compared.
        """
        return self.tell(self.find_similar(item, k, filter))

    def find_similar(self, item: str, k: int = 10, filter: Filter | None = None) -> Found:
        """The rows of the items that are similar to one."""
        asked, row = Question((item,), k=k, exclude_seen=True, filter=filter), self.row(item)
        sessions = self.loaded.sessions
        query = sessions.content_query(self.vectors[row, sessions.behaviour_dimension :])
        if not sessions.content:
            query[: sessions.width] = self.vectors[row, : sessions.width]
        ranked = self._searched(query, k, self.catalog.allowed(filter), {row})
        found = list(islice(self._listed(Arranged(ranked), [], asked), k))
        return Found(asked, found, [row], [], self.loaded.record.model)

    def search(
        self,
        text: str | None = None,
        picture: Path | None = None,
        k: int = 10,
        filter: Filter | None = None,
        image_share: float | None = None,
    ) -> SearchResults:
        """The `k` items whose content is most like a description, a picture, or both together.

        `image_share`, from 0 to 1, is what the picture weighs beside the words; by default what pictures weigh here.
        """
        asked = Question(k=k, filter=filter)  # refuses what is no length
        wanted = (text or "").strip()
        if not wanted and picture is None:
            raise UsageError("Nothing was looked for; give some words, or a picture with --image FILE.")
        if picture is not None and not picture.is_file():
            raise NotFoundError(f"There is no picture {picture}; check the path.")
        spoke, hub = self.complete.spoke, self.complete.hub
        query = spoke.embed_query(hub.encode_query(wanted or None, picture), image_share)
        if not query.any():
            raise UsageError(
                f"{self.loaded.record.ref} has no space for that: its catalog has no "
                f"{'pictures' if picture and not wanted else 'texts'} that are read; look for the other."
            )
        ranked = self._searched(query, k, self.catalog.allowed(filter), set())
        found = list(islice(self._listed(Arranged(ranked), [], asked), k))
        return SearchResults(
            ref=self.ref,
            release=self.release_ref,
            index=self.loaded.record.ref,
            served_by=self.loaded.record.model,
            text=wanted or None,
            picture=str(picture) if picture else None,
            rules=self.rules_ref,
            items=self._shown(found),
        )

    def history(self, question: Question) -> tuple[History, list[str], list[Elsewhere]]:
        """The shopper's known events, oldest first, the items that are unknown, and who else knows the shopper.

        Empty for a shopper who is known from other categories alone, and where what is unknown may fall back.
        """
        from ..catalog.sequences import History

        nothing = History(np.zeros(0, dtype=np.int64))
        if question.followed is not None:
            return question.followed.history, list(question.followed.unknown), []
        if question.user is not None:
            try:
                history, known_from = self.shoppers.read(question.user)
            except NotFoundError:
                if not question.fallback:
                    raise
                return nothing, [], []
            return history, [], known_from
        events, row_of = question.events, self.catalog.row_of
        unknown = [own.item_id for own in events if own.item_id not in row_of]
        known = [own for own in events if own.item_id in row_of]
        if events and not known and not question.fallback:
            raise NotFoundError(
                f"None of the {len(events)} items of the session (first: {events[0].item_id!r}) is in "
                f"{self.loaded.record.ref}; "
                "check the ids, or ingest the catalog they belong to and build its index."
            )
        rows = np.array([row_of[own.item_id] for own in known], dtype=np.int64)
        moments = [own.microseconds for own in known]
        times = np.array(moments, np.int64) if known and None not in moments else None
        codes = [EVENT_CODES.get(own.event_type or "", 0) for own in known]
        return History(rows, times, np.array(codes, np.int64) if any(codes) else None), unknown, []

    def _find(self, question: Question, allowed: BoolArray, trace: Trace | None = None) -> Found:
        """The list of a question over the (N,) allowed rows."""
        history, unknown, known_from = self.history(question)
        k, exclude_seen = question.k, question.exclude_seen
        hidden = self._hidden(history, exclude_seen)
        pinned = [row for row in self.catalog.rules.pinned(allowed) if row not in hidden][:k]
        if not len(history):
            return self._without_session(question, allowed, unknown, pinned, known_from)
        query = self._query(history, exclude_seen, question.followed.behaviour if question.followed else None)
        barred = {*hidden.tolist(), *pinned}
        lifted = self.loaded.sessions.mixture.lifted(history, exclude_seen)
        wanted = max(k, self.catalog.rules.reads, self.ranker.config.spoke_candidates if self.ranker else 0)
        ranked = followed(trace, "retrieve", self._ranked(query, wanted, allowed, barred, lifted))
        reordered = None
        if self.ranker:
            (request,) = self.ranker.asked([history], query[None], exclude_seen=exclude_seen)
            reordered = self.ranker.reorder(request, ranked, allowed, barred)
            ranked = followed(trace, "rank", reordered.ranked)

        def scored(rows: IntArray) -> list[Scored]:
            found = list(zip(rows.tolist(), self.scores(query, rows, lifted).tolist(), strict=True))
            return reordered.rescored(found) if reordered else found

        def best_of(rows: IntArray, n: int) -> list[Scored]:
            own = rows[~np.isin(rows, list(barred))]
            if len(own) > n:
                # A re-ranker puts its candidates before all others, and leaves these in their order.
                best = own[np.lexsort((own, -self.scores(query, own, lifted)))[:n]]
                found = np.array(list(reordered.scores) if reordered else [], np.int64)
                own = np.union1d(best, own[np.isin(own, found)])
            return sorted(scored(own), key=_best_first)[:n]

        arranged = self.catalog.rules.arranged(ranked, allowed, best_of)
        # Pinned items have their own score too: it says how well they would have done.
        leading = scored(np.array(pinned, np.int64))
        rest = islice(self._listed(arranged, pinned, question, trace), k - len(pinned))
        rows, by = history.items.tolist(), self.reranker_ref or self.loaded.record.model
        return Found(question, [*leading, *rest], rows, unknown, by, pinned)

    def _hidden(self, history: History, exclude_seen: bool) -> IntArray:
        """Rows of a history that are not recommended again."""
        return self.loaded.sessions.mixture.hidden(history, exclude_seen)

    def _query(self, history: History, exclude_seen: bool, behaviour: FloatArray | None = None) -> FloatArray:
        """(D,) the session's vector, made of the (1, D') embedding of its behavioural part where that is known."""
        # The model is given the (T, D) vectors of the session, not those of the catalog.
        own, vectors = replace(history, items=np.arange(len(history))), self.vectors[history.items]
        embed = self.loaded.sessions.embed
        found: FloatArray = embed(vectors, [own], exclude_seen=exclude_seen, behaviour=behaviour)[0]
        return found

    def _without_session(
        self,
        question: Question,
        allowed: BoolArray,
        unknown: Sequence[str],
        pinned: Sequence[int],
        known_from: Sequence[Elsewhere],
    ) -> Found:
        """What to show before anything is known of a shopper here."""
        with self._lock:
            ranking = self._for_newcomers
        scores = ranking.scores

        def best_of(rows: IntArray, n: int) -> list[Scored]:
            return ranking.best_of(rows[~np.isin(rows, pinned)], n)

        arranged = self.catalog.rules.arranged(ranking.among(allowed, pinned), allowed, best_of)
        arranged = self.catalog.rules.for_newcomers(arranged, pinned)
        rest = islice(self._listed(arranged, pinned, question), question.k - len(pinned))
        found = [*((row, float(scores[row])) for row in pinned), *rest]
        asked = replace(question, exclude_seen=False)
        return Found(asked, found, [], unknown, ranking.name, pinned, known_from)

    def _listed(
        self, arranged: Arranged, shown: Sequence[int], question: Question, trace: Trace | None = None
    ) -> Iterator[Scored]:
        """A ranking as a list shows it, behind the rows that are shown already: one product once, caps kept."""
        with self._lock:
            groups = self.catalog.groups

        def arrange(firsts: Iterator[Scored]) -> Iterator[Scored]:
            own = spread_out(firsts, self._content, question.diversity) if question.diversity else firsts
            return own if question.near is None else passed_over(own, self._content, question.near, shown)

        once = first_of_each(followed(trace, "rules", arranged.ranked), groups, shown, arrange)
        spread = followed(trace, "diversity", once)
        return followed(trace, "list", self.catalog.rules.limit(spread, shown, arranged.fresh, groups))

    @cached_property
    def _content(self) -> FloatArray:
        """(N, R) what items are told apart by: their content, or their behaviour where content is not read."""
        sessions = self.loaded.sessions
        split = sessions.behaviour_dimension
        return sessions.space.alike(self.vectors[:, split:]) if sessions.content else self.vectors[:, :split]

    @cached_property
    def _for_newcomers(self) -> Ranking:
        return rank_for_newcomers(self._context, self.dataset, self.shoppers.events, self.shown, self._content)

    def scores(self, query: FloatArray, rows: IntArray, lifted: Lifted | None = None) -> DoubleArray:
        """(n,) scores of some rows for a (D,) session vector, with what the shopper's past gives them."""
        from ..spokes.repeats import given_to

        found = self.loaded.index.scores(query, rows)
        return found if lifted is None else found + given_to(rows, lifted)

    def _ranked(
        self, query: FloatArray, k: int, allowed: BoolArray, barred: set[int], lifted: Lifted
    ) -> Iterator[Scored]:
        """Allowed rows that are not barred, with their scores; a limit per brand may use up more than `k`."""
        if not len(lifted[0]):
            return self._searched(query, k, allowed, barred)
        # What the shopper took before is scored by itself, and the index is asked for the rest.
        own = np.array([row for row in lifted[0].tolist() if allowed[row] and row not in barred], np.int64)
        taken = list(zip(own.tolist(), self.scores(query, own, lifted).tolist(), strict=True))
        rest = self._searched(query, k, allowed, barred.union(own.tolist()))
        return heapq.merge(sorted(taken, key=_best_first), rest, key=_best_first)

    def _searched(self, query: FloatArray, k: int, allowed: BoolArray, barred: set[int]) -> Iterator[Scored]:
        """What the index finds among the allowed rows but the barred ones, best first."""
        # Most lists are full at once, so more than `k` is looked for only when it is needed.
        given = 0
        while True:
            found = self.loaded.index.search(query[None], k, allowed, barred)[0]
            yield from found[given:]
            if len(found) < k:
                return
            given, k = len(found), 2 * k

    def tell(self, found: Found) -> Recommendations:
        """The answer that rows make."""
        items = self._shown(found.ranked, found.pinned)
        return Recommendations(**self.about(found), session=self.describe(found.session), items=items)

    def about(self, found: Found) -> dict[str, Any]:
        """What an answer says beside its items and those of its session."""
        return {
            "ref": self.ref,
            "release": self.release_ref,
            "index": self.loaded.record.ref,
            "served_by": found.by,
            "unknown": list(found.unknown),
            "seen_items": "excluded" if found.question.exclude_seen else "ranked",
            "rules": self.rules_ref,
            "known_from": list(found.known_from),
        }

    def _shown(self, found: Sequence[Scored], pinned: Sequence[int] = ()) -> list[dict[str, Any]]:
        """A ranked list as it is shown."""
        described = zip(self.describe([row for row, _ in found]), self.marks(found, pinned), strict=True)
        return [{"rank": rank, **about, **marks} for rank, (about, marks) in enumerate(described, 1)]

    def marks(self, found: Sequence[tuple[int, float]], pinned: Sequence[int] = ()) -> list[dict[str, Any]]:
        """What a list says of its items beside describing them."""
        return [
            {"score": round(score, 6), "cold": bool(self.cold[row]), "pinned": row in pinned} for row, score in found
        ]

    def describe(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """What is shown of the items of these rows."""
        return self.catalog.describe(rows)


def _best_first(found: Scored) -> tuple[float, int]:
    """The place of a row with its score: equal scores go by row."""
    return -found[1], found[0]

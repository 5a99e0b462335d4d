"""Recommendations of a release, spoke or index: after a session, to a known shopper, or next to an item.
A list is made in stages: items are retrieved from the index, what may not be shown is passed over (`ShownCatalog`), the
best are put in order by the release's re-ranker, if it has one, merchandising rules lift and hold back, one product is
kept once, the list is spread out where that is asked for, and the caps of the rules have the last word. A `Trace`
writes down what each stage made of it.
Items that the newest catalog lacks or says are not available are never recommended, but a session may hold them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import BoolArray, FloatArray, IntArray
from ..errors import NotFoundError, UsageError
from ..forks import Lock
from ..registry.records import ReleaseRecord
from ..retrieval.caps import best_first
from ..retrieval.rules import Arranged
from .answers import Found, RankedItems, Recommendations, SearchResults, Teller
from .diversity import first_of_each, passed_over, spread_out
from .index_loading import LoadedIndex, index_of, load_index
from .models import prepare
from .newcomers import Elsewhere, Ranking, rank_for_newcomers
from .question import Question
from .retrieving import Retriever
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
        self.loaded: ServedIndex = open_index(context, index_of(context, exact))
        self.retriever = Retriever(self.loaded.index)
        self.vectors: FloatArray = self.loaded.index.vectors()  # (N, D)
        self.catalog = ShownCatalog(context, self.loaded.record, self.loaded.index.item_ids, release)
        self.reranker_ref = release.reranker if release else None
        self.ranker = self._load_ranker()
        self.shoppers = Shoppers(context, self.dataset.domain, self.dataset.items["item_id"], self.loaded.record.ref)
        # A spoke's vectors say in one column whether the item was cold; to a launch floor without it every item is.
        flag = self.loaded.sessions.width
        self.cold: BoolArray = self.vectors[:, flag] > 0 if flag else np.ones(len(self.vectors), dtype=np.bool_)
        self.teller = Teller(ref, release.ref if release else None, self.loaded.record.ref, self.catalog, self.cold)
        self._lock = Lock()  # around what is computed once, at the first question that needs it
        self._completing = Lock()  # one of its own: loading the hub takes seconds, which lists must not wait for

    def __reduce__(self) -> tuple[type[Recommender], tuple[Context, str]]:
        """A copy, or one that another process unpickles, is loaded anew."""
        return Recommender, (self._context, self.ref)

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
        return self.teller.tell(self.find(question, trace))

    def find(self, question: Question, trace: Trace | None = None) -> Found:
        """The rows of the answer to a question."""
        return self._find(question, self.catalog.allowed(question.filter), trace)

    def rank(self, question: Question, items: Sequence[str]) -> RankedItems:
        """Given items in the order in which the shopper of a question would see them; its `k` has no part in it."""
        known = [self.catalog.row_of[item] for item in dict.fromkeys(items) if item in self.catalog.row_of]
        given = np.zeros(len(self.item_ids), dtype=np.bool_)
        given[known] = True
        whole, allowed = replace(question, k=max(1, len(known))), self.catalog.allowed(question.filter)
        answer = self.teller.tell(self._find(whole, given & allowed, pool=allowed))
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
        return self.teller.tell(self.find_similar(item, k, filter))

    def find_similar(self, item: str, k: int = 10, filter: Filter | None = None) -> Found:
        """The rows of the items that are similar to one."""
        asked, row = Question((item,), k=k, exclude_seen=True, filter=filter), self.row(item)
        sessions = self.loaded.sessions
        query = sessions.content_query(self.vectors[row, sessions.behaviour_dimension :])
        if not sessions.content:
            query[: sessions.width] = self.vectors[row, : sessions.width]
        ranked = self.retriever.ranked(query, k, self.catalog.allowed(filter), {row})
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
        ranked = self.retriever.ranked(query, k, self.catalog.allowed(filter), set())
        found = list(islice(self._listed(Arranged(ranked), [], asked), k))
        answer = Found(asked, found, [], [], self.loaded.record.model)
        return self.teller.searched(answer, wanted or None, str(picture) if picture else None)

    def history(self, question: Question) -> tuple[History, list[str], list[Elsewhere]]:
        """The shopper's known events, oldest first, the items that are unknown, and who else knows the shopper.

        Empty for a shopper who is known from other categories alone, and where what is unknown may fall back.
        """
        return self.shoppers.history(question, self.catalog.row_of)

    def _find(
        self, question: Question, allowed: BoolArray, trace: Trace | None = None, pool: BoolArray | None = None
    ) -> Found:
        """The list of a question over the (N,) allowed rows.

        A re-ranker compares its candidates with each other: it chooses them from `pool`, by default what is allowed.
        """
        history, unknown, known_from = self.history(question)
        k, exclude_seen = question.k, question.exclude_seen
        hidden = self._hidden(history, exclude_seen)
        # All of them, however short the list is, so that a longer one begins with it.
        pool = allowed if pool is None or self.ranker is None else pool
        leaders = [row for row in self.catalog.rules.pinned(pool) if row not in hidden]
        pinned = [row for row in leaders if allowed[row]]
        if not len(history):
            return self._without_session(question, allowed, unknown, pinned, known_from)
        query = self._query(history, exclude_seen, question.followed.behaviour if question.followed else None)
        barred = {*hidden.tolist(), *leaders}
        lifted = self.loaded.sessions.mixture.lifted(history, exclude_seen)
        wanted = max(k, self.catalog.rules.reads, self.ranker.config.spoke_candidates if self.ranker else 0)
        ranked = followed(trace, "retrieve", self.retriever.ranked(query, wanted, pool, barred, lifted))
        reordered = None
        if self.ranker:
            (request,) = self.ranker.asked([history], query[None], exclude_seen=exclude_seen)
            reordered = self.ranker.reorder(request, ranked, pool, barred)
            ranked = followed(trace, "rank", reordered.ranked)

        def scored(rows: IntArray) -> list[Scored]:
            found = list(zip(rows.tolist(), self.retriever.scores(query, rows, lifted).tolist(), strict=True))
            return reordered.rescored(found) if reordered else found

        def best_of(rows: IntArray, n: int) -> list[Scored]:
            own = rows[~np.isin(rows, list(barred))]
            if len(own) > n:
                # A re-ranker puts its candidates before all others, and leaves these in their order.
                best = own[np.lexsort((own, -self.retriever.scores(query, own, lifted)))[:n]]
                found = np.array(list(reordered.scores) if reordered else [], np.int64)
                own = np.union1d(best, own[np.isin(own, found)])
            return sorted(scored(own), key=best_first)[:n]

        if pool is not allowed:
            ranked = iter(best_of(np.flatnonzero(allowed), len(allowed)))
        arranged = self.catalog.rules.arranged(ranked, allowed, best_of)
        # Pinned items have their own score too: it says how well they would have done.
        leading = scored(np.array(pinned, np.int64))[:k]
        rest = islice(self._listed(arranged, pinned, question, trace), k - len(leading))
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
        leading = [(row, float(scores[row])) for row in pinned[: question.k]]
        found = [*leading, *islice(self._listed(arranged, pinned, question), question.k - len(leading))]
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

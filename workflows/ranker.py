"""A re-ranker over one catalog: what it adds to a spoke's candidates, and the order that it puts all of them in.

`load_ranker` makes a release's re-ranker ready to serve, and `Ranker.reorder` is all that a list takes of it. Step by
step: `asked` makes the request of a history and the spoke's vector of it, `candidates` adds what other generators find
to the spoke's best rows, and `rerank` gives all of them new scores.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import AnyFloatArray, BoolArray, DoubleArray, FloatArray, IntArray
from ..catalog.sequences import Histories, History
from ..errors import IncompatibleError
from ..ranking.features import NAMES, CatalogFeatures, Request
from ..ranking.items import ItemFacts
from ..ranking.reranker import Reranker
from ..registry.kinds import ModelKind
from ..retrieval.caps import Scored
from ..retrieval.exact import rounded, scores_of
from ..spokes.mixture import Mixture
from ..spokes.recommender import VectorRecommender
from ..spokes.repeats import given_to
from ..spokes.sessions import SessionSide
from .loading import ready_model

if TYPE_CHECKING:
    import polars as pl

    from .context import Context
    from .served_index import ServedIndex

# From a (D,) query, a number and (N,) what may be found, to the best rows, best first.
Search = Callable[[FloatArray, int, BoolArray, Collection[int]], IntArray]


@dataclass(frozen=True, eq=False)
class Served:
    """A spoke's session side over a catalog of N items, as it is or was at some time."""

    sessions: SessionSide
    vectors: FloatArray  # (N, D)
    items: pl.DataFrame  # N rows of the catalog's columns, in the order of the vectors


@dataclass(frozen=True, eq=False)
class Reordered:
    """A list in a re-ranker's order, and the scores that say so."""

    ranked: Iterator[Scored]  # best first
    scores: Mapping[int, float]  # of every candidate, by row
    shift: float  # from a spoke's score to that of a row that is no candidate, which lies below

    def rescored(self, scored: Collection[Scored]) -> list[Scored]:
        """Rows that a spoke scored, with the scores that place them in this list."""
        return [(row, self.scores.get(row, score + self.shift)) for row, score in scored]


class Ranker:
    """Finds and scores the candidates of a request; any number of threads may ask it at once."""

    def __init__(self, reranker: Reranker, served: Served, search: Search | None = None) -> None:
        self.reranker, self.config = reranker, reranker.config
        self._sessions, self._vectors, past = served.sessions, served.vectors, reranker.past
        self._neighbours, self._popular = past.neighbours, past.counts.popular
        self._features = CatalogFeatures(ItemFacts.of(served.items), past.counts, past.clock)
        floor = Mixture.model_validate(reranker.floor)
        self._floor = SessionSide(served.sessions.space, floor, served.sessions.content)
        self._split = served.sessions.behaviour_dimension
        self._search = search or self._search_all

    def asked(
        self, histories: Histories, queries: FloatArray, *, exclude_seen: bool = False, moment: int | None = None
    ) -> list[Request]:
        """The requests of B shoppers, by their events and the spoke's (B, D) vectors of them."""
        last = [_dated(history)[-self.config.history :] for history in histories]
        hub_queries = np.zeros_like(queries)
        content = self._vectors[:, self._split :]
        hub_queries[:, self._split :] = self._floor.embed(content, last, exclude_seen=exclude_seen)
        return [Request(*own, exclude_seen, moment) for own in zip(last, queries, hub_queries, strict=True)]

    def reorder(
        self, request: Request, ranked: Iterator[Scored], allowed: BoolArray, barred: Collection[int]
    ) -> Reordered:
        """A spoke's list, best first, with its best rows and what is added to them in the re-ranker's order.

        Rows that are not `allowed` (N,), or `barred`, are not added. The spoke's order goes on behind the candidates.
        """
        best = list(islice(ranked, self.config.spoke_candidates))
        if not best:
            return Reordered(iter(()), {}, 0.0)
        rows = self.candidates(request, np.array([row for row, _ in best], np.int64), allowed, barred)
        scores = np.concatenate([[score for _, score in best], self.spoke_scores(request, rows[len(best) :])])
        new = self.rerank(request, rows, scores).astype(np.float64)
        order = np.lexsort((rows, -new))
        found = dict(zip(rows[order].tolist(), new[order].tolist(), strict=True))
        shift = float(new.min()) - best[-1][1]
        rest = ((row, score + shift) for row, score in ranked if row not in found)
        return Reordered(chain(found.items(), rest), found, shift)

    def candidates(
        self, request: Request, rows: IntArray, allowed: BoolArray, barred: Collection[int] = ()
    ) -> IntArray:
        """(n,) the rows that the spoke found, and after them those that only the other generators find.

        `allowed` (N,) says what may be among them, all but `barred` rows.
        """
        more = self.config.more_candidates
        near, values = self._neighbours.around(request.history.items)
        offers = [
            near[np.argsort(-values, kind="stable")],
            request.history.items[::-1],
            # Half of what is popular may be barred before anybody has to look for more of it.
            self._popular[: 2 * more],
        ]
        if self._sessions.space.dimension and more:
            offers.append(self._search(request.hub_query, more, allowed, barred))
        free = (own[allowed[own] & ~np.isin(own, list(barred))] for own in offers)
        return _distinct(np.concatenate([rows, *(_distinct(own)[:more] for own in free)]))

    def rerank(self, request: Request, rows: IntArray, scores: AnyFloatArray) -> FloatArray:
        """(n,) new scores of candidates, which the spoke gives `scores` (n,); they mean nothing beside others'."""
        if not len(rows):
            return np.zeros(0, np.float32)
        features = self.features(request, rows, scores)
        return self.reranker.trees.score(features, features[:, NAMES.index("spoke_score")])

    def features(self, request: Request, rows: IntArray, scores: AnyFloatArray) -> FloatArray:
        """(n, F) what trees read of candidates."""
        own, split = self._vectors[rows], self._split
        near = self._neighbours.around(request.history.items)
        # Where no content is read the hub has nothing to say.
        hub = own[:, split:] @ request.hub_query[split:] if own.shape[1] > split else np.full(len(rows), np.nan)
        by = {"spoke": scores, "behaviour": own[:, :split] @ request.query[:split]}
        return self._features.matrix(request, rows, {**by, "hub": hub, "item_cf": given_to(rows, near)})

    def spoke_scores(self, request: Request, rows: IntArray) -> DoubleArray:
        """(n,) what the spoke gives some rows, with what the shopper's past adds."""
        lifted = self._sessions.mixture.lifted(request.history, request.exclude_seen)
        return rounded(scores_of(self._vectors, request.query, rows) + given_to(rows, lifted))

    def _search_all(self, query: FloatArray, k: int, allowed: BoolArray, barred: Collection[int]) -> IntArray:
        scores = np.where(allowed, self._vectors[:, self._split :] @ query[self._split :], -np.inf)
        scores[list(barred)] = -np.inf
        return best_rows(scores, k)


class Reranked:
    """A spoke and its re-ranker behind the recommender interface: candidates first, then the spoke's own order."""

    name = "re-ranked"

    def __init__(
        self, ranker: Ranker, served: Served, alone: VectorRecommender, *, exclude_seen: bool, moment: int | None
    ) -> None:
        self.ranker, self._alone, self._exclude_seen, self._moment = ranker, alone, exclude_seen, moment
        self._sessions, self._vectors = served.sessions, served.vectors

    @property
    def content(self) -> FloatArray:
        """(N, R) what the diversity of lists is measured by."""
        return self._sessions.space.alike(self._vectors[:, self._sessions.behaviour_dimension :])

    def score(self, histories: Histories) -> FloatArray:
        """(B, N) scores: those of candidates from zero up, all others below."""
        scores, found = self.found(histories)
        for own, (request, rows) in zip(scores, found, strict=True):
            if len(rows):
                new = self.ranker.rerank(request, rows, own[rows])
                own -= own.max() + 1
                own[rows] = new - new.min()
        return scores

    def found(self, histories: Histories) -> tuple[FloatArray, list[tuple[Request, IntArray]]]:
        """The spoke's (B, N) scores for B shoppers, with their requests and candidates."""
        queries = self._alone.encode(histories)
        asked = self.ranker.asked(histories, queries, exclude_seen=self._exclude_seen, moment=self._moment)
        scores = replace(self._alone, encode=lambda _: queries).score(histories)
        return scores, [(request, self._candidates(request, own)) for request, own in zip(asked, scores, strict=True)]

    def _candidates(self, request: Request, scores: FloatArray) -> IntArray:
        allowed = np.isfinite(scores)
        if request.exclude_seen:
            allowed[request.history.items] = False
        rows = best_rows(np.where(allowed, scores, -np.inf), self.ranker.config.spoke_candidates)
        return self.ranker.candidates(request, rows, allowed)


def load_ranker(context: Context, ref: str, loaded: ServedIndex, items: pl.DataFrame) -> Ranker:
    """The re-ranker version `ref` over an index; `items` is what the newest catalog says, in the index's order.

    One of another embedding space than the index is refused.
    """
    record = ready_model(context, ref, ModelKind.RERANKER)
    if record.space_fingerprint != loaded.index.space_fingerprint:
        raise IncompatibleError(
            f"{record.ref} ranks for another spoke than {loaded.record.model}; train one for it with "
            f"`hubspoke rerank train {record.domain}`."
        )
    reranker = Reranker.load(context.artifacts.open(str(record.artifact))).onto(loaded.index.item_ids)

    def search(query: FloatArray, k: int, allowed: BoolArray, barred: Collection[int]) -> IntArray:
        return np.array([row for row, _ in loaded.index.search(query[None], k, allowed, barred)[0]], np.int64)

    return Ranker(reranker, Served(loaded.sessions, loaded.index.vectors(), items), search)


def best_rows(scores: AnyFloatArray, k: int) -> IntArray:
    """The rows of the k best finite scores (N,), best first; equal ones by row."""
    k = min(k, int(np.isfinite(scores).sum()))
    if k == 0:
        return np.zeros(0, np.int64)
    edge = np.partition(scores, len(scores) - k)[len(scores) - k]
    rows = np.flatnonzero(scores >= edge)
    return rows[np.lexsort((rows, -scores[rows]))][:k].astype(np.int64)


def _dated(history: History | IntArray) -> History:
    return history if isinstance(history, History) else History(np.asarray(history, np.int64))


def _distinct(rows: IntArray) -> IntArray:
    """The rows without repetitions, in their order."""
    return rows[np.sort(np.unique(rows, return_index=True)[1])]

"""Recommendations of a release, spoke or index: after a session, to a known shopper, or next to an item.

Items that the newest catalog lacks or says are not available are never recommended, but a session may hold them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import BoolArray, DoubleArray, FloatArray, IntArray
from ..errors import IncompatibleError, NotFoundError, UsageError
from ..registry.records import ReleaseRecord
from ..results import Record
from .diversity import duplicate_groups, first_of_each, passed_over, spread_out
from .indexes import index_of, load_index
from .models import prepare
from .newcomers import Elsewhere, OtherCategories, Ranking, rank_for_newcomers

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from ..catalog.sequences import History
    from ..registry.records import DomainRecord, IndexRecord, SnapshotRecord
    from .context import Context
    from .datasets import Dataset

# Rows that a shopper's past gives more, and how much: (M,) each.
Lifted = tuple[IntArray, FloatArray]
# Shoppers whose histories a recommender keeps once it has read them.
KEPT_HISTORIES = 10_000


@dataclass(frozen=True)
class Answer(Record):
    """What was asked, and what the answer rests on."""

    ref: str  # what was asked
    index: str  # index version that answered
    # Spoke or hub version behind it; without a session `newcomer-popularity`, or `newest` where there is none.
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
class SearchResults(Record):
    """A ranked list of what is like a description, a picture or both."""

    ref: str  # what was asked
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
        from .datasets import find_snapshot
        from .rules import catalog_rules

        prepare(context)
        # An alias is followed once: one that moves meanwhile must not give the index of one release and the rules of
        # another.
        exact = context.registry.resolve(ref).ref
        self.ref, self._context = ref, context
        named = context.registry.get(exact)
        # A version that is asked by itself has no rules.
        release = named if isinstance(named, ReleaseRecord) else None
        if release is not None and release.reranker is not None:
            raise IncompatibleError(
                f"{exact} ranks with {release.reranker}, which this version cannot run; upgrade the package, or "
                "promote the release without it."
            )
        self.rules_ref = release.rules if release else None
        self.loaded = load_index(context, index_of(context, exact))
        record = self.loaded.record
        self.dataset, self.shown = _catalogs(context, record, self.loaded.index.item_ids)
        self._events: SnapshotRecord | None = find_snapshot(context, record.domain, "events")
        self.vectors: FloatArray = self.loaded.index.vectors()  # (N, D)
        # A spoke's vectors say in one column whether the item was cold; to a launch floor without it every item is.
        flag = self.loaded.spoke.width
        self.cold: BoolArray = self.vectors[:, flag] > 0 if flag else np.ones(len(self.vectors), dtype=np.bool_)
        self._rules = catalog_rules(context, self.rules_ref, self.shown)
        self._available: BoolArray = self.shown["available"].to_numpy().astype(np.bool_)
        self._open: BoolArray = self._available & ~self._rules.hidden
        self._row_of = {item: row for row, item in enumerate(self.item_ids)}
        self._of_user = lru_cache(KEPT_HISTORIES)(self._read_user)
        self._lock = Lock()  # around what is read once, at the first question that needs it

    @property
    def item_ids(self) -> tuple[str, ...]:
        """Every item of the catalog, by row."""
        return self.loaded.index.item_ids

    def row(self, item: str) -> int:
        """The row of an item of the catalog."""
        if item not in self._row_of:
            raise NotFoundError(f"{item!r} is not in {self.loaded.record.ref}; name an item of its catalog.")
        return self._row_of[item]

    def history(self, session: Sequence[str] = (), user: str | None = None) -> tuple[History, list[str]]:
        """A session's known items, oldest first, or a shopper's events, and the items that are unknown.

        Empty for a shopper who is known from other categories alone.
        """
        from ..catalog.sequences import History

        if user is not None:
            if session:
                raise UsageError("A session and a user were both given; ask for one of them.")
            return self._of_user(user)[0], []
        rows = np.array([self._row_of[item] for item in session if item in self._row_of], dtype=np.int64)
        if len(session) and not len(rows):
            raise NotFoundError(
                f"None of the {len(session)} items of the session (first: {session[0]!r}) is in "
                f"{self.loaded.record.ref}; "
                "check the ids, or ingest the catalog they belong to and build its index."
            )
        return History(rows), [item for item in session if item not in self._row_of]

    def allowed(self, hidden: Sequence[int] | IntArray) -> BoolArray:
        """(N,) true for rows that may be shown: available, hidden by no rule, and not among these."""
        allowed = self._open.copy()
        allowed[hidden] = False
        return allowed

    def reason_against(self, row: int, hidden: IntArray) -> str | None:
        """Why a row is not `allowed`; None where it is."""
        if not self._available[row]:
            return "not available"
        if self._rules.hidden[row]:
            return f"hidden by {self.rules_ref}"
        return "in the session" if row in hidden else None

    def recommend(
        self,
        session: Sequence[str] = (),
        user: str | None = None,
        k: int = 10,
        exclude_seen: bool = False,
        diversity: float = 0.0,
        near: float | None = None,
    ) -> Recommendations:
        """The `k` items to show after a session (item ids, oldest first), or to a known shopper.

        Without a session, or to a shopper known from other categories alone, it is what is popular with newcomers, or
        what is new; a user id that no category knows is a NotFoundError, as long as all of them can be read. One
        product is shown once, as long as there are others. `diversity`, from 0 to 1, trades score for difference. Where
        a session is known, items whose content has a cosine of `near` or more to one before them are passed over.
        """
        _check_k(k)
        if not 0 <= diversity <= 1:
            raise UsageError(f"A diversity of {diversity:g} was asked for; give a number from 0 to 1.")
        if near is not None and not 0 < near <= 1:
            raise UsageError(f"Items of a cosine of {near:g} were to be passed over; give a number above 0, up to 1.")
        history, unknown = self.history(session, user)
        if not len(history):
            return self._without_session(k, [] if user is None else self._of_user(user)[1])
        # The model is given the (T, D) vectors of the session, not those of the catalog.
        own, vectors = replace(history, items=np.arange(len(history))), self.vectors[history.items]
        query = self.loaded.spoke.embed_sessions(vectors, [own], exclude_seen=exclude_seen)[0]  # (D,)
        mixture = self.loaded.spoke.mixture
        allowed = self.allowed(mixture.hidden(history, exclude_seen))
        pinned = self._pin(allowed, k)
        lifted = mixture.lifted(history, exclude_seen)
        # Pinned items have their own score too: it says how well they would have done.
        leading = zip(pinned, self.scores(query, np.array(pinned, np.int64), lifted).tolist(), strict=True)
        ranked = self._listed(self._ranked(query, k, allowed, lifted), pinned, diversity, near)
        found = [*leading, *islice(ranked, k - len(pinned))]
        return self._answer(found, history.items.tolist(), unknown, exclude_seen, self.loaded.record.model, pinned)

    def similar(self, item: str, k: int = 10) -> Recommendations:
        """The `k` items whose content is nearest to an item's, the item itself left out.

        Where content is not read at all it is the behavioural part of their vectors that is compared.
        """
        _check_k(k)
        row, spoke = self.row(item), self.loaded.spoke
        query = spoke.content_query(self.vectors[row, spoke.behaviour_dimension :])
        if not spoke.content:
            query[: spoke.width] = self.vectors[row, : spoke.width]
        found = list(islice(self._listed(self._ranked(query, k, self.allowed([row])), []), k))
        return self._answer(found, [row], [], True, self.loaded.record.model)

    def search(self, text: str | None = None, picture: Path | None = None, k: int = 10) -> SearchResults:
        """The `k` items whose content is most like a description, a picture, or both together."""
        _check_k(k)
        wanted = (text or "").strip()
        if not wanted and picture is None:
            raise UsageError("Nothing was looked for; give some words, or a picture with --image FILE.")
        if picture is not None and not picture.is_file():
            raise NotFoundError(f"There is no picture {picture}; check the path.")
        spoke, hub = self.loaded.spoke, self.loaded.hub
        query = spoke.embed_query(hub.encode_query(wanted or None, picture))
        if not query.any():
            raise UsageError(
                f"{self.loaded.record.ref} has no space for that: its catalog has no "
                f"{'pictures' if picture and not wanted else 'texts'} that are read; look for the other."
            )
        found = list(islice(self._listed(self._ranked(query, k, self.allowed([])), []), k))
        return SearchResults(
            ref=self.ref,
            index=self.loaded.record.ref,
            served_by=self.loaded.record.model,
            text=wanted or None,
            picture=str(picture) if picture else None,
            rules=self.rules_ref,
            items=self._shown(found),
        )

    def _without_session(self, k: int, known_from: Sequence[Elsewhere]) -> Recommendations:
        """What to show before anything is known of a shopper here."""
        with self._lock:
            ranking = self._for_newcomers
        scores, allowed = ranking.scores, self.allowed([])
        pinned = self._pin(allowed, k)
        order = np.argsort(-scores, kind="stable")  # (N,)
        ranked = self._listed(((row, float(scores[row])) for row in order[allowed[order]].tolist()), pinned)
        found = [*((row, float(scores[row])) for row in pinned), *islice(ranked, k - len(pinned))]
        return self._answer(found, [], [], False, ranking.name, pinned, known_from)

    def _listed(
        self,
        ranked: Iterable[tuple[int, float]],
        shown: Sequence[int],
        diversity: float = 0.0,
        near: float | None = None,
    ) -> Iterator[tuple[int, float]]:
        """A ranking as a list shows it, behind the rows that are shown already: one product once, rules kept."""
        with self._lock:
            groups = self._groups

        def arrange(firsts: Iterator[tuple[int, float]]) -> Iterator[tuple[int, float]]:
            own = spread_out(firsts, self._content, diversity) if diversity else firsts
            return own if near is None else passed_over(own, self._content, near, shown)

        return self._rules.limit(first_of_each(ranked, groups, shown, arrange), shown)

    @cached_property
    def _groups(self) -> IntArray:
        return duplicate_groups(self.shown)

    @cached_property
    def _content(self) -> FloatArray:
        """(N, R) what items are told apart by: their content, or their behaviour where content is not read."""
        spoke = self.loaded.spoke
        split = spoke.behaviour_dimension
        return spoke.space.alike(self.vectors[:, split:]) if spoke.content else self.vectors[:, :split]

    def _pin(self, allowed: BoolArray, k: int) -> list[int]:
        """The rows that the list begins with; they are not allowed in the rest of it."""
        pinned = self._rules.pinned(allowed)[:k]
        allowed[pinned] = False
        return pinned

    def scores(self, query: FloatArray, rows: IntArray, lifted: Lifted | None = None) -> DoubleArray:
        """(n,) scores of some rows for a (D,) session vector, with what the shopper's past gives them."""
        from ..spokes.repeats import given_to

        found = self.loaded.index.scores(query, rows)
        return found if lifted is None else found + given_to(rows, lifted)

    def _ranked(
        self, query: FloatArray, k: int, allowed: BoolArray, lifted: Lifted | None = None
    ) -> Iterator[tuple[int, float]]:
        """Allowed rows with their scores, best first; a limit per brand may use up more than `k`."""
        if lifted is None or not len(lifted[0]):
            return self._searched(query, k, allowed)
        # What the shopper took before is scored by itself, and the index is asked for the rest.
        own = lifted[0][allowed[lifted[0]]]
        rest = allowed.copy()
        rest[own] = False
        taken = list(zip(own.tolist(), self.scores(query, own, lifted).tolist(), strict=True))
        return heapq.merge(sorted(taken, key=_best_first), self._searched(query, k, rest), key=_best_first)

    def _searched(self, query: FloatArray, k: int, allowed: BoolArray) -> Iterator[tuple[int, float]]:
        """What the index finds among the allowed rows, best first."""
        # Most lists are full at once, so more than `k` is looked for only when it is needed.
        given = 0
        while True:
            found = self.loaded.index.search(query[None], k, allowed)[0]
            yield from found[given:]
            if len(found) < k:
                return
            given, k = len(found), 2 * k

    def _read_user(self, user: str) -> tuple[History, list[Elsewhere]]:
        """A shopper's item rows, oldest first, with what is known of the events; without any, who else knows them."""
        from ..catalog.sequences import History
        from ..catalog.snapshots import read_user_events
        from .datasets import user_sequences

        with self._lock:
            folder = self._event_table
        if self._events is not None and folder is not None:
            found = user_sequences(folder, self.dataset.domain, self._events, self.dataset.items["item_id"], user)
            if len(found):
                return found.by_user().history(0), []
        with self._lock:
            others = self._others
        known_from = others.knowing(user)
        # Where a category cannot be read nobody can be called unknown.
        if known_from or others.unread:
            return History(np.zeros(0, dtype=np.int64)), known_from
        events = 0 if folder is None else read_user_events(folder, user).height
        raise NotFoundError(_why_unknown(self.dataset.domain, user, events))

    @cached_property
    def _event_table(self) -> Path | None:
        from .datasets import table_folder

        return None if self._events is None else table_folder(self._context, self._events)

    @cached_property
    def _others(self) -> OtherCategories:
        return OtherCategories(self._context, self.dataset.domain.name)

    @cached_property
    def _for_newcomers(self) -> Ranking:
        return rank_for_newcomers(self._context, self.dataset, self._events, self.shown)

    def _answer(
        self,
        found: Sequence[tuple[int, float]],
        session: Sequence[int],
        unknown: Sequence[str],
        excluded: bool,
        by: str,
        pinned: Sequence[int] = (),
        known_from: Sequence[Elsewhere] = (),
    ) -> Recommendations:
        return Recommendations(
            ref=self.ref,
            index=self.loaded.record.ref,
            served_by=by,
            session=self.describe(session),
            unknown=list(unknown),
            seen_items="excluded" if excluded else "ranked",
            rules=self.rules_ref,
            known_from=list(known_from),
            items=self._shown(found, pinned),
        )

    def _shown(self, found: Sequence[tuple[int, float]], pinned: Sequence[int] = ()) -> list[dict[str, Any]]:
        """A ranked list as it is shown."""
        described = zip(self.describe([row for row, _ in found]), found, strict=True)
        return [
            {"rank": rank, **about, "score": round(score, 6), "cold": bool(self.cold[row]), "pinned": row in pinned}
            for rank, (about, (row, score)) in enumerate(described, 1)
        ]

    def describe(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """What is shown of the items of these rows."""
        columns = ("item_id", "title", "brand", "category_path", "price", "image")
        return [
            {
                "item_id": own["item_id"],
                "title": own["title"] or "",
                "brand": own["brand"],
                "category": " > ".join(own["category_path"] or []) or None,
                "price": own["price"],
                "image": (own["image"] or [None])[0],
            }
            for own in self.shown[list(rows), columns].to_dicts()
        ]


def _catalogs(context: Context, record: IndexRecord, item_ids: Sequence[str]) -> tuple[Dataset, pl.DataFrame]:
    """The catalog that an index was filled from, and what the newest one says of the same items, in the index's order.

    An item that the newest catalog lacks is as it was, and not available.
    """
    import polars as pl

    from .datasets import load_dataset, read_table

    rows = pl.DataFrame({"item_id": item_ids}, schema={"item_id": pl.String})
    filled = load_dataset(context, record.domain, items=record.items, with_events=False)
    if len(item_ids) != filled.items.height:  # some were removed from the index
        filled = replace(filled, items=rows.join(filled.items, on="item_id", how="left", maintain_order="left"))
    # Taken later and under a later number: a bundle brings older ones, which must not change what is live.
    own = filled.item_snapshot
    known = context.registry.snapshots.list(record.domain, "items")
    later = [one for one in known if one.version > own.version and one.created_at > own.created_at]
    if not later:
        return filled, filled.items
    newest = later[-1]
    now = read_table(context, newest).select(filled.items.columns)
    left = filled.items.join(now, on="item_id", how="anti").with_columns(available=pl.lit(False))
    return filled, rows.join(pl.concat([now, left]), on="item_id", how="left", maintain_order="left")


def _best_first(found: tuple[int, float]) -> tuple[float, int]:
    """The place of a row with its score: equal scores go by row."""
    return -found[1], found[0]


def _check_k(k: int) -> None:
    if k < 1:
        raise UsageError(f"{k} recommendations were asked for; ask for at least one.")


def _why_unknown(domain: DomainRecord, user: str, events: int) -> str:
    """Why there is nothing to go by, with the remedy."""
    from ..catalog.sessions import why_none
    from .datasets import session_settings

    if not events:
        return (
            f"User {user!r} has no session in {domain.name} and no event in any other category; check the id, or pass "
            "--session instead."
        )
    settings = session_settings(domain)
    if events < settings.min_length:
        return (
            f"User {user!r} has {events} events in {domain.name}, and a session takes {settings.min_length}; pass "
            "--session instead."
        )
    mode = "per_user" if settings.mode == "per_user" else "gap"
    return (
        f"User {user!r} has {events} events in {domain.name} but no session: {why_none(mode, settings)}; change it "
        f"with `hubspoke data ingest {domain.name} --sessions MODE`, or pass --session instead."
    )

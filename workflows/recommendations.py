"""Recommendations of a release, spoke or index: after a session, to a known shopper, or next to an item.

Items that the catalog says are not available are never recommended, but a session may hold them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import FloatArray
from ..errors import IncompatibleError, NotFoundError, UsageError
from ..registry.records import ReleaseRecord
from ..results import Record
from .indexes import LoadedIndex, index_of, load_index
from .models import prepare

if TYPE_CHECKING:
    import polars as pl

    from ..catalog.sequences import History
    from .context import Context
    from .datasets import Dataset


@dataclass(frozen=True)
class Recommendations(Record):
    """A ranked list and what it answers.

    Attributes:
        ref: what was asked.
        index: index version that answered.
        served_by: spoke or hub version behind it, or `popularity` / `newest` where no item of the session is known.
        session: items that the answer rests on, oldest first.
        unknown: items of the session that the index does not know.
        seen_items: `ranked` or `excluded`.
        rules: version of the merchandising rules laid over the ranking, if any.
        items: the ranked items with title, score and what is shown of a product; `cold` where it has few events,
            `pinned` where a rule put it there.
    """

    ref: str
    index: str
    served_by: str
    session: Sequence[Mapping[str, Any]]
    unknown: Sequence[str]
    seen_items: str
    rules: str | None
    items: Sequence[Mapping[str, Any]]


class Server:
    """One index, loaded and ready for many questions."""

    def __init__(self, context: Context, ref: str) -> None:
        from .datasets import load_dataset
        from .rerank import catalog_rules

        prepare(context)
        # An alias is followed once: one that moves meanwhile must not give the index of one release and the rules of
        # another.
        exact = context.registry.resolve(ref).ref
        self._rules_ref = _rules_of(context, exact)
        self._context = context
        self._ref = ref
        self._loaded: LoadedIndex = load_index(context, index_of(context, exact))
        record = self._loaded.record
        self._dataset: Dataset = load_dataset(context, record.domain, items=record.items, with_events=False)
        self._vectors = self._loaded.index.vectors()
        self._unavailable = np.flatnonzero(~self._dataset.items["available"].to_numpy()).tolist()
        self._row_of = {item: row for row, item in enumerate(self._loaded.index.item_ids)}
        self._rules = catalog_rules(context, self._rules_ref, self._dataset.items)

    @property
    def item_ids(self) -> tuple[str, ...]:
        """Every item that can be recommended, in catalog order."""
        return self._loaded.index.item_ids

    @property
    def loaded(self) -> LoadedIndex:
        """The index that answers, with the spoke and the hub behind it."""
        return self._loaded

    @property
    def dataset(self) -> Dataset:
        """The catalog that can be recommended, without events."""
        return self._dataset

    def row(self, item: str) -> int:
        """The row of an item of the catalog.

        Raises:
            NotFoundError: the item is unknown.
        """
        if item not in self._row_of:
            raise NotFoundError(f"{item!r} is not in {self._loaded.record.ref}; name an item of its catalog.")
        return self._row_of[item]

    def events(self, session: Sequence[str] = (), user: str | None = None) -> tuple[History, list[str]]:
        """A session's events on known items, with their times for a shopper, and its unknown items.

        Raises:
            NotFoundError: every item of the session is unknown, or so is the shopper.
            UsageError: both a session and a shopper are given.
        """
        from ..catalog.sequences import History

        whole: History | None = None
        if user is not None:
            if session:
                raise UsageError("A session and a user were both given; ask for one of them.")
            session, whole = self._history(user)
        places = np.array([place for place, item in enumerate(session) if item in self._row_of], dtype=np.int64)
        rows = np.array([self._row_of[session[place]] for place in places], dtype=np.int64)
        known = History(rows) if whole is None else replace(whole[places], items=rows)
        unknown = [item for item in session if item not in self._row_of]
        if len(session) and not len(known):
            raise NotFoundError(
                f"None of the {len(session)} items of the session (first: {session[0]!r}) is in "
                f"{self._loaded.record.ref}; "
                "check the ids, or ingest the catalog they belong to and build its index."
            )
        return known, unknown

    def describe(self, row: int) -> dict[str, Any]:
        """What is shown of an item."""
        return _shown(self._dataset.items, row)

    def barred(self, seen: Sequence[int] = ()) -> dict[int, str]:
        """Rows that are never shown, with the reason; `seen` are left out too."""
        barred = dict.fromkeys(seen, "in the session")
        barred |= dict.fromkeys(self._rules.hidden, f"hidden by {self._rules_ref}")
        return barred | dict.fromkeys(self._unavailable, "not available")

    def recommend(
        self, session: Sequence[str] = (), user: str | None = None, k: int = 10, exclude_seen: bool = False
    ) -> Recommendations:
        """The `k` items to show after a session (item ids, oldest first), or to a known shopper.

        Raises:
            NotFoundError: every item of the session is unknown, or so is the shopper.
            UsageError: both a session and a shopper are given, or `k` is not positive.
        """
        _check_k(k)
        rows, unknown = self.events(session, user)
        if not len(rows):
            return self._without_session(k)
        queries = self._loaded.spoke.embed_sessions(self._vectors, [rows], exclude_seen=exclude_seen)
        hidden = self._loaded.spoke.mixture.hidden(rows, exclude_seen).tolist()
        pinned = self._pinned(hidden, k)
        # Pinned items have their own score too: it says how well they would have done.
        scores = (self._vectors[pinned] @ queries[0]).tolist()
        ranked = self._rules.limit(self._ranked(queries, k, hidden), pinned)
        found = [*zip(pinned, scores, strict=True), *islice(ranked, k - len(pinned))]
        return self._answer(found, rows.items.tolist(), unknown, exclude_seen, self._loaded.record.model, pinned)

    def similar(self, item: str, k: int = 10) -> Recommendations:
        """The `k` items whose content is nearest to an item's, the item itself left out.

        Where content is not read at all it is the behavioural part of their vectors that is compared.

        Raises:
            NotFoundError: the item is unknown.
        """
        _check_k(k)
        row = self.row(item)
        query = np.zeros_like(self._vectors[[row]])
        split, width = self._loaded.spoke.behaviour_dimension, self._loaded.spoke.width
        if not self._loaded.spoke.content:
            query[0, :width] = self._vectors[row, :width]
        share = self._loaded.spoke.mixture.seen_filtered.image_share
        query[0, split:] = self._vectors[row, split:] * self._loaded.spoke.space.modality_weights(share)
        found = list(islice(self._rules.limit(self._ranked(query, k, [row])), k))
        return self._answer(found, [row], [], True, self._loaded.record.model)

    def _pinned(self, hidden: Sequence[int], k: int) -> list[int]:
        return self._rules.pinned([*hidden, *self._unavailable])[:k]

    def _ranked(self, query: FloatArray, k: int, hidden: Sequence[int]) -> Iterator[tuple[int, float]]:
        """Items that can be bought and no rule hides, best first, without those in `hidden`.

        Rules may leave out any number of them, so the search widens until they are content.
        """
        left_out = [*hidden, *self._unavailable, *self._rules.hidden]
        given = 0
        while True:
            found = self._loaded.index.search(query, k, exclude=[left_out])[0]
            yield from found[given:]
            if len(found) < k:
                return
            given, k = len(found), 2 * k

    def _history(self, user: str) -> tuple[list[str], History]:
        """A shopper's items, oldest first, from the newest event snapshot, with what is known of the events."""
        from .datasets import load_dataset

        dataset = load_dataset(self._context, self._loaded.record.domain, items=self._loaded.record.items)
        if user not in dataset.sequences.user_ids:
            raise NotFoundError(f"User {user!r} has no session in {dataset.domain.name}; pass --session instead.")
        code = dataset.sequences.user_ids.index(user)
        by_user = dataset.sequences.by_user()
        history = by_user.history(int(np.flatnonzero(by_user.users == code)[0]))
        ids = dataset.items["item_id"]
        return [str(ids[row]) for row in history.items.tolist()], history

    def _without_session(self, k: int) -> Recommendations:
        """What to show before anything is known: the most popular items, or the newest where nobody bought yet."""
        from .datasets import load_dataset

        dataset = load_dataset(self._context, self._loaded.record.domain, items=self._loaded.record.items)
        counts = dataset.sequences.item_counts()
        if counts.any():
            order, scores, name = np.argsort(-counts, kind="stable"), counts.astype(float), "popularity"
        else:
            scores = _newness(dataset.items)
            order, name = np.argsort(-scores, kind="stable"), "newest"
        pinned = self._pinned([], k)
        open_to_all = order[~np.isin(order, self._unavailable)]
        ranked = self._rules.limit(((int(row), float(scores[row])) for row in open_to_all), pinned)
        found = [*((row, float(scores[row])) for row in pinned), *islice(ranked, k - len(pinned))]
        return self._answer(found, [], [], False, name, pinned)

    def _answer(
        self,
        found: Sequence[tuple[int, float]],
        session: Sequence[int],
        unknown: Sequence[str],
        filtered: bool,
        by: str,
        pinned: Sequence[int] = (),
    ) -> Recommendations:
        flag = self._loaded.spoke.width
        cold = self._vectors[:, flag] > 0 if flag else np.ones(len(self._vectors), dtype=bool)
        ranked = [
            {
                "rank": rank,
                **_shown(self._dataset.items, row),
                "score": round(score, 6),
                "cold": bool(cold[row]),
                "pinned": row in pinned,
            }
            for rank, (row, score) in enumerate(found, 1)
        ]
        return Recommendations(
            ref=self._ref,
            index=self._loaded.record.ref,
            served_by=by,
            session=[_shown(self._dataset.items, row) for row in session],
            unknown=list(unknown),
            seen_items="excluded" if filtered else "ranked",
            rules=self._rules_ref,
            items=ranked,
        )


def recommend(
    context: Context,
    ref: str,
    session: Sequence[str] = (),
    user: str | None = None,
    k: int = 10,
    exclude_seen: bool = False,
) -> Recommendations:
    """One question to a release, spoke or index; keep a `Server` for many."""
    return Server(context, ref).recommend(session, user, k, exclude_seen)


def similar(context: Context, ref: str, item: str, k: int = 10) -> Recommendations:
    """The items nearest to one in content."""
    return Server(context, ref).similar(item, k)


def _rules_of(context: Context, exact: str) -> str | None:
    """The rules of a release; None where it has none, and for a version that is asked by itself.

    Raises:
        IncompatibleError: the release holds what this code cannot serve, and is not to be served without.
    """
    record = context.registry.get(exact)
    if not isinstance(record, ReleaseRecord):
        return None
    if record.reranker is not None:
        raise IncompatibleError(
            f"{exact} ranks with {record.reranker}, which this version cannot run; upgrade the package, or promote the "
            "release without it."
        )
    return record.rules


def _shown(items: pl.DataFrame, row: int) -> dict[str, Any]:
    own = items.row(row, named=True)
    image = own.get("image") or [None]
    return {
        "item_id": own["item_id"],
        "title": own.get("title") or "",
        "brand": own.get("brand"),
        "category": " > ".join(own.get("category_path") or []) or None,
        "price": own.get("price"),
        "image": image[0],
    }


def _newness(items: pl.DataFrame) -> Any:
    """(N,) seconds of `created_at`; catalogs without dates keep their order."""
    created = items["created_at"].dt.timestamp("ms").fill_null(0).to_numpy() / 1000.0
    return created if created.any() else np.arange(items.height, 0, -1, dtype=float)


def _check_k(k: int) -> None:
    if k < 1:
        raise UsageError(f"{k} recommendations were asked for; ask for at least one.")

"""Why a category is shown what it is shown: the ordinary list, with every score taken apart.

The list is that of `recommend`, rules and all; nothing here changes what is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import FloatArray, IntArray
from ..errors import InvalidDataError, UsageError
from ..results import Record
from .models import encode_items
from .recommendations import Recommendations, Server

if TYPE_CHECKING:
    import polars as pl

    from ..catalog.sequences import History
    from ..hub.fusion import EncodedItems
    from ..spokes.explain import ScoreParts
    from ..spokes.spoke import Spoke
    from .context import Context

# Where an item cannot be embedded again, its files being gone.
_UNTOLD: Mapping[str, Any] = {"behaviour_parts": {}, "without_text": None, "without_image": None}


@dataclass(frozen=True)
class PartScore:
    """One part of a score.

    Attributes:
        name: `behaviour`, `cold` (the bonus of items with few events), `text` or `image`.
        score: what it adds; the parts sum to the score.
        share: of the score, with its sign; the absolute shares sum to 1.
        lead: what it adds beyond what it gives the average item of the catalog.
        lead_share: of the leads of all parts, with its sign.
    """

    name: str
    score: float
    share: float
    lead: float
    lead_share: float


@dataclass(frozen=True)
class EventContribution:
    """What one event of the session brought to an item.

    Attributes:
        position: place in the session, 1 is the oldest.
        item_id: of the event.
        title: of that item.
        score: what the item's score loses without the event; below 0 where the event speaks against the item.
        share: of the contributions of all events, with its sign; the absolute shares sum to 1.
        lead: the same loss beyond that of the average item of the catalog: what lifts every item alike lifts none.
        lead_share: of the leads of all events, with its sign.
        parts: the loss by part of the score.
        content: the event's term of the content score by modality; over all events they sum to the part.
    """

    position: int
    item_id: str
    title: str
    score: float
    share: float
    lead: float
    lead_share: float
    parts: Mapping[str, float]
    content: Mapping[str, float]


@dataclass(frozen=True)
class Counterfactual:
    """An item's score, and its place by score, had it been another item."""

    score: float
    score_rank: int


@dataclass(frozen=True)
class ExplainedItem:
    """One item and why it stands where it stands.

    Attributes:
        rank: place in the list; None where it was asked for and is not in it.
        score_rank: place by score alone among what may be shown.
        not_shown: why it is never shown after this session, None where it may be.
        item_id: the item.
        title: its title.
        brand: its brand.
        category: its category path.
        price: its price.
        score: the inner product.
        cold: whether it has too few events for behaviour of its own.
        pinned: whether a rule put it into the list.
        parts: what the score is the sum of.
        behaviour_parts: what the behavioural part is the sum of; empty for the launch floor.
        events: what each event of the session brought, oldest first.
        without_text: score and place had the item no text; None where it has none, or the catalog.
        without_image: the same for its pictures.
    """

    rank: int | None
    score_rank: int
    not_shown: str | None
    item_id: str
    title: str
    brand: str | None
    category: str | None
    price: float | None
    score: float
    cold: bool
    pinned: bool
    parts: Sequence[PartScore]
    behaviour_parts: Mapping[str, float]
    events: Sequence[EventContribution]
    without_text: Counterfactual | None
    without_image: Counterfactual | None


@dataclass(frozen=True)
class SessionAttention:
    """How the sequence model spreads its attention over the events when it sums the session up, oldest first.

    Attributes:
        mean: over blocks and heads; it sums to 1.
        blocks: by block, head and event; each head's sums to 1.
    """

    mean: Sequence[float]
    blocks: Sequence[Sequence[Sequence[float]]]


@dataclass(frozen=True)
class Explanation(Record):
    """A list of recommendations, or of items that were asked for, and why they score as they do.

    Attributes:
        ref: what was asked.
        index: index version that answered.
        served_by: spoke or hub version behind it.
        session: items that the answer rests on, oldest first.
        unknown: items of the session that the index does not know.
        seen_items: `ranked` or `excluded`.
        rules: version of the merchandising rules laid over the ranking, if any.
        weights: of the mixture that was used.
        attention: of the session; the same for every item. None for the launch floor.
        items: the items explained.
        notes: what could not be told, and why.
    """

    ref: str
    index: str
    served_by: str
    session: Sequence[Mapping[str, Any]]
    unknown: Sequence[str]
    seen_items: str
    rules: str | None
    weights: Mapping[str, float]
    attention: SessionAttention | None
    items: Sequence[ExplainedItem]
    notes: Sequence[str]


def explain(
    context: Context,
    ref: str,
    session: Sequence[str] = (),
    user: str | None = None,
    k: int = 5,
    exclude_seen: bool = False,
    items: Sequence[str] = (),
) -> Explanation:
    """Why `ref` recommends what it recommends after a session, or scores `items` as it does.

    Args:
        context: the workspace.
        ref: a domain, release, spoke or index.
        session: item ids, oldest first.
        user: a known shopper, whose history is the session.
        k: length of the list.
        exclude_seen: leave items of the session out of the list.
        items: explain these instead of the list; they need not be in it.

    Raises:
        UsageError: there is no session, or both a session and a shopper, or `k` is not positive.
        NotFoundError: an item asked for is unknown, or every item of the session, or the shopper.
    """
    if not session and user is None:
        raise UsageError(
            "Without a session the list is what is popular or new, which no event explains; name the items that were "
            "looked at (--session A,B,C), or a known shopper (--user ID)."
        )
    return _Explainer(context, Server(context, ref)).explain(session, user, k, exclude_seen, items)


class _Explainer:
    """Explains what one server answers."""

    def __init__(self, context: Context, server: Server) -> None:
        self._context = context
        self._server = server
        self._spoke: Spoke = server.loaded.spoke
        self._vectors: FloatArray = server.loaded.index.vectors()

    def explain(
        self, session: Sequence[str], user: str | None, k: int, exclude_seen: bool, items: Sequence[str]
    ) -> Explanation:
        from ..spokes.explain import explain_scores

        asked = self._rows(dict.fromkeys(items))
        answer = self._server.recommend(session, user, k, exclude_seen)
        history, _ = self._server.events(session, user)
        rows = asked if items else self._rows(str(item["item_id"]) for item in answer.items)
        parts = explain_scores(self._spoke, self._vectors, history, rows, exclude_seen=exclude_seen)
        barred = self._server.barred(self._spoke.mixture.hidden(history, exclude_seen).tolist())
        weights = self._spoke.mixture.weights(exclude_seen)
        attention, notes = self._attention(history, weights.behaviour)
        found, untold = self._items(answer, rows, parts, barred)
        return Explanation(
            ref=answer.ref,
            index=answer.index,
            served_by=answer.served_by,
            session=answer.session,
            unknown=answer.unknown,
            seen_items=answer.seen_items,
            rules=answer.rules,
            weights=weights.model_dump(),
            attention=attention,
            items=found,
            notes=[*notes, *untold, *self._weighed()],
        )

    def _rows(self, items: Iterable[str]) -> IntArray:
        return np.array([self._server.row(item) for item in items], dtype=np.int64)

    def _weighed(self) -> list[str]:
        """What the sum behind the behavioural part is where it is not simply one."""
        own = self._spoke.behaviour
        if own is None or own.config.fusion == "concat":
            return []
        return [
            f"The behavioural part is told by parts as the {own.config.fusion} weighed them; the weights depend on all "
            "parts, so a score without one of them is not the score less that part."
        ]

    def _attention(self, history: IntArray | History, weight: float) -> tuple[SessionAttention | None, list[str]]:
        from ..spokes.explain import last_attention

        if self._spoke.behaviour is None:
            return None, ["No behaviour has been trained: content alone decides, and attends to nothing."]
        if weight == 0:
            return None, ["Content alone was best on validation: behaviour has no weight in the score."]
        try:
            blocks = last_attention(self._spoke, self._vectors, history)
        except UsageError as error:
            return None, [str(error)]
        if blocks is None:
            return None, []
        return SessionAttention(_floats(blocks.mean(axis=(0, 1))), [[_floats(h) for h in b] for b in blocks]), []

    def _items(
        self, answer: Recommendations, rows: IntArray, parts: ScoreParts, barred: Mapping[int, str]
    ) -> tuple[list[ExplainedItem], list[str]]:
        """The explained items, and what could not be told of them."""
        shown = {str(item["item_id"]): item for item in answer.items}
        places = _Places(self._vectors @ parts.query, barred)
        told = [self._told(nth, int(row), parts, answer) for nth, row in enumerate(rows)]
        dataset = self._server.dataset
        few = replace(dataset, items=dataset.items[rows.tolist()])
        try:
            # Looked up, since they have been indexed.
            encoded = encode_items(self._context, self._server.loaded.hub, few, self._spoke.content, self._spoke.heads)
        except InvalidDataError as error:
            split: list[dict[str, Any]] = [{}] * len(rows)
            notes = [f"What the items are made of could not be read again: {error}"]
        else:
            split, notes = self._split(rows, few.items, parts, encoded, places), []
        found = []
        for row, own, more in zip(rows.tolist(), told, split, strict=True):
            listed = shown.get(str(own["item_id"]), {})
            found.append(
                ExplainedItem(
                    rank=listed.get("rank"),
                    score_rank=places.of(row),
                    not_shown=barred.get(row),
                    pinned=bool(listed.get("pinned", False)),
                    **{**own, **_UNTOLD, **more},
                )
            )
        return found, notes

    def _told(self, nth: int, row: int, parts: ScoreParts, answer: Recommendations) -> dict[str, Any]:
        """What the vectors alone say of the nth explained item."""
        about = self._server.describe(row)
        about.pop("image")
        flag = self._spoke.width
        return {
            **about,
            "score": _number(parts.scores[nth]),
            "cold": bool(self._vectors[row, flag] > 0) if flag else True,
            "parts": _part_scores(nth, parts),
            "events": _contributions(nth, parts, answer.session),
        }

    def _split(
        self, rows: IntArray, items: pl.DataFrame, parts: ScoreParts, encoded: EncodedItems, places: _Places
    ) -> list[dict[str, Any]]:
        """What only embedding the items again tells: the sum behind the behavioural part, the loss of each modality."""
        from ..spokes.explain import behaviour_parts, scores_without

        ids = items["item_id"].to_list()
        own = self._spoke.behaviour
        summed = behaviour_parts(self._spoke, parts.query, own.inputs(ids, encoded, items)) if own else {}
        without = scores_without(self._spoke, parts.query, ids, encoded, items)
        has = {"text": encoded.has_text, "image": encoded.has_image}
        return [
            {
                "behaviour_parts": {name: _number(values[nth]) for name, values in summed.items()},
                **{
                    f"without_{name}": Counterfactual(_number(values[nth]), places.at(values[nth], int(rows[nth])))
                    for name, values in without.items()
                    if has[name][nth]
                },
            }
            for nth in range(len(rows))
        ]


class _Places:
    """Places by score among the items that may be shown.

    Args:
        scores: (N,) of the whole catalog.
        barred: rows that may not be shown.
    """

    def __init__(self, scores: FloatArray, barred: Mapping[int, str]) -> None:
        self._scores = scores
        self._open = np.ones(len(scores), dtype=bool)
        self._open[list(barred)] = False

    def of(self, row: int) -> int:
        """The place of an item; where it may not be shown, the place that it would have."""
        return self.at(float(self._scores[row]), row)

    def at(self, score: float, row: int) -> int:
        """The place that an item would have with another score."""
        better = (self._scores > score) & self._open
        return 1 + int(better.sum()) - int(better[row])


def _part_scores(nth: int, parts: ScoreParts) -> list[PartScore]:
    from ..spokes.explain import signed_shares

    scores = np.array([values[nth] for values in parts.parts.values()])
    leads = scores - np.array([parts.average[name] for name in parts.parts])
    columns = zip(parts.parts, scores, signed_shares(scores), leads, signed_shares(leads), strict=True)
    return [PartScore(name, *map(_number, numbers)) for name, *numbers in columns]


def _contributions(nth: int, parts: ScoreParts, session: Sequence[Mapping[str, Any]]) -> list[EventContribution]:
    from ..spokes.explain import signed_shares

    whole = parts.event_contributions[nth]
    leads = whole - parts.average_events
    shares, lead_shares = signed_shares(whole), signed_shares(leads)
    return [
        EventContribution(
            position=place + 1,
            item_id=str(event["item_id"]),
            title=str(event["title"]),
            score=_number(whole[place]),
            share=_number(shares[place]),
            lead=_number(leads[place]),
            lead_share=_number(lead_shares[place]),
            parts={name: _number(values[nth, place]) for name, values in parts.events.items()},
            content={name: _number(values[nth, place]) for name, values in parts.content_events.items()},
        )
        for place, event in enumerate(session)
    ]


def _floats(values: FloatArray) -> list[float]:
    return [_number(value) for value in values]


def _number(value: Any) -> float:
    """Rounded to what float32 can tell, and never -0."""
    return round(float(value), 6) + 0.0

"""Why a category is shown what it is shown: the ordinary list, with every score taken apart.

The list is that of `recommend`, rules and all; nothing here changes what is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import AnyFloatArray, BoolArray, DoubleArray, FloatArray, IntArray
from ..errors import InvalidDataError, UsageError
from .answers import Answer
from .barred import BarredItem, Bars
from .loading import encode_items
from .question import Question
from .recommendations import Recommender
from .trace import Trace

if TYPE_CHECKING:
    from ..catalog.sequences import History
    from ..retrieval.filters import Filter
    from ..spokes.explain import ScoreParts
    from ..spokes.spoke import Spoke
    from .context import Context


@dataclass(frozen=True)
class PartScore:
    """One part of a score, beside what the same part gives the average item of the catalog."""

    name: str  # `behaviour`, `cold` (the bonus of items with few events), `trend`, `text`, `image` or `repeat`
    score: float  # the parts sum to the item's score
    share: float  # of the score, with its sign; the absolute shares sum to 1
    lead: float  # beyond the average item's: what lifts every item alike explains no ranking
    lead_share: float


@dataclass(frozen=True)
class EventContribution:
    """What one event of the session brought to an item: what the item's score loses without it."""

    position: int  # place in the session, 1 is the oldest
    item_id: str
    title: str
    score: float  # below 0 where the event speaks against the item
    share: float
    lead: float
    lead_share: float
    parts: Mapping[str, float]  # the loss by part of the score
    content: Mapping[str, float]  # the event's term of the content score by modality; over all events they sum to it


@dataclass(frozen=True)
class Counterfactual:
    """An item's score, and its place by score, had it been another item."""

    score: float
    score_rank: int


@dataclass(frozen=True)
class ExplainedItem:
    """One item and why it stands where it stands."""

    rank: int | None  # None where it was asked for and is not in the list
    score_rank: int  # by score alone among what may be shown
    places: Mapping[str, int | None]  # after each stage that there was; None where it did not come out of it
    boost: float  # what rules lift it by, in units of the spread of the best scores
    not_shown: str | None  # why it is never shown after this session
    held_back: str | None  # why it is not in this list, although it may be shown
    item_id: str
    title: str
    brand: str | None
    category: str | None
    price: float | None
    score: float
    cold: bool
    pinned: bool
    parts: Sequence[PartScore]
    behaviour_parts: Mapping[str, float]  # what the behavioural part is the sum of; empty for the launch floor
    events: Sequence[EventContribution]  # oldest first
    without_text: Counterfactual | None  # None where the item has no text, or the catalog
    without_image: Counterfactual | None


@dataclass(frozen=True)
class SessionAttention:
    """How the sequence model spreads its attention over the events, oldest first, when it sums the session up."""

    mean: Sequence[float]  # over blocks and heads; it sums to 1
    blocks: Sequence[Sequence[Sequence[float]]]  # by block, head and event; each head's sums to 1


@dataclass(frozen=True)
class Explanation(Answer):
    """A list of recommendations, or of items that were asked for, and why they score as they do."""

    weights: Mapping[str, float]  # of the mixture that was used
    attention: SessionAttention | None  # the same for every item; None for the launch floor
    items: Sequence[ExplainedItem]
    barred: Sequence[BarredItem]  # what scores as well as the list and is not in it, best first
    notes: Sequence[str]  # what could not be explained, and why


def explain(
    context: Context,
    ref: str,
    session: Sequence[str] = (),
    user: str | None = None,
    k: int = 5,
    exclude_seen: bool = False,
    items: Sequence[str] = (),
    filter: Filter | None = None,
    diversity: float = 0.0,
    near: float | None = None,
) -> Explanation:
    """Why `ref` recommends what it recommends after a session (or to a user), or scores `items` as it does."""
    if not session and user is None:
        raise _nothing_to_explain()
    question = Question(session, user, k, exclude_seen, filter, diversity, near)
    return explain_answer(context, Recommender(context, ref), question, items)


def explain_answer(
    context: Context, recommender: Recommender, question: Question, items: Sequence[str] = ()
) -> Explanation:
    """Why a recommender that is loaded already answers a question as it does."""
    from ..spokes.explain import explain_scores

    history, *_ = recommender.history(question)
    if not len(history):
        raise _nothing_to_explain()
    asked, trace = [recommender.row(item) for item in dict.fromkeys(items)], Trace()
    answer = recommender.answer(question, trace)
    listed = {recommender.row(item["item_id"]): item for item in answer.items}
    rows = np.array(asked or list(listed), dtype=np.int64)  # (K,)

    spoke, vectors, exclude_seen = recommender.complete.spoke, recommender.vectors, question.exclude_seen
    parts = explain_scores(spoke, vectors, history, rows, exclude_seen=exclude_seen)
    hidden = spoke.mixture.hidden(history, exclude_seen)
    lifted = spoke.mixture.lifted(history, exclude_seen)
    scores = recommender.retriever.scores(parts.query, np.arange(len(vectors)), lifted)
    allowed = recommender.catalog.allowed(question.filter).copy()
    allowed[hidden] = False
    places = _Places(scores, allowed)
    weights = spoke.mixture.weights(exclude_seen)
    attention, inattentive = _attention(spoke, vectors, history, weights.behaviour)
    embedded, unread = _embedded_again(context, recommender, rows, parts, places)
    bars = Bars(recommender, question, hidden, trace, list(listed))
    staged = _staged(recommender, rows, places, listed, trace, bars)
    scored = _scored(recommender, rows, parts, answer.session)
    # The explanation is an answer too, and must say the same of itself as the list that it explains.
    own = {field: getattr(answer, field) for field in Answer.__dataclass_fields__}
    return Explanation(
        **own,
        weights=weights.model_dump(),
        attention=attention,
        items=[ExplainedItem(**one, **two, **three) for one, two, three in zip(scored, staged, embedded, strict=True)],
        barred=bars.best(scores, len(listed)),
        notes=[note for note in (inattentive, unread, _fused(spoke)) if note],
    )


def _staged(
    recommender: Recommender,
    rows: IntArray,
    places: _Places,
    listed: Mapping[int, Mapping[str, Any]],
    trace: Trace,
    bars: Bars,
) -> list[dict[str, Any]]:
    """Where each of the K items stands, and what put it there or keeps it out."""
    found = []
    for row in rows.tolist():
        rank = listed[row]["rank"] if row in listed else None
        by_score, barred = places.at(float(places.scores[row]), row), bars.against(row)
        never = not places.allowed[row]
        found.append(
            {
                "rank": rank,
                "score_rank": by_score,
                "places": {"retrieve": None if never else by_score, **trace.places(row), "list": rank},
                "boost": _number(recommender.catalog.rules.boosts[row]),
                "not_shown": barred[1] if barred and never else None,
                "held_back": barred[1] if barred and not never else None,
                "pinned": row in listed and listed[row]["pinned"],
            }
        )
    return found


def _scored(
    recommender: Recommender, rows: IntArray, parts: ScoreParts, session: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What each of the K items is, and what its score is made of."""
    average, found = np.array([parts.average[name] for name in parts.parts]), []  # (P,)
    for nth, (row, about) in enumerate(zip(rows.tolist(), recommender.catalog.describe(rows.tolist()), strict=True)):
        del about["image"]  # a file of the workspace says nothing to whoever reads an explanation
        compared = _compared(np.array([values[nth] for values in parts.parts.values()]), average)
        found.append(
            {
                **about,
                "score": _number(parts.scores[nth]),
                "cold": bool(recommender.cold[row]),
                "parts": [PartScore(name, *numbers) for name, numbers in zip(parts.parts, compared, strict=True)],
                "events": _contributions(nth, parts, session),
            }
        )
    return found


def _fused(spoke: Spoke) -> str | None:
    """What is to be known of the sum behind the behavioural part."""
    if spoke.behaviour is None or (fusion := spoke.behaviour.config.fusion) == "concat":
        return None
    return (
        f"The behavioural part is told by parts as the {fusion} weighed them; the weights "
        "depend on all parts, so a score without one of them is not the score less that part."
    )


def _nothing_to_explain() -> UsageError:
    return UsageError(
        "Without a session the list is what is popular with newcomers or new, which no event explains; name the items "
        "that were looked at (--session A,B,C), or a shopper who has a session in this category (--user ID)."
    )


def _attention(
    spoke: Spoke, vectors: FloatArray, history: History, weight: float
) -> tuple[SessionAttention | None, str | None]:
    """The attention, or why there is none."""
    from ..spokes.explain import last_attention

    if spoke.behaviour is None:
        return None, "No behaviour has been trained: content alone decides, and attends to nothing."
    if weight == 0:
        return None, "Content alone was best on validation: behaviour has no weight in the score."
    try:
        blocks = last_attention(spoke, vectors, history)  # (L, H, T)
    except UsageError as error:
        return None, str(error)
    if blocks is None:
        return None, None
    return SessionAttention(_numbers(blocks.mean(axis=(0, 1))), [[_numbers(h) for h in b] for b in blocks]), None


def _embedded_again(
    context: Context, recommender: Recommender, rows: IntArray, parts: ScoreParts, places: _Places
) -> tuple[list[dict[str, Any]], str | None]:
    """What only embedding the K items again shows: the sum behind the behavioural part, the loss of each modality."""
    from ..spokes.explain import behaviour_parts, scores_without

    spoke, few = (
        recommender.complete.spoke,
        replace(recommender.dataset, items=recommender.dataset.items[rows.tolist()]),
    )
    found: list[dict[str, Any]] = [{"behaviour_parts": {}, "without_text": None, "without_image": None} for _ in rows]
    try:
        # Looked up rather than computed, since they have been indexed.
        encoded = encode_items(context, recommender.complete.hub, few, spoke.content, spoke.heads)
    except InvalidDataError as error:
        return found, f"What the items are made of could not be read again: {error}"
    ids = few.items["item_id"].to_list()
    if spoke.behaviour:
        summed = behaviour_parts(spoke, parts.query, spoke.behaviour.inputs(ids, encoded, few.items))
        for nth, own in enumerate(found):
            own["behaviour_parts"] = {name: _number(values[nth]) for name, values in summed.items()}
    has = {"text": encoded.has_text, "image": encoded.has_image}
    taken = parts.parts.get("repeat", np.zeros(len(rows)))
    for name, products in scores_without(spoke, parts.query, ids, encoded, few.items).items():
        scores = products + taken
        for nth in np.flatnonzero(has[name]).tolist():
            place = places.at(scores[nth], int(rows[nth]))
            found[nth][f"without_{name}"] = Counterfactual(_number(scores[nth]), place)
    return found, None


@dataclass(frozen=True)
class _Places:
    """Places by (N,) score among the (N,) items that may be shown."""

    scores: DoubleArray
    allowed: BoolArray

    def at(self, score: float, row: int) -> int:
        """The place that an item would have with a score, were it shown."""
        better = (self.scores > score) & self.allowed
        return 1 + int(better.sum()) - int(better[row])


def _contributions(nth: int, parts: ScoreParts, session: Sequence[Mapping[str, Any]]) -> list[EventContribution]:
    compared = _compared(parts.event_contributions[nth], parts.average_events)
    return [
        EventContribution(
            place + 1,
            event["item_id"],
            event["title"],
            score,
            share,
            lead,
            lead_share,
            {name: _number(values[nth, place]) for name, values in parts.events.items()},
            {name: _number(values[nth, place]) for name, values in parts.content_events.items()},
        )
        for place, (event, (score, share, lead, lead_share)) in enumerate(zip(session, compared, strict=True))
    ]


def _compared(scores: DoubleArray, average: DoubleArray) -> list[list[float]]:
    """Each of (n,) scores with its share, its lead over the average item's, and that lead's share."""
    from ..spokes.explain import signed_shares

    leads = scores - average
    columns = np.stack([scores, signed_shares(scores), leads, signed_shares(leads)], axis=1)  # (n, 4)
    return [_numbers(row) for row in columns]


def _numbers(values: AnyFloatArray) -> list[float]:
    return [_number(value) for value in values]


def _number(value: Any) -> float:
    """Rounded to what float32 can tell, and never -0."""
    return round(float(value), 6) + 0.0

"""An explanation in plain words: one block per item, for people who choose what a shop shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..reports.charts import shortened
from ..reports.explanation import PART_NAMES

if TYPE_CHECKING:
    from ..workflows.explain import Counterfactual, ExplainedItem, Explanation

BEHAVIOUR_PARTS: Mapping[str, str] = {"image": "picture", "item id": "the item itself", "bias": "same for all"}
SHOWN_EVENTS, LONGEST_TITLE = 5, 40
_LEAST = 0.005  # less than half a per cent is not worth a word


def explained(result: Explanation) -> str:
    """Who answers, after what, and a block for each item."""
    lines = [f"Served by {result.served_by}, items of the session are {result.seen_items}."]
    lines += [f"  after {seen['item_id']}  {seen['title']}" for seen in result.session]
    if result.unknown:
        lines.append(f"Unknown items left out: {', '.join(result.unknown)}.")
    if result.rules:
        lines.append(f"Rules: {result.rules}.")
    if result.attention is not None:
        looked = sorted(zip(result.attention.mean, event_names(result), strict=True), key=lambda own: -own[0])
        lines.append(f"Attention of the model: {_listed([(name, share) for share, name in looked])}.")
    lines += [f"Note: {note}" for note in result.notes]
    return "\n\n".join(["\n".join(lines), *("\n".join(_block(item, event_names(result))) for item in result.items)])


def event_names(result: Explanation) -> list[str]:
    """The title of each event's item; where two events would be called alike, with their place in the session."""
    titles = [shortened(str(event["title"] or event["item_id"]), LONGEST_TITLE) for event in result.session]
    count = Counter(titles)
    return [f"{title} [{n}]" if count[title] > 1 else title for n, title in enumerate(titles, 1)]


def _block(item: ExplainedItem, names: Sequence[str]) -> Iterator[str]:
    place = f"{item.rank}." if item.rank is not None else "-"
    yield f"{place} {item.title or item.item_id} ({', '.join([item.item_id, *filter(None, [item.brand])])})"
    rows = [*_standing(item), *_reasons(item, names), ("score", _sum(item))]
    if item.behaviour_parts:
        own = sorted(item.behaviour_parts.items(), key=lambda part: -abs(part[1]))
        said = [f"{BEHAVIOUR_PARTS.get(name, name)} {score:.3f}" for name, score in own if abs(score) >= _LEAST]
        rows.append(("behaviour", ", ".join(said)))
    if len(item.parts) > 1:
        rows.append(("compared", _lead(item)))
    rows += [("without", text) for text in _without(item)]
    width = max(len(name) for name, _ in rows)
    yield from (f"   {name:<{width}}  {text}" for name, text in rows)


def _standing(item: ExplainedItem) -> Iterator[tuple[str, str]]:
    """What is odd about the place of an item."""
    if item.pinned:
        yield "pinned", f"by a rule; its score alone would put it at {item.score_rank}"
    if item.not_shown is not None:
        yield "never shown", f"{item.not_shown}; its score would put it at {item.score_rank}"
    elif item.rank is None:
        yield "not in the list", f"its score puts it at {item.score_rank}"
    if item.cold:
        yield "new", "too few events for behaviour of its own, so content speaks for it"


def _reasons(item: ExplainedItem, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The events that put an item ahead of the average one, and those that hold it back."""
    for word, sign in (("because of", 1), ("in spite of", -1)):
        own = [event for event in item.events if sign * event.lead_share >= _LEAST]
        own.sort(key=lambda event: -abs(event.lead_share))
        if own:
            yield word, _listed([(names[event.position - 1], event.lead_share) for event in own])


def _listed(shares: Sequence[tuple[str, float]]) -> str:
    """Names with their shares, the first few of them."""
    shown = [f"{name} ({share * 100:.0f} %)" for name, share in shares[:SHOWN_EVENTS]]
    more = len(shares) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _sum(item: ExplainedItem) -> str:
    return f"{item.score:.3f}: {_listed_parts([(part.name, part.score, part.share) for part in item.parts])}"


def _lead(item: ExplainedItem) -> str:
    """What puts an item ahead of the average one: a part that is the same for all explains no ranking."""
    parts = _listed_parts([(part.name, part.lead, part.lead_share) for part in item.parts])
    lead = sum(part.lead for part in item.parts)
    return f"{abs(lead):.3f} {'below' if lead < 0 else 'above'} the average item: {parts}"


def _listed_parts(parts: Sequence[tuple[str, float, float]]) -> str:
    said = [f"{PART_NAMES[name]} {score:.3f} ({share * 100:.0f} %)" for name, score, share in parts if score]
    return ", ".join(said) or "nothing"


def _without(item: ExplainedItem) -> Iterator[str]:
    known: list[tuple[str, Counterfactual | None]] = [
        ("its text", item.without_text),
        ("its picture", item.without_image),
    ]
    for name, other in known:
        if other is not None:
            yield f"{name} it would stand at {other.score_rank} instead of {item.score_rank} (score {other.score:.3f})"


__all__ = ["event_names", "explained"]

"""`hubspoke explain`: why a category is shown what it is shown, in words, as JSON and as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from .call import Call, command
from .options import filtered, how_many, spread_out
from .output import cell
from .recommend import answered, items_of_session

if TYPE_CHECKING:
    from ..workflows.barred import BarredItem
    from ..workflows.explain import ExplainedItem, Explanation

BEHAVIOUR_PARTS = {"image": "picture", "item id": "the item itself", "bias": "same for all"}
STAGES = {
    "retrieve": "by score",
    "rank": "re-ranked",
    "rules": "after boosts",
    "diversity": "spread out",
    "list": "in the list",
}
SHOWN_EVENTS, LONGEST_TITLE = 5, 40
LEAST = 0.005  # less than half a per cent is not worth a word


@command(example="hubspoke explain garden --session 1041,977 -k 3 --plot why.svg")
@click.argument("ref")
@click.option(
    "--session", metavar="A,B,C", help="Item ids of the session, oldest first; one with a comma in it in double quotes."
)
@click.option("--user", metavar="ID", help="A known user: their recorded history is the session.")
@how_many(5)
@click.option("--exclude-seen", is_flag=True, help="Leave out items of the session.")
@click.option("--item", "items", metavar="ID", multiple=True, help="Explain this item instead of the list; repeatable.")
@spread_out
@filtered
@click.option("--plot", metavar="FILE.svg", help="Draw what each event brought to each item into FILE.svg or FILE.png.")
def explain(call: Call, /, ref: str, session: str | None, user: str | None, plot: str | None, **asked: Any) -> None:
    """Why REF recommends what it recommends after a session: events behind each item, and what its score is made of.

    Also which stage put an item where it is, and which items score as well and were held back by what.
    """
    from ..reports.explanation import plot_file, write_plot

    if session is not None and user is not None:
        raise UsageError("--session and --user both say what was seen; give one of them.")
    # A picture that cannot be written is told before the models are loaded.
    file = None if plot is None else plot_file(Path(plot))
    workspace = call.workspace()
    result = workspace.explain(ref, items_of_session(workspace, ref, session), user=user, **asked)
    if file is not None:
        write_plot(result, file)
        call.note(f"The picture is in {file}.")
    call.show(result, explained)


def explained(result: Explanation) -> str:
    """Who answers, after what, and a block for each item, for people who choose what a shop shows."""
    from ..reports.charts import shortened

    lines = answered(result)
    titles = [shortened(cell(event["title"] or event["item_id"]), LONGEST_TITLE) for event in result.session]
    count = Counter(titles)  # events that would be called alike are told apart by their place in the session
    named = [f"{title} [{n}]" if count[title] > 1 else title for n, title in enumerate(titles, 1)]
    if result.attention is not None:
        looked = sorted(zip(named, result.attention.mean, strict=True), key=lambda own: -own[1])
        lines.append(f"Attention of the model: {_listed(looked)}.")
    lines += [f"Note: {note}" for note in result.notes]
    blocks = ["\n".join(lines), *(_block(item, named) for item in result.items)]
    return "\n\n".join([*blocks, _barred(result.barred)] if result.barred else blocks)


def _barred(items: Sequence[BarredItem]) -> str:
    """What scores as well as the list and is not in it."""
    head = "Not in the list, although they score as well:"
    lines = [f"{item.score_rank}. {cell(item.title or item.item_id)} ({cell(item.item_id)})" for item in items]
    width = max(len(line) for line in lines)
    told = [f"   {line:<{width}}  {item.stage}: {item.reason}" for line, item in zip(lines, items, strict=True)]
    return "\n".join([head, *told])


def _block(item: ExplainedItem, events: Sequence[str]) -> str:
    """What is odd about the place of an item, what put it there or held it back, what its score is made of."""
    place = f"{item.rank}." if item.rank is not None else "-"
    rows = list(_reasons(item, events))
    width = max(len(name) for name, _ in rows)
    head = f"{place} {cell(item.title or item.item_id)} ({cell([item.item_id, *filter(None, [item.brand])])})"
    return "\n".join([head, *(f"   {name:<{width}}  {text}" for name, text in rows)])


def _reasons(item: ExplainedItem, events: Sequence[str]) -> Iterator[tuple[str, str]]:
    if item.pinned:
        yield "pinned", f"by a rule; its score alone would put it at {item.score_rank}"
    if item.not_shown is not None:
        yield "never shown", f"{item.not_shown}; its score would put it at {item.score_rank}"
    elif item.rank is None:
        why = f"{item.held_back}; " if item.held_back else ""
        yield "not in the list", f"{why}its score puts it at {item.score_rank}"
    if item.boost:
        word = "lifted" if item.boost > 0 else "held back"
        yield word, f"by a boost of {item.boost:g}"
    if len({place for place in item.places.values() if place is not None}) > 1:
        yield "place", ", ".join(_staged(item.places))
    if item.cold:
        yield "new", "too few events for behaviour of its own, so content speaks for it"
    for word, sign in (("because of", 1), ("in spite of", -1)):
        own = [event for event in item.events if sign * event.lead_share >= LEAST]
        own.sort(key=lambda event: -abs(event.lead_share))
        if own:
            yield word, _listed([(events[event.position - 1], event.lead_share) for event in own])
    yield "score", f"{item.score:.3f}: {_parts((part.name, part.score, part.share) for part in item.parts)}"
    if item.behaviour_parts:
        summed = sorted(item.behaviour_parts.items(), key=lambda part: -abs(part[1]))
        named = [f"{BEHAVIOUR_PARTS.get(name, name)} {score:.3f}" for name, score in summed if abs(score) >= LEAST]
        yield "behaviour", ", ".join(named)
    if len(item.parts) > 1:
        lead = sum(part.lead for part in item.parts)
        parts = _parts((part.name, part.lead, part.lead_share) for part in item.parts)
        yield "compared", f"{abs(lead):.3f} {'below' if lead < 0 else 'above'} the average item: {parts}"
    for name, other in (("text", item.without_text), ("picture", item.without_image)):
        if other is not None:
            place = f"it would stand at {other.score_rank} instead of {item.score_rank}"
            yield "without", f"its {name} {place} (score {other.score:.3f})"


def _staged(places: Mapping[str, int | None]) -> Iterator[str]:
    """Where an item stood after each stage, as far as it came."""
    for stage, place in places.items():
        if place is not None:
            yield f"{STAGES[stage]} {place}"


def _listed(shares: Sequence[tuple[str, float]]) -> str:
    """Names with their shares, the first few of them."""
    shown = [f"{name} ({share * 100:.0f} %)" for name, share in shares[:SHOWN_EVENTS]]
    more = len(shares) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _parts(parts: Iterable[tuple[str, float, float]]) -> str:
    from ..reports.explanation import PART_NAMES

    named = [f"{PART_NAMES[name]} {score:.3f} ({share * 100:.0f} %)" for name, score, share in parts if score]
    return ", ".join(named) or "nothing"

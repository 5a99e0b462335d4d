"""An explanation as a picture: what each event of the session brought to each item, as a heat map."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..files import file_faults
from .charts import HeatGroup, heat_map, write_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..workflows.explain import Explanation

# Part of a score to what a merchandiser calls it.
PART_NAMES = {
    "behaviour": "behaviour",
    "cold": "bonus of a new item",
    "trend": "taken a lot lately",
    "text": "text",
    "crowding": "near to everything",
    "image": "picture",
    "repeat": "taken before",
}
FORMATS = (".svg", ".png")


def plot_file(path: Path) -> Path:
    """The file, where a picture can be written to it; otherwise a UsageError that says why not."""
    if path.suffix.lower() not in FORMATS:
        kind = path.suffix.lower().removeprefix(".") or "no known format"
        raise UsageError(
            f"Pictures are written as SVG or PNG, and {path} is {kind}; name it {path.with_suffix('.svg').name}."
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file for the picture.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for the picture; make it, or name another file.")
    return path


def write_plot(explanation: Explanation, path: Path) -> None:
    """Draw an explanation into an SVG or PNG file; a reader sees the file whole or as it was before."""
    figure = explanation_figure(explanation)
    with file_faults(path):
        write_figure(figure, plot_file(path))


def explanation_figure(explanation: Explanation) -> Figure:
    """Items as columns, events and parts of the score as rows, attention beside them."""
    items, attention = explanation.items, explanation.attention
    if not items:
        raise UsageError(f"{explanation.ref} recommends nothing after this session; there is nothing to draw.")
    count = Counter(item.title for item in items)
    columns = []
    for item in items:
        # Items that are called alike are told apart by their ids.
        name = item.title if item.title and count[item.title] == 1 else f"{item.title} ({item.item_id})"
        columns.append(f"{item.rank}. {name}" if item.rank else name)
    events = []
    for place, event in enumerate(explanation.session):
        lost: list[float | None] = [item.events[place].lead_share for item in items]
        beside = [] if attention is None else [attention.mean[place]]
        events.append((f"{place + 1}. {event['title'] or event['item_id']}", [*lost, *beside]))
    shares = [{part.name: part.lead_share for part in item.parts} for item in items]
    used = [name for name in shares[0] if any(own[name] for own in shares)]
    none = [] if attention is None else [None]  # attention is of events, not of parts
    parts = [(PART_NAMES[name], [*(own[name] for own in shares), *none]) for name in used]
    scores = ", ".join(f"{item.score:.3f}" for item in items)
    notes = [
        "What puts an item ahead of the average item of the catalog, and what holds it back (orange). An event's share "
        "is what the item's lead loses without it; absolute shares sum to 100 %.",
        f"Scores: {scores}. Served by {explanation.served_by}, {explanation.index}.",
    ]
    new = [item.title or item.item_id for item in items if item.cold]
    if new and attention is not None:
        notes.append(f"New, with too few events for behaviour of their own: {', '.join(new)}.")
    return heat_map(
        f"Why {explanation.ref} shows these items",
        columns,
        (HeatGroup("Events of the session, oldest first", events), HeatGroup("Parts of the score", parts)),
        None if attention is None else "Attention of the model",
        [*notes, *_stages(explanation), *explanation.notes],
    )


def _stages(explanation: Explanation) -> list[str]:
    """What the stages after the score did, where they did something."""
    moved = [
        f"{item.title or item.item_id} {item.score_rank}, {item.rank}"
        for item in explanation.items
        if item.rank is not None and item.rank != item.score_rank
    ]
    barred = [f"{item.title or item.item_id} ({item.reason})" for item in explanation.barred]
    told = [f"Place by score, and in the list: {'; '.join(moved)}."] if moved else []
    return [*told, f"Not in the list, although they score as well: {'; '.join(barred)}."] if barred else told

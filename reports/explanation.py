"""An explanation as a picture: what each event of the session brought to each item, as a heat map."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..workflows.explain import ExplainedItem, Explanation
    from .heatmaps import HeatGroup, HeatMap

# Part of a score to what a merchandiser calls it.
PART_NAMES = {
    "behaviour": "behaviour",
    "cold": "bonus of a new item",
    "trend": "taken a lot lately",
    "text": "text",
    "image": "picture",
}


def plot_file(path: Path) -> Path:
    """The file, where a picture can be written to it.

    Raises:
        UsageError: it is no SVG, is a folder, or lies in none.
    """
    if path.suffix.lower() != ".svg":
        kind = path.suffix.lower().removeprefix(".") or "no known format"
        raise UsageError(
            f"Pictures are written as SVG, and {path} is {kind}; name it {path.with_suffix('.svg').name}, and let a "
            "browser make other formats of it (chromium --headless --screenshot=FILE.png FILE.svg)."
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file for the picture.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for the picture; make it, or name another file.")
    return path


def write_plot(explanation: Explanation, path: Path) -> None:
    """Draw an explanation into an SVG file; a reader sees the file whole or as it was before.

    Raises:
        UsageError: the file is no SVG, or a folder, or lies in none; or there is nothing to draw.
        HubspokeError: the file cannot be written.
    """
    from ..files import file_faults
    from .heatmaps import draw_heat_map

    drawn = draw_heat_map(heat_map(explanation))
    staged = plot_file(path).with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with file_faults(path):
            staged.write_text(drawn, encoding="utf-8")
            staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def heat_map(explanation: Explanation) -> HeatMap:
    """Items as columns, events and parts of the score as rows, attention beside them.

    Raises:
        UsageError: there is no item to draw.
    """
    from .heatmaps import HeatColumn, HeatMap

    items = explanation.items
    if not items:
        raise UsageError(f"{explanation.ref} recommends nothing after this session; there is nothing to draw.")
    columns = [HeatColumn(title) for title in _titles(items)]
    if explanation.attention is not None:
        columns.append(HeatColumn("Attention of the model", apart=True))
    return HeatMap(
        title=f"Why {explanation.ref} shows these items",
        subtitle="What puts an item ahead of the average item of the catalog, and what holds it back (orange). An "
        "event's share is what the item's lead loses without it; absolute shares sum to 100 %.",
        columns=tuple(columns),
        groups=(_events(explanation), _parts(explanation)),
        caption=_caption(explanation),
    )


def _events(explanation: Explanation) -> HeatGroup:
    from .heatmaps import HeatGroup, HeatRow

    attention = explanation.attention
    rows = []
    for place, event in enumerate(explanation.session):
        values: list[float | None] = [item.events[place].lead_share for item in explanation.items]
        if attention is not None:
            values.append(attention.mean[place])
        rows.append(HeatRow(f"{place + 1}. {event['title'] or event['item_id']}", tuple(values)))
    return HeatGroup("Events of the session, oldest first", tuple(rows))


def _parts(explanation: Explanation) -> HeatGroup:
    from .heatmaps import HeatGroup, HeatRow

    beside: tuple[None, ...] = (None,) * (explanation.attention is not None)
    shares = [{part.name: part.lead_share for part in item.parts} for item in explanation.items]
    used = [name for name in shares[0] if any(own[name] for own in shares)]
    rows = (HeatRow(PART_NAMES[name], (*(own[name] for own in shares), *beside)) for name in used)
    return HeatGroup("Parts of the score", tuple(rows))


def _titles(items: Sequence[ExplainedItem]) -> list[str]:
    """Titles with their places; items that are called alike are told apart by their ids."""
    count = Counter(item.title for item in items)
    named = [
        item.title if item.title and count[item.title] == 1 else f"{item.title} ({item.item_id})" for item in items
    ]
    return [f"{item.rank}. {name}" if item.rank else name for item, name in zip(items, named, strict=True)]


def _caption(explanation: Explanation) -> tuple[str, ...]:
    scores = ", ".join(f"{item.score:.3f}" for item in explanation.items)
    lines = [f"Scores: {scores}. Served by {explanation.served_by}, {explanation.index}."]
    new = [item.title or item.item_id for item in explanation.items if item.cold]
    if new and explanation.attention is not None:
        lines.append(f"New, with too few events for behaviour of their own: {', '.join(new)}.")
    return (*lines, *explanation.notes)

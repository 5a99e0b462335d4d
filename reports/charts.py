"""Curves and heat maps as matplotlib Figures: for a notebook as they are, for files and pages as SVG or PNG.

matplotlib is imported when the first figure is drawn. No pyplot: a Figure of its own keeps no global state.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, LINE = "#1c2430", "#5c6675", "#dde2e9"
COLOURS = ("#2563c9", "#d1501f", "#1b8a5a", "#8a4fc4", "#b7860b", "#c2347a", "#0d8aa5", "#5d6676")
_FOR, _AGAINST, _APART = COLOURS[0], COLOURS[1], SOFT
# A group of weak values is not painted as if it were a group of strong ones.
_FULL_COLOUR = 0.35
_LONGEST_LABEL = 44
_HEADING: dict[str, Any] = {"width": 15, "max_lines": 4, "placeholder": "…"}
# What XML cannot hold, however it is escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a price in dollars is no formula
    "axes.prop_cycle": "cycler('color', [{}])".format(", ".join(f"'{colour}'" for colour in COLOURS)),
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "lines.marker": "o",
    "lines.markersize": 5,
    # The same figure gives the same bytes: ids come from this word, not from chance; text stays text.
    "svg.hashsalt": "hubspoke",
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Point:
    """One measured point; `low` and `high` bound its interval."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class HeatGroup:
    """Rows under one heading that share a scale of colour: (label, a share per column, None for no cell)."""

    title: str
    rows: Sequence[tuple[str, Sequence[float | None]]]


def metric_curve(series: Mapping[str, Sequence[Point]], x_label: str, y_label: str, title: str = "") -> Figure:
    """One line per system with its interval as a band; points without a number are left out."""
    with _style():
        figure = _figure(7.2, 3.6)
        axes = figure.subplots()
        for points in series.values():
            known = sorted((p for p in points if math.isfinite(p.y)), key=lambda p: p.x)
            x = [p.x for p in known]
            (line,) = axes.plot(x, [p.y for p in known])
            axes.fill_between(x, [p.low for p in known], [p.high for p in known], color=line.get_color(), alpha=0.15)
        axes.set(xlabel=clean(x_label), ylabel=clean(y_label), title=clean(title))
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        if series:
            figure.legend(axes.lines, [clean(name) for name in series], loc="outside upper left", ncols=4)
    return figure


def heat_map(
    title: str, columns: Sequence[str], groups: Sequence[HeatGroup], apart: str | None, notes: Sequence[str]
) -> Figure:
    """Shares by row and column, written into their cells, with `notes` in small print below.

    `apart` is the heading of one more column, which stands aside and has a scale of its own.
    """
    groups = [group for group in groups if group.rows]
    beside = [] if apart is None else [apart]
    n_rows = [len(group.rows) for group in groups]
    width = max(7.0, 3.2 + 1.25 * (len(columns) + len(beside)))
    lines = [line for note in notes for line in textwrap.wrap(clean(note), int(14 * width))]
    with _style():
        figure = _figure(width, 1.9 + 0.36 * sum(n_rows) + 0.17 * len(lines))
        figure.suptitle(shortened(title, int(8 * width)), x=0.01, ha="left", fontsize=14, fontweight="bold")
        blocks = [list(columns), beside] if beside else [list(columns)]
        grid = figure.subplots(
            len(groups), len(blocks), squeeze=False, height_ratios=n_rows, width_ratios=[len(own) for own in blocks]
        )
        for group, row in zip(groups, grid, strict=True):
            colours = (_AGAINST, "#ffffff", _FOR)
            for axes, headings in zip(row, blocks, strict=True):
                start = 0 if axes is row[0] else len(columns)
                _cells(axes, [values[start : start + len(headings)] for _, values in group.rows], colours)
                if group is groups[0]:
                    wrapped = ["\n".join(textwrap.wrap(clean(text), **_HEADING)) for text in headings]
                    axes.set_xticks([n + 0.5 for n in range(len(headings))], wrapped)
                colours = ("#ffffff", "#ffffff", _APART)
            labels = [shortened(label, _LONGEST_LABEL) for label, _ in group.rows]
            row[0].set_yticks([n + 0.5 for n in range(len(labels))], labels)
            row[0].set_title(clean(group.title), loc="left", fontsize=9, color=SOFT, fontweight="bold")
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=8.5, color=SOFT)
    return figure


def _cells(axes: Axes, shares: Sequence[Sequence[float | None]], colours: tuple[str, str, str]) -> None:
    """One block of cells: coloured by sign and strength, each with its share."""
    from matplotlib.colors import LinearSegmentedColormap

    known = [[math.nan if share is None else share for share in row] for row in shares]
    strongest = max([_FULL_COLOUR, *(abs(share) for row in known for share in row if not math.isnan(share))])
    scale = LinearSegmentedColormap.from_list("shares", colours)
    axes.pcolormesh(known, cmap=scale, vmin=-strongest, vmax=strongest, edgecolors="#ffffff", linewidth=3)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.set(xticks=[], yticks=[])
    for at, row in enumerate(known):
        for column, share in enumerate(row):
            if not math.isnan(share):
                colour = "#ffffff" if abs(share) > 0.55 * strongest else INK if round(100 * share) else SOFT
                axes.text(column + 0.5, at + 0.5, share_text(share), ha="center", va="center", color=colour)


def share_text(share: float) -> str:
    """A share as a whole percentage with a true minus."""
    percent = round(100 * share)
    return f"{percent} %".replace("-", "\N{MINUS SIGN}")


def shortened(text: str, width: int) -> str:
    """The text in at most `width` characters, with an ellipsis where something is left out."""
    text = clean(text)
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def clean(text: str) -> str:
    """One line that XML can hold."""
    return " ".join(_FORBIDDEN.sub(" ", text).split())


def svg(figure: Figure) -> str:
    """The figure as one `<svg>` element for a page, whose colours it takes on where the page names its own."""
    stream = io.StringIO()
    _save(figure, stream, "svg", transparent=True)
    drawn = stream.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    names = {INK: "ink", SOFT: "soft", LINE: "line", **{colour: f"c{n}" for n, colour in enumerate(COLOURS)}}
    return re.sub("|".join(names), lambda found: f"var(--{names[found[0]]},{found[0]})", drawn)


def write_figure(figure: Figure, path: Path) -> None:
    """The figure as a file of the format that its name ends with; a reader sees it whole or as it was before."""
    with atomic_write(path, "wb") as stream:
        _save(figure, stream, path.suffix.lower().removeprefix("."))


def _save(figure: Figure, stream: IO[Any], kind: str, transparent: bool = False) -> None:
    """Without a date, so that the same figure gives the same bytes."""
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type")) if kind == "svg" else None
    with _style():
        figure.savefig(stream, format=kind, metadata=metadata, transparent=transparent, dpi=160)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


@contextmanager
def _style() -> Iterator[None]:
    from matplotlib import rc_context

    with rc_context(_STYLE), warnings.catch_warnings():
        # Titles come in any script; a browser has letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield

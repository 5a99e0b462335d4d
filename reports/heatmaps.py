"""A heat map as one self-contained SVG picture: shares by row and column, written into their cells.

It has its own colours and a white page, so that it looks the same in a browser, in a document and on paper.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

FOR, AGAINST, APART = (0x25, 0x63, 0xC9), (0xD1, 0x50, 0x1F), (0x5D, 0x66, 0x75)
_INK, _SOFT, _LINE, _PAPER = "#1c2430", "#5c6675", "#dde2e9", "#ffffff"
_FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif'
_MARGIN = 28
_CELL_WIDTH, _CELL_HEIGHT, _GAP, _APART_GAP = 116, 30, 3, 26
_CHARACTER = 7.7  # width of a character at 13 px, generous
_LINE_HEIGHT = 17
_LONGEST_LABEL = 44
_HEADING_LINES, _HEADING_WIDTH = 4, 15
_NARROWEST = 560  # title and subtitle need room where the map is small
# A group of weak values is not painted as if it were a group of strong ones.
_FULL_COLOUR = 0.35
# What XML cannot hold, however it is escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class HeatColumn:
    """A column; one that stands `apart` is set off at the right and has a colour of its own."""

    title: str
    apart: bool = False


@dataclass(frozen=True)
class HeatRow:
    """A row with a share per column; None leaves a cell out."""

    label: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class HeatGroup:
    """Rows below one heading that share a scale of colour."""

    title: str
    rows: tuple[HeatRow, ...]


@dataclass(frozen=True)
class HeatMap:
    """A heat map.

    Attributes:
        title: what it shows.
        subtitle: how to read it.
        columns: left to right.
        groups: top to bottom.
        caption: small text below, a line each.
    """

    title: str
    subtitle: str
    columns: tuple[HeatColumn, ...]
    groups: tuple[HeatGroup, ...]
    caption: tuple[str, ...] = ()


def draw_heat_map(chart: HeatMap) -> str:
    """The picture as an SVG document; long labels are cut with an ellipsis and shown whole on hover."""
    labels = [row.label for group in chart.groups for row in group.rows]
    left = _MARGIN + _CHARACTER * max([min(_LONGEST_LABEL, text_width(label)) for label in labels], default=0) + 14
    starts = _column_starts(chart.columns, left)
    width = max([_NARROWEST, *(start + _CELL_WIDTH + _MARGIN for start in starts)])
    parts, y = _head(chart, width)
    heading = max((len(wrapped(column.title)) for column in chart.columns), default=1) * _LINE_HEIGHT
    y += heading + 6
    parts += [_heading(column.title, start, y) for column, start in zip(chart.columns, starts, strict=True)]
    for group in chart.groups:
        drawn, y = _group(group, chart.columns, starts, left, y)
        parts += drawn
    for line in chart.caption:
        for text in wrapped(line, int((width - 2 * _MARGIN) / _CHARACTER * 1.12), 9):
            y += _LINE_HEIGHT
            parts.append(_text(text, _MARGIN, y + 8, size=12, colour=_SOFT))
    height = y + 8 + _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{_safe(chart.title)}" font-family=\'{_FONT}\'>'
        f'<rect width="100%" height="100%" fill="{_PAPER}"/>{"".join(parts)}</svg>\n'
    )


def text_width(text: str) -> int:
    """Columns that a text takes: two for a wide (East Asian) character, none for one that joins the one before."""
    return sum(
        0 if unicodedata.combining(own) else 2 if unicodedata.east_asian_width(own) in "WF" else 1 for own in text
    )


def cut(text: str, width: int) -> str:
    """The text in at most `width` columns, with an ellipsis where something is left out."""
    if text_width(text) <= width:
        return text
    kept = ""
    for own in text:
        if text_width(kept + own) >= width:
            break
        kept += own
    return kept.rstrip() + "…"


def wrapped(text: str, width: int = _HEADING_WIDTH, lines: int = _HEADING_LINES) -> list[str]:
    """The text broken at spaces into at most so many lines of at most so many columns; the rest is cut."""
    found = [""]
    for word in text.split():
        joined = f"{found[-1]} {word}".strip()
        if text_width(joined) <= width or not found[-1]:
            found[-1] = joined
        elif len(found) < lines:
            found.append(word)
        else:
            found[-1] = cut(found[-1], width - 1).removesuffix("…") + "…"
            break
    return [cut(line, width) for line in found]


def share_text(value: float) -> str:
    """A share as a whole percentage with a true minus."""
    percent = round(100 * value)
    sign = "\u2212" if percent < 0 else ""
    return f"{sign}{abs(percent)} %"


def _column_starts(columns: Sequence[HeatColumn], left: float) -> list[float]:
    starts, x, apart = [], left, False
    for column in columns:
        if column.apart and not apart:
            x += _APART_GAP
        apart = column.apart
        starts.append(x)
        x += _CELL_WIDTH + _GAP
    return starts


def _head(chart: HeatMap, width: float) -> tuple[list[str], float]:
    """Title and subtitle, and where they end."""
    y = _MARGIN + 14.0
    parts = []
    for line in wrapped(chart.title, int((width - 2 * _MARGIN) / 10.2), 3):
        parts.append(_text(line, _MARGIN, y, size=19, bold=True))
        y += 26
    for line in wrapped(chart.subtitle, int((width - 2 * _MARGIN) / _CHARACTER * 1.04), 5):
        parts.append(_text(line, _MARGIN, y, colour=_SOFT))
        y += _LINE_HEIGHT + 1
    return parts, y + 8


def _heading(title: str, start: float, bottom: float) -> str:
    """A column's title, its last line just above the cells."""
    lines = wrapped(title)
    middle = start + _CELL_WIDTH / 2
    texts = (
        _text(line, middle, bottom - 8 - _LINE_HEIGHT * (len(lines) - 1 - n), anchor="middle", weight=600)
        for n, line in enumerate(lines)
    )
    return f"<g><title>{_safe(title)}</title>{''.join(texts)}</g>"


def _group(
    group: HeatGroup, columns: Sequence[HeatColumn], starts: Sequence[float], left: float, y: float
) -> tuple[list[str], float]:
    parts = [
        f'<line x1="{_MARGIN}" x2="{starts[-1] + _CELL_WIDTH:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_LINE}"/>',
        _text(group.title, _MARGIN, y + 19, size=12, colour=_SOFT, weight=600),
    ]
    y += 28
    for row in group.rows:
        middle = y + _CELL_HEIGHT / 2 + 4.5
        label = _text(cut(row.label, _LONGEST_LABEL), left - 12, middle, anchor="end")
        cells = "".join(_cells(group, row, columns, starts, y))
        parts.append(f"<g><title>{_safe(row.label)}</title>{label}{cells}</g>")
        y += _CELL_HEIGHT + _GAP
    return parts, y + 8


def _cells(
    group: HeatGroup, row: HeatRow, columns: Sequence[HeatColumn], starts: Sequence[float], y: float
) -> Iterator[str]:
    for nth, (column, start, value) in enumerate(zip(columns, starts, row.values, strict=True)):
        if value is None:
            continue
        peers = [other.values[n] for other in group.rows for n, c in enumerate(columns) if c.apart == column.apart]
        strength = abs(value) / max(_FULL_COLOUR, *(abs(peer) for peer in peers if peer is not None))
        hue = APART if columns[nth].apart or not round(100 * value) else FOR if value > 0 else AGAINST
        ink = _PAPER if strength > 0.55 else _INK if round(100 * value) else _SOFT
        yield (
            f'<rect x="{start:.1f}" y="{y:.1f}" width="{_CELL_WIDTH}" height="{_CELL_HEIGHT}" rx="4" '
            f'fill="{_tint(hue, strength)}"/>'
            + _text(share_text(value), start + _CELL_WIDTH / 2, y + _CELL_HEIGHT / 2 + 4.5, anchor="middle", colour=ink)
        )


def _tint(hue: tuple[int, int, int], strength: float) -> str:
    """From almost white to the full hue."""
    kept = 0.05 + 0.95 * min(1.0, strength)
    return "#" + "".join(f"{round(255 - kept * (255 - own)):02x}" for own in hue)


def _text(
    text: str,
    x: float,
    y: float,
    *,
    size: int = 13,
    colour: str = _INK,
    anchor: str = "start",
    bold: bool = False,
    weight: int = 400,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{700 if bold else weight}" fill="{colour}" '
        f'text-anchor="{anchor}">{_safe(text)}</text>'
    )


def _safe(text: str) -> str:
    return escape(_FORBIDDEN.sub(" ", text))

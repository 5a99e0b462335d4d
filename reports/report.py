"""A report as data, and the one self-contained HTML page that shows it.

The page needs no script and no network (its content policy forbids both), and every text in it is escaped.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

from ..errors import InvalidDataError
from ..evaluation.bootstrap import Estimate
from .charts import Bar, BarChart, LineChart, Point, Series, draw_bars, draw_lines
from .style import STYLE

__all__ = [
    "Bar",
    "BarChart",
    "Block",
    "Card",
    "Cell",
    "Column",
    "LineChart",
    "Paragraph",
    "Point",
    "ProductStrip",
    "Report",
    "Section",
    "Series",
    "Table",
    "Tree",
    "image_data_uri",
    "render",
]

Cell = str | int | float | Estimate | None


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Column:
    """A table column.

    Attributes:
        title: heading.
        numeric: align right with figures of equal width.
        best: highlight the largest or smallest number; None for no highlight.
        digits: decimals of floats.
        signed: write a plus before positive numbers, for differences.
    """

    title: str
    numeric: bool = False
    best: Literal["max", "min"] | None = None
    digits: int = 4
    signed: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells: text, numbers, `Estimate`s (shown with their interval) or None (a dash)."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Card:
    """One product; `image` is a `data:image/...` address (see `image_data_uri`) or None."""

    title: str
    subtitle: str = ""
    note: str = ""
    image: str | None = None


@dataclass(frozen=True)
class ProductStrip:
    """Products side by side, as many to a row as fit."""

    title: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Tree:
    """Preformatted text, such as a lineage tree; its spacing is kept."""

    text: str


Block = Paragraph | Table | LineChart | BarChart | ProductStrip | Tree


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Report:
    """The whole document."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    footer: str = ""


# Of a page that loads nothing: inline style and data images are all it may use.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def render(report: Report) -> str:
    """The report as one HTML page.

    Raises:
        InvalidDataError: a table row has another length than its columns, or a picture is no data address.
    """
    sections = "".join(_section(section, n) for n, section in enumerate(report.sections, start=1))
    footer = f"<footer>{escape(report.footer)}</footer>" if report.footer else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{STYLE}</style></head><body><main>"
        f'<header><h1>{escape(report.title)}</h1><p class="subtitle">{escape(report.subtitle)}</p>'
        f"{_contents(report)}</header>{sections}{footer}</main></body></html>\n"
    )


def image_data_uri(path: Path) -> str:
    """A PNG or JPEG file as an address that holds the picture itself.

    Raises:
        InvalidDataError: the file is neither.
    """
    data = path.read_bytes()
    kinds = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}
    kind = next((kind for magic, kind in kinds.items() if data.startswith(magic)), None)
    if kind is None:
        raise InvalidDataError(f"{path} is neither PNG nor JPEG; convert it before it goes into a report.")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _contents(report: Report) -> str:
    """Links to the sections, where there are enough to need them."""
    if len(report.sections) < 3:
        return ""
    links = (f'<a href="#s{n}">{escape(section.title)}</a>' for n, section in enumerate(report.sections, start=1))
    return f"<nav>{''.join(links)}</nav>"


def _section(section: Section, n: int) -> str:
    blocks = "".join(_block(block) for block in section.blocks)
    return f'<section id="s{n}"><h2>{escape(section.title)}</h2>{blocks}</section>'


def _block(block: Block) -> str:
    return _DRAWERS[type(block)](block)


def _paragraph(block: Paragraph) -> str:
    return f"<p>{escape(block.text)}</p>"


def _table(block: Table) -> str:
    for row in block.rows:
        if len(row) != len(block.columns):
            raise InvalidDataError(
                f"A table row has {len(row)} cells under {len(block.columns)} columns; give one cell per column."
            )
    best = [_best(column, [row[n] for row in block.rows]) for n, column in enumerate(block.columns)]
    head = "".join(f"<th{_classes(column, False)}>{escape(column.title)}</th>" for column in block.columns)
    body = "".join(
        "<tr>" + "".join(_cell(*group) for group in zip(row, block.columns, best, strict=True)) + "</tr>"
        for row in block.rows
    )
    # The caption stands outside of what scrolls sideways on a phone.
    caption = f"<figcaption>{escape(block.caption)}</figcaption>" if block.caption else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<figure>{caption}<div class="scroll">{table}</div></figure>'


def _number(cell: Cell) -> float | None:
    """The number that a cell is ranked by, if it has one."""
    value = cell.value if isinstance(cell, Estimate) else cell
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _best(column: Column, cells: list[Cell]) -> float | None:
    numbers = [number for cell in cells if (number := _number(cell)) is not None]
    if column.best is None or len(numbers) < 2:
        return None
    return max(numbers) if column.best == "max" else min(numbers)


def _classes(column: Column, best: bool) -> str:
    names = [name for name, wanted in (("num", column.numeric), ("best", best)) if wanted]
    return f' class="{" ".join(names)}"' if names else ""


def _cell(cell: Cell, column: Column, best: float | None) -> str:
    is_best = best is not None and _number(cell) == best
    return f"<td{_classes(column, is_best)}>{_cell_text(cell, column)}</td>"


def _cell_text(cell: Cell, column: Column) -> str:
    if isinstance(cell, Estimate):
        low, high = _format(cell.low, column), _format(cell.high, column)
        return f"{_format(cell.value, column)}<small>{low} to {high}</small>"
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return '<span class="none">&ndash;</span>'
    return escape(cell) if isinstance(cell, str) else _format(cell, column)


def _format(number: float, column: Column) -> str:
    sign = "+" if column.signed else ""
    text = f"{number:{sign},}" if isinstance(number, int) else f"{number:{sign},.{column.digits}f}"
    return text.replace("-", "&minus;")


def _strip(block: ProductStrip) -> str:
    pictured = any(card.image is not None for card in block.cards)
    cards = "".join(_card(card, pictured) for card in block.cards)
    return f'<div class="block"><h3>{escape(block.title)}</h3><div class="cards">{cards}</div></div>'


def _card(card: Card, pictured: bool) -> str:
    lines = f"<b>{escape(card.title)}</b>"
    lines += f"<span>{escape(card.subtitle)}</span>" if card.subtitle else ""
    lines += f'<span class="note">{escape(card.note)}</span>' if card.note else ""
    return f'<div class="card">{_picture(card) if pictured else ""}<div class="words">{lines}</div></div>'


def _picture(card: Card) -> str:
    if card.image is None:
        return '<div class="blank"></div>'
    if not card.image.startswith("data:image/"):
        raise InvalidDataError(f"The picture of {card.title!r} is {card.image[:40]!r}; embed it as a data address.")
    return f'<img src="{escape(card.image)}" alt="{escape(card.title)}">'


def _tree(block: Tree) -> str:
    return f'<div class="block scroll"><pre>{escape(block.text)}</pre></div>'


_DRAWERS: dict[type, Callable[[Any], str]] = {
    Paragraph: _paragraph,
    Table: _table,
    LineChart: draw_lines,
    BarChart: draw_bars,
    ProductStrip: _strip,
    Tree: _tree,
}

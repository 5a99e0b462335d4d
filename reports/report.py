"""A report as data, and the one self-contained HTML page that shows it: no script, no network, every text escaped."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..errors import InvalidDataError
from ..evaluation.bootstrap import Estimate
from .charts import svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | int | float | Estimate | None
_PICTURES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}
_NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Column:
    """A table column; in a numeric one `best` highlights the largest or the smallest, `signed` writes a plus."""

    title: str
    numeric: bool = False
    best: Literal["max", "min"] | None = None
    digits: int = 4
    signed: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells: text, numbers, `Estimate`s (shown with their interval) or None (a dash)."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InvalidDataError(
                    f"A table row has {len(row)} cells under {len(self.columns)} columns; give one cell per column."
                )


@dataclass(frozen=True)
class Chart:
    """A figure under its title."""

    title: str
    figure: Figure


@dataclass(frozen=True)
class Card:
    """One product; `image` is a PNG or JPEG file, which the page embeds."""

    title: str
    lines: Sequence[str] = ()
    image: Path | None = None


@dataclass(frozen=True)
class ProductStrip:
    """Products side by side, as many to a row as fit."""

    title: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class Tree:
    """Text whose spacing is kept, such as a lineage tree."""

    text: str


Block = str | Table | Chart | ProductStrip | Tree


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Report:
    """The whole document."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    footer: str = ""


def render(report: Report) -> str:
    """The report as one HTML page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    for name, kind in (("table", Table), ("chart", Chart), ("strip", ProductStrip)):
        environment.tests[name] = lambda block, kind=kind: isinstance(block, kind)
    environment.filters |= {"written": _written, "data_uri": data_uri, "svg": svg}
    return environment.get_template("report.html").render(report=report)


def data_uri(path: Path) -> str:
    """A PNG or JPEG file as an address that holds the picture itself."""
    data = path.read_bytes()
    kind = next((kind for magic, kind in _PICTURES.items() if data.startswith(magic)), None)
    if kind is None:
        raise InvalidDataError(f"{path} is neither PNG nor JPEG; convert it before it goes into a report.")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


class _Written(NamedTuple):
    """A cell as the page shows it."""

    text: str
    interval: str
    classes: str


def _written(table: Table) -> list[list[_Written]]:
    """The cells of a table as text, the best number of a column marked."""
    columns = []
    for place, column in enumerate(table.columns):
        cells = [row[place] for row in table.rows]
        values = [cell.value if isinstance(cell, Estimate) else cell for cell in cells]
        numbers = [float(own) if isinstance(own, int | float) and math.isfinite(own) else None for own in values]
        known = [number for number in numbers if number is not None]
        # A lone number is no best.
        best = None if column.best is None or len(known) < 2 else (max if column.best == "max" else min)(known)
        written = []
        for cell, number in zip(cells, numbers, strict=True):
            text = cell if isinstance(cell, str) else _NONE if number is None else _format(number, column, cell)
            spread = (cell.low, cell.high) if isinstance(cell, Estimate) else ()
            marks = {"num": column.numeric, "best": best is not None and number == best}
            interval = " to ".join(_format(bound, column) for bound in spread)
            written.append(_Written(text, interval, " ".join(name for name, wanted in marks.items() if wanted)))
        columns.append(written)
    return [list(row) for row in zip(*columns, strict=True)]


def _format(number: float, column: Column, given: Cell = None) -> str:
    digits = 0 if isinstance(given, int) else column.digits
    return f"{number:{'+' if column.signed else ''},.{digits}f}".replace("-", "\N{MINUS SIGN}")

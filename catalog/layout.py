"""How a file is laid out, where finding it out would go wrong: its format, header line, times and words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["product", "variant"]
TimeUnit = Literal["s", "ms", "us", "ns", "excel", "order"]
# The format that takes every column as it stands; all others are in `feeds`.
GENERIC = "generic"
# In place of an event type: events of that name are left out.
SKIP = "skip"


@dataclass(frozen=True)
class Layout:
    """What is known of a file beforehand; whatever is left at its default is found out by reading."""

    format: str | None = None  # a name in `feeds`, or `generic`
    level: Level = "product"  # what an item is where products have variants
    header: bool = True  # the first line names the columns
    encoding: str | None = None  # of text that is no UTF-8, as Python calls it: `cp1252`
    columns: tuple[str, ...] | None = None  # names for those of a file without header line
    date_format: str | None = None  # of times, in the letters of strftime: `%d/%m/%Y %H:%M`
    time_unit: TimeUnit | None = (
        None  # of times that are numbers; `excel` is days of a spreadsheet, `order` only counts
    )
    event_types: Mapping[str, str] = field(default_factory=dict)  # a word of the file to an event type or `skip`
    # Canonical column to the column of the file that is mapped to it by hand: a format may keep it.
    claimed: Mapping[str, str] = field(default_factory=dict)

"""The event log of a category, as it is read: what services logged of shoppers until an ingest takes it up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .line_log import read_pieces
from .shopper_events import ShopperEvent, identified

DAMAGED = ".damaged"


@dataclass(frozen=True)
class Segment:
    """One file of a log as it was read."""

    path: Path
    events: int
    damaged: int  # lines that are no event

    def remove(self) -> None:
        """Remove it, once its events are safe elsewhere; with damaged lines it is kept under another name."""
        if self.damaged:
            self.path.rename(self.path.with_name(f"{self.path.name}{DAMAGED}"))
        else:
            self.path.unlink(missing_ok=True)


def read_segments(
    folder: Path, sealed: bool = False, most: float = math.inf
) -> Iterator[tuple[Segment, list[ShopperEvent]]]:
    """Every segment with its events; `sealed` and `most` as of `read_pieces`."""
    for path, content in read_pieces(folder, sealed, most):
        events, damaged = parse_lines(content)
        yield Segment(path, len(events), damaged), events


def parse_lines(content: bytes) -> tuple[list[ShopperEvent], int]:
    """The events of some lines, and how many of these are none."""
    events, damaged = [], 0
    for line in content.split(b"\n")[:-1]:
        try:
            events.append(identified(ShopperEvent.model_validate_json(line)))
        except ValueError:  # pydantic's own is one
            damaged += 1
    return events, damaged

"""Category texts whose paths are written in signs that names hold as well: `Home/Pots`, `Home, Pots`, `A > B, C`.

A single cell cannot tell `Home/Pots` from `Salt/Pepper`; a column can, as paths share their beginnings. What does not
plainly do so stays one name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import polars as pl

LEVELS = ("/", ",", ";")
LISTS = (";", ",")
# What tells levels apart, and what tells paths apart.
FORMS = (("/", ";"), ("/", ","), ("/", None), (",", None), (";", None))
STEP = ">"
PLAIN = 0.8  # share of the values that must be of that form
FEW = 3  # different paths that are no accident


class Hierarchy(NamedTuple):
    """Category texts with `>` between levels, of several paths the first of the deepest."""

    values: pl.Series
    several: int = 0  # cells that held several paths
    note: str | None = None  # what the column decided


def hierarchy(strings: pl.Series) -> Hierarchy:
    """The texts of a column with the levels that its values show as a whole."""
    values = strings.drop_nulls().unique(maintain_order=True).to_list()
    if not any(sign in value for value in values for sign in LEVELS):
        return Hierarchy(strings)
    if any(STEP in value for value in values):
        separator = next((sign for sign in LISTS if _are_lists(values, sign)), None)
        level, listed = STEP, separator
    else:
        level, listed = next((form for form in FORMS if _are_paths(values, *form)), (STEP, None))
    if (level, listed) == (STEP, None):
        return Hierarchy(strings)
    paths = {value: [_levels(part, level) for part in _parts(value, listed)] for value in values}
    longest = {value: max(own, key=lambda levels: len(levels), default=[]) for value, own in paths.items()}
    deepest = {value: f" {STEP} ".join(levels) for value, levels in longest.items()}
    several = strings.is_in([value for value, own in paths.items() if len(own) > 1]).sum()
    shown = next(value for value in values if (listed or level) in value)
    what = f"values such as {shown!r} are paths" if listed is None else f"values such as {shown!r} are lists of paths"
    where = " and ".join(f"{sign!r}" for sign in (listed, level) if sign and sign != STEP)
    note = f"{what} by what they share with others, and are split at {where}"
    return Hierarchy(strings.replace(list(deepest), list(deepest.values())), int(several), note)


def _parts(value: str, listed: str | None) -> list[str]:
    return [part.strip() for part in value.split(listed) if part.strip()] if listed else [value.strip()]


def _levels(path: str, level: str) -> list[str]:
    return [own.strip() for own in path.split(level) if own.strip()]


def _are_paths(values: Sequence[str], level: str, listed: str | None) -> bool:
    """Whether nearly all values are paths that begin as others do, or the beginnings of such paths."""
    cells = [_parts(value, listed) for value in values]
    if listed and not any(len(parts) > 1 for parts in cells):
        return False
    parts = list(dict.fromkeys(part for own in cells for part in own if "://" not in part))
    if level == "/" and len(parts) > 1 and all(part.startswith("/") for own in cells for part in own):
        return True
    paths = {part: _levels(part, level) for part in parts if _levels(part, level)}
    begun = Counter(levels[0] for levels in paths.values())
    long = [part for part, levels in paths.items() if len(levels) > 1 and any(map(str.isalpha, levels[0]))]
    shared = {part for part in long if begun[paths[part][0]] > 1}
    heads = {paths[part][0] for part in shared}
    shared |= {part for part, levels in paths.items() if levels[0] in heads}
    # What is one of several paths by a comma may be half a name.
    plain = [own for own in cells if own and (any if listed == ";" else all)(part in shared for part in own)]
    # As many beginnings as paths are pairs of words.
    return len(shared) >= FEW and 2 * len(heads) <= len(shared) and len(plain) >= PLAIN * len(cells)


def _are_lists(values: Sequence[str], listed: str) -> bool:
    """Whether nearly all cells with that sign hold several paths: one under another, or each known from elsewhere."""
    cells = [_parts(value, listed) for value in values]
    several = [parts for parts in cells if len(parts) > 1]
    known = {_levels(parts[0], STEP)[0] for parts in cells if parts and _levels(parts[0], STEP)}
    telling = [parts for parts in several if _is_list(parts, known)]
    return bool(telling) and len(telling) >= PLAIN * len(several)


def _is_list(parts: Sequence[str], known: Collection[str]) -> bool:
    paths = [_levels(part, STEP) for part in parts]
    if any(own != other and other[: len(own)] == own for own in paths for other in paths):
        return True
    return any(len(own) > 1 for own in paths) and all(own and own[0] in known for own in paths)

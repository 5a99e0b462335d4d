"""Lists that people type on one line: `a,b,"c,d"` is three values, and what may be read in two ways is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import UsageError

_LONGEST = 6  # parts that one id may seem to be
# A part in double quotes, where a quote is written twice, or what stands up to the next comma.
_PART = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*|([^,]*))(,|$)')


@dataclass(frozen=True)
class Part:
    """One value of a list with commas; in quotes nothing in it is read as anything else."""

    text: str
    quoted: bool


def parts(text: str | None) -> list[Part]:
    """The parts of `a,b,"c,d"`: three of them, the last one `c,d`; empty ones are left out."""
    found, at, text = [], 0, text or ""
    while at <= len(text):
        match = _PART.match(text, at)
        if match is None:
            break
        quoted, plain = match[1], (match[2] or "").strip()
        if plain.startswith('"'):
            raise UsageError(
                f"{plain!r} begins with a quote that does not end it; write the whole value in quotes, and a quote "
                'in it twice, as in "5"" pot".'
            )
        if quoted or plain:
            found.append(Part(quoted.replace('""', '"') if quoted else plain, bool(quoted)))
        at = match.end() if match[3] else len(text) + 1
    return found


def names(text: str | None) -> list[str]:
    """The same as texts."""
    return [part.text for part in parts(text)]


def item_ids(text: str | None, known: Callable[[Sequence[str]], Sequence[str]]) -> list[str]:
    """The item ids of a list; one that can be read in two ways, as `known` items with a comma in them, is refused."""
    found = parts(text)
    starts, ends = range(len(found)), range(2, min(len(found), _LONGEST) + 1)
    runs = [own for start in starts for n in ends if len(own := found[start : start + n]) == n]
    joined = {
        glue.join(part.text for part in run): run
        for run in runs
        for glue in (",", ", ")
        if not any(part.quoted for part in run)
    }
    for whole in known(list(joined)) if joined else ():
        several = ",".join(f'"{part.text}"' for part in joined[whole])
        raise UsageError(
            f"{whole!r} is one item and also reads as {len(joined[whole])} of them; write '\"{whole}\"' for the one, "
            f"or '{several}' for the others."
        )
    return [part.text for part in found]

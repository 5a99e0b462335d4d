"""Which column of a file is which canonical column: guessed from names and values, overridden by option or YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ..configs import read_config_file
from ..errors import InvalidDataError, UsageError
from .guessing import Guess, guess_mapping
from .schema import SCHEMAS, Kind
from .transforms import Origin, find_origins, written


@dataclass(frozen=True)
class ResolvedMapping:
    """What each canonical column is read from: as it is written in a mapping, and taken apart."""

    written: dict[str, str]
    origins: dict[str, tuple[Origin, ...]]
    reasons: dict[str, str]  # canonical to why, in words
    notes: tuple[str, ...]


def resolve_mapping(
    frame: pl.DataFrame,
    kind: Kind,
    overrides: Mapping[str, str] | None = None,
    item_ids: pl.Series | None = None,
    *,
    shaped: bool = False,
) -> ResolvedMapping:
    """The guess under the overrides; an empty source takes a column out.

    A format has `shaped` its canonical columns under their own names: a guess could only take an attribute for one that
    it lacks.
    """
    claimed = read_overrides(frame.columns, kind, overrides or {})
    # A source column that is claimed by hand is no longer free for a guess.
    taken = {origin.column for origins in claimed.values() for origin in origins}
    if shaped:
        own = [name for name in SCHEMAS[kind] if name in frame.columns and name not in taken]
        guess = Guess({name: (Origin(name),) for name in own}, dict.fromkeys(own, "by its format"))
    else:
        guess = guess_mapping(frame, kind, item_ids, taken=taken, given=claimed)
    merged = {**guess.mapping, **claimed}
    found = {name: merged[name] for name in SCHEMAS[kind] if merged.get(name)}
    reasons = {name: "by hand" if name in claimed else guess.reasons[name] for name in found}
    texts = {name: written(origins) for name, origins in found.items()}
    return ResolvedMapping(texts, found, reasons, guess.notes)


def read_overrides(columns: Sequence[str], kind: Kind, overrides: Mapping[str, str]) -> dict[str, tuple[Origin, ...]]:
    """What is mapped by hand, taken apart; nothing where a column is taken out."""
    claimed: dict[str, tuple[Origin, ...]] = {}
    for name, source in overrides.items():
        if name not in SCHEMAS[kind]:
            raise InvalidDataError(f"{name!r} is no column of {kind}; map one of: {', '.join(SCHEMAS[kind])}.")
        origins = find_origins(source, columns) if source else ()
        if origins is None:
            raise InvalidDataError(
                f"The mapping reads {name} from column {source!r}, which the table lacks; "
                f"use one of: {', '.join(columns)}."
            )
        claimed[name] = origins
    return claimed


# `title=name`, where a source may stand in quotes for the sake of a comma.
PART = re.compile(r'(?:=\s*"(?:[^"]|"")*"|[^,])+')
QUOTED = re.compile(r'"((?:[^"]|"")*)"(.*)')


def parse_map_option(text: str) -> dict[str, str]:
    """`title=name,price=cost_eur` as a dict of overrides; `title=` takes the guess for title away."""
    changes: dict[str, str] = {}
    for part in filter(None, map(str.strip, PART.findall(text))):
        name, equals, source = (p.strip() for p in part.partition("="))
        if not equals or not name:
            raise UsageError(
                f"{part!r} is no column mapping; write CANONICAL=SOURCE, as in title=name,price=cost_eur, and a column "
                'with a comma in its name in quotes, as in title="Name, long".'
            )
        if name in changes:
            raise UsageError(f"{name!r} is mapped to both {changes[name]!r} and {source!r}; name it once.")
        quoted = QUOTED.fullmatch(source)
        changes[name] = quoted[1].replace('""', '"') + quoted[2] if quoted else source
    return changes


def load_mapping(path: Path | str, kind: Kind | None = None) -> dict[str, str]:
    """Overrides from a YAML file: `canonical: source` lines, or such lines under `items:` and `events:`."""
    path = Path(path)
    content = read_config_file(path, "mapping file", "title: name")
    if isinstance(content, dict) and content and set(content) <= {"items", "events"}:
        content = content.get(kind) if kind else None
    content = {} if content is None else content
    flat = isinstance(content, dict) and all(isinstance(v, str | int | float) or v is None for v in content.values())
    if not isinstance(content, dict) or not flat:
        raise InvalidDataError(
            f"{path} is no flat list of 'canonical: source' lines; write lines such as 'title: name'."
        )
    return {str(name): "" if source is None else str(source) for name, source in content.items()}

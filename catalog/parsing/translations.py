"""Texts given in several languages, `{"en": "Desk", "de": "Tisch"}`: one language is read for the whole column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

# ISO 639-1, without what is a common key of other objects as well (id, is, no, to).
_LANGUAGES = (
    "ar bg bs ca cs cy da de el en es et eu fa fi fr ga gl he hi hr hu hy it ja ka kk ko lt lv mk ms mt nb nl nn pl pt "
    "ro ru sk sl sq sr sv th tr uk ur uz vi zh"
)
LANGUAGES = frozenset(_LANGUAGES.split())
LOCALE = re.compile(r"([a-z]{2})(?:[-_][a-zA-Z]{2,4}){0,2}")
# [{"lang": "en", "value": "Desk"}, ...]
NAMED = ("lang", "language", "locale", "langcode", "languagecode", "@language")
TEXT = ("value", "text", "@value", "content", "name", "title", "label")
FIRST = "en"  # of languages that equally many have


class Translated(NamedTuple):
    """Cells with one language in place of several, and which one that is."""

    cells: list[Any]
    note: str | None = None


def in_one_language(cells: Iterable[Any]) -> Translated:
    """The cells with the text of the language that most have; where a cell lacks it, the next one counts."""
    given = list(cells)
    counts = Counter(language for cell in given for own in _found(cell) for language in own)
    if len(counts) < 2:
        return Translated(given)
    order = sorted(counts, key=lambda language: (-counts[language], not language.lower().startswith(FIRST)))
    used: Counter[str] = Counter()
    read = [_read(cell, order, used) for cell in given]
    others = ", ".join(f"{language} x {used[language]}" for language in order[1:] if used[language])
    note = f"texts are in several languages ({', '.join(order)}); {order[0]} is read"
    return Translated(read, note + (f", and where it is missing {others}" if others else ""))


def _translations(value: Any) -> dict[str, Any] | None:
    """Text by language, where a value is such an object or list of objects."""
    if isinstance(value, Mapping):
        own = {str(key): text for key, text in value.items() if text not in (None, "", [], {})}
        locales = [_locale(key) for key in own]
        known = own and all(locale is not None and locale[1] in LANGUAGES for locale in locales)
        return own if known and not any(isinstance(text, int | float) for text in own.values()) else None
    if not isinstance(value, list | tuple) or not value or not all(isinstance(part, Mapping) for part in value):
        return None
    found: dict[str, Any] = {}
    for part in value:
        language = next((part[key] for key in part if str(key).lower().replace("_", "") in NAMED), None)
        text = next((part[key] for key in part if str(key).lower() in TEXT), None)
        if not isinstance(language, str) or not _locale(language):
            return None
        found.setdefault(language, text)
    return found


def _locale(name: str) -> re.Match[str] | None:
    return LOCALE.fullmatch(name[:2].lower() + name[2:])


def _found(value: Any) -> Iterator[dict[str, Any]]:
    own = _translations(value)
    if own is not None:
        yield own
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _found(part)


def _read(value: Any, order: list[str], used: Counter[str]) -> Any:
    own = _translations(value)
    if own is not None:
        language = next((one for one in order if one in own), None)
        used[language or ""] += 1
        return own.get(language or "")
    return [_read(part, order, used) for part in value] if isinstance(value, list | tuple) else value

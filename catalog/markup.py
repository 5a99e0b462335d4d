"""XML feeds and web pages with JSON-LD into rows of text: one for each repeated element, or each object.

A column is an element's name as it is written, prefix included (`g:id`). Elements inside become JSON objects, repeated
ones JSON lists. Entities of a file's own are refused, and nothing outside the file is ever opened.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from xml.parsers import expat

import polars as pl

from ..errors import InvalidDataError
from .json_lines import Documents, objects_of
from .opening import Content
from .pieces import Found, Piece, as_utf8, joined

ROWS_A_PIECE = 20_000
# What the elements that are rows are called, where others are repeated as well.
ROWS = ("item", "entry", "product", "offer", "row", "record", "article", "event")
DEEPEST = 200
# What hides a script from browsers of long ago.
WRAPPING = re.compile(
    r"\A\s*(?://|/\*)?\s*(?:<!\[CDATA\[|<!--)\s*(?:\*/)?|(?://|/\*)?\s*(?:\]\]>|-->)\s*(?:\*/)?\s*\Z|;\s*\Z"
)


@dataclass
class _Element:
    """An element that is being read."""

    name: str
    attributes: dict[str, str]
    text: list[str] = field(default_factory=list)
    children: list[tuple[str, Any, dict[str, str]]] = field(default_factory=list)  # name, value, own attributes


def read_xml(content: Content) -> tuple[pl.DataFrame, dict[str, Found], list[str]]:
    """A row for each element of the kind that is repeated."""
    path, note = _row_path(content)
    if path is None:
        raise InvalidDataError(
            f"{content.path} is XML without a repeated element; give a feed of <item> or <entry> elements."
        )
    frame, faults = joined(_pieces(content, path))
    return frame, faults, [note]


def read_page(content: Content) -> tuple[pl.DataFrame, dict[str, Found], list[str]]:
    """A row for each object of the page's JSON-LD."""
    page, mark = as_utf8(b"".join(content.blocks))
    scripts = _Scripts()
    scripts.feed(page.decode("utf-8").replace(mark, "\ufffd") if mark else page.decode("utf-8"))
    scripts.close()
    sources, broken = list[str](), 0
    for script in scripts.found:
        try:
            sources += _objects(script)
        except (ValueError, RecursionError):
            broken += 1
    if not sources:
        what = "holds JSON-LD that cannot be read" if broken else "holds no JSON-LD (<script type=application/ld+json>)"
        raise InvalidDataError(f"{content.path} is a web page and {what}; give the shop's export or feed instead.")
    frame, faults = objects_of(sources)
    return frame, faults, [f"{broken} of its blocks of JSON-LD cannot be read and were left out"] if broken else []


def _objects(script: str) -> Iterator[str]:
    """The source text of each object, those of a graph one by one."""
    # Shops write line feeds into texts, and end lists with a comma, as no JSON has it.
    plain = re.sub(r"[\x00-\x1f]+", " ", WRAPPING.sub("", script))
    plain = re.sub(r'("(?:[^"\\]|\\.)*")|,(\s*[}\]])', lambda match: match[1] or match[2], plain)
    for source in Documents([plain.encode()]):
        graph = json.loads(source).get("@graph")
        yield from [source] if not isinstance(graph, list) else (json.dumps(o) for o in graph if isinstance(o, dict))


class _Scripts(HTMLParser):
    """Collects the JSON-LD of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        kind = (dict(attributes).get("type") or "").split(";")[0].strip().lower()
        if tag == "script" and kind == "application/ld+json":
            self._inside = True
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1] += data


# ---- XML ----


def _row_path(content: Content) -> tuple[tuple[str, ...] | None, str]:
    """Where the elements that are rows lie, found in the beginning of the file, and a note that says so."""
    counts: Counter[tuple[str, ...]] = Counter()
    nested: set[tuple[str, ...]] = set()
    here: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if here:
            nested.add(tuple(here))
        here.append(name)
        counts[tuple(here)] += 1
        if attributes:
            nested.add(tuple(here))

    def end(name: str) -> None:
        here.pop()

    parser = _parser(content)
    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(content.head, False)
    except expat.ExpatError as error:
        if not counts or not here:
            raise _broken(content, error) from error
    rows = [path for path in counts if len(path) > 1 and path in nested]
    named = [path for path in rows if path[-1].lower().split(":")[-1] in ROWS]
    repeated = [path for path in rows if counts[path] > 1]
    # A feed of one product has no repeated element; inside rows, many things are repeated.
    best = min(named or repeated, key=lambda path: (len(path), -counts[path]), default=None)
    return best, "" if best is None else f"rows are the <{best[-1]}> elements"


def _parser(content: Content) -> expat.XMLParserType:
    # What was UTF-16 has been converted, whatever its first line says.
    converted = any("UTF-16" in note for note in content.notes)
    parser = expat.ParserCreate("utf-8" if converted else None)
    parser.buffer_text = True

    def entity(name: str, *_: object) -> None:
        raise InvalidDataError(
            f"{content.path} declares entities of its own ({name}), which are not read; export it without."
        )

    parser.EntityDeclHandler = entity
    return parser


def _pieces(content: Content, path: tuple[str, ...]) -> Iterator[Piece]:
    rows: list[dict[str, str]] = []
    here: list[str] = []
    inside: list[_Element] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        here.append(name)
        if len(here) > DEEPEST:
            raise InvalidDataError(f"{content.path} nests more than {DEEPEST} elements; export it flatter.")
        if inside or tuple(here) == path:
            inside.append(_Element(name, {k: v for k, v in attributes.items() if not k.startswith("xmlns")}))

    def text(data: str) -> None:
        if inside:
            inside[-1].text.append(data)

    def skipped(name: str, is_parameter: bool) -> None:
        if not is_parameter:
            text(html.unescape(f"&{name};"))

    def end(name: str) -> None:
        here.pop()
        if not inside:
            return
        element = inside.pop()
        if inside:
            value = _members(element) if element.children else "".join(element.text).strip() or None
            inside[-1].children.append((element.name, value, element.attributes))
        else:
            rows.append({name: _text(value) for name, value in _members(element).items() if value is not None})

    parser = _parser(content)
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.SkippedEntityHandler = skipped
    for block in content.blocks:
        _feed(content, parser, block, False)
        if len(rows) >= ROWS_A_PIECE:
            yield _piece(rows)
            rows.clear()
    _feed(content, parser, b"", True)
    if rows:
        yield _piece(rows)


def _feed(content: Content, parser: expat.XMLParserType, block: bytes, final: bool) -> None:
    try:
        parser.Parse(block, final)
    except expat.ExpatError as error:
        raise _broken(content, error) from error


def _broken(content: Content, error: expat.ExpatError) -> InvalidDataError:
    what = f"{expat.ErrorString(error.code)} in line {error.lineno}"
    return InvalidDataError(f"{content.path} is no well-formed XML ({what}); export it again.")


def _piece(rows: list[dict[str, str]]) -> Piece:
    names = dict.fromkeys(name for row in rows for name in row)
    return Piece(pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row"))


def _members(element: _Element) -> dict[str, Any]:
    """Attributes and children by name; the text of an element that has children as well is left aside."""
    members: dict[str, Any] = dict(element.attributes)
    times = Counter(name for name, _, _ in element.children)
    for name, value, attributes in element.children:
        if times[name] > 1:
            if not isinstance(members.get(name), list):
                members[name] = []
            members[name].append(_whole(value, attributes))
        elif isinstance(value, dict):
            members[name] = value
        elif value is None and attributes:
            # `<link href="..."/>` says with its attribute what others say with their text.
            members[name] = attributes.get("href") or attributes
        else:
            members[name] = value
            members |= {f"{name}@{key}": own for key, own in attributes.items()}
    return members


def _whole(value: Any, attributes: dict[str, str]) -> Any:
    if not attributes or isinstance(value, dict):
        return value
    return {**attributes, "text": value} if value is not None else attributes


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""JSON into rows of text: an object a line, or the objects of an array, of one document, or one after the other.

Every value becomes the text that polars writes: numbers in their shortest form (12.0 is 12), whole ones to the last
digit, lists and objects as JSON. What polars cannot read is mended or left out line by line, so that a broken line
changes no other.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

import polars as pl

from ..errors import InvalidDataError
from .opening import Content
from .pieces import Found, Piece, as_utf8, joined

JSON_REMEDY = "write one JSON object per line"
SNIFFED_LINES = 20
# An error so far from the end of what was read is not one of its end.
TAIL = 4096
DOCUMENT_BLOCK = 1 << 22
NOTHING = "\x00nothing"  # keeps the height of a piece without columns
# Names under which a document holds its rows beside other members.
LISTS = (
    "@graph", "items", "products", "events", "data", "rows", "records", "results", "entries", "hits", "documents",
    "docs", "catalog", "articles", "orders",
)  # fmt: skip

_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|u[dD][89a-fA-F]..|.)", re.DOTALL)
_STRING_OR_ODD = re.compile(rb'"(?:[^"\\]|\\.)*+"|-?\b(?:NaN|Infinity)\b|-?\b\d{39,}\b(?![.eE])')
_COMMA = re.compile(rb"\}[ \t]*,[ \t]*\r?$", re.MULTILINE)
# Members that only a row of its own has.
_OF_A_ROW = re.compile(r"(^|_)(id|sku|handle|user|title|name|price|time|timestamp|date)$|^@type$|^event")
_SPACE = re.compile(r"[\s,]*+")


def read_json(content: Content) -> tuple[pl.DataFrame, dict[str, Found], list[str]]:
    """The rows, those that are no object, and what is to be said of the file."""
    first, _, rest = content.head.lstrip().partition(b"\n")
    # One object in one line may be a row or a document that holds the rows.
    single = content.suffix == ".json" and not rest.strip()
    notes: list[str] = []
    pieces: Iterator[Piece]
    if _is_object(first) and not single:
        pieces = map(_piece, _whole_lines(content.blocks))
    elif not single and _is_object(_COMMA.sub(b"}", first)):
        notes.append("lines end with commas, which were left out")
        pieces = (_piece(_COMMA.sub(b"}", lines)) for lines in _whole_lines(content.blocks))
    elif _holds_objects(content.head) and not single and not _is_document(content.head):
        pieces = map(_piece, _whole_lines(content.blocks))
    else:
        documents = Documents(content.blocks)
        objects = _named(content, documents)
        found = list(islice(objects, 2))
        listed = _unfolded(content, found[0], notes) if len(found) == 1 and not documents.listed else None
        pieces = map(_piece, _lines(chain(found, objects) if listed is None else listed))
    frame, faults = joined(pieces)
    frame = frame.drop(NOTHING, strict=False)
    if not frame.width:
        raise InvalidDataError(f"{content.path} holds no JSON object; {JSON_REMEDY}.")
    return frame, faults, notes


def is_json(head: bytes) -> bool:
    """Whether text begins as JSON that holds objects."""
    head = head.lstrip()
    if head[:1] not in (b"{", b"["):
        return False
    if _is_object(_COMMA.sub(b"}", head.split(b"\n", 1)[0])):
        return True
    try:
        return bool(list(islice(Documents(iter([head])), 1)))
    except ValueError:
        return False


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _is_document(head: bytes) -> bool:
    """Whether the first object goes on over several lines, or others follow it in its line."""
    try:
        first = next(Documents(iter([head])))
    except (ValueError, StopIteration):
        return False
    rest = head.lstrip()[len(first.encode("utf-8", "surrogateescape")) :].lstrip(b" \t,")
    return "\n" in first or rest[:1] == b"{"


def _holds_objects(head: bytes) -> bool:
    """Whether one of the first lines is an object: the others are broken, and no document."""
    lines = head.lstrip().split(b"\n", SNIFFED_LINES)[:SNIFFED_LINES]
    return head.lstrip()[:1] == b"{" and any(map(_is_object, lines))


# ---- documents ----


class Documents:
    """The source text of each object of a JSON text, whether they stand in arrays or follow each other."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.listed = False  # an array was found
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._blocks = iter(blocks)
        self._objects = self._found()

    def __iter__(self) -> Iterator[str]:
        return self._objects

    def __next__(self) -> str:
        return next(self._objects)

    def _found(self) -> Iterator[str]:
        text, at, line, depth, final = "", 0, 1, 0, False
        decoder = json.JSONDecoder()
        while True:
            space = _SPACE.match(text, at)
            at = space.end() if space else at
            sign = text[at : at + 1]
            if sign == "[" and depth == 0:
                depth, self.listed, at = 1, True, at + 1
            elif sign == "]" and depth == 1:
                depth, at = 0, at + 1
            elif sign == "{":
                try:
                    _, end = decoder.raw_decode(text, at)
                except RecursionError as error:
                    raise ValueError(f"line {line + text.count(chr(10), 0, at)}: nested too deeply") from error
                except json.JSONDecodeError as error:
                    cut_off = error.pos > len(text) - TAIL or error.msg.startswith("Unterminated string")
                    if final or not cut_off:
                        raise ValueError(f"line {line + error.lineno - 1}: {error.msg}") from error
                    line += text.count("\n", 0, at)
                    text, at, final = self._more(text[at:])
                    continue
                yield text[at:end]
                at = end
            elif sign:
                shown = text[at : at + 20].splitlines()[0]
                raise ValueError(f"line {line + text.count(chr(10), 0, at)}: no object begins with {shown!r}")
            elif final:
                if depth:
                    raise ValueError(f"line {line + text.count(chr(10))}: the array is not closed")
                return
            else:
                line += text.count("\n", 0, at)
                text, at, final = self._more(text[at:])

    def _more(self, text: str) -> tuple[str, int, bool]:
        block = next(self._blocks, None)
        return text + self._decode.decode(block or b"", final=block is None), 0, block is None


def _unfolded(content: Content, source: str, notes: list[str]) -> Iterator[str] | None:
    """The objects of the one list that a document holds; None where it is a row itself."""
    document = json.loads(source)
    if len(document) == 1 and isinstance(inner := next(iter(document.values())), dict):
        found = _unfolded(content, json.dumps(inner), []) if any(map(_is_rows, inner.values())) else None
        if found is not None:
            return found
    objects = [value for value in document.values() if isinstance(value, dict)]
    if len(document) > 1 and len(objects) == len(document) and len({tuple(value) for value in objects}) == 1:
        raise InvalidDataError(
            f"{content.path} holds JSON column by column; write it row by row, in pandas with "
            "to_json(orient='records', lines=True)."
        )
    lists = [name for name, value in document.items() if _is_rows(value)]
    if any(name != "@graph" for name in lists) and any(_OF_A_ROW.search(name.lower()) for name in document):
        return None
    if len(lists) == 1 and (len(document) == 1 or lists[0].lower() in LISTS):
        notes.append(f"rows are the objects in {lists[0]!r}")
        return iter(Documents([_member(source, lists[0]).encode("utf-8", "surrogateescape")]))
    if len(lists) > 1:
        raise InvalidDataError(
            f"{content.path} is one JSON object with several lists ({', '.join(lists)}); write the rows you mean as "
            "one array, or one object per line."
        )
    return None


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)


def _member(source: str, name: str) -> str:
    """The source text of a member's value, so that its numbers stay as they are written."""
    decoder = json.JSONDecoder()
    at = source.index("{") + 1
    while True:
        space = _SPACE.match(source, at)
        key, at = decoder.raw_decode(source, space.end() if space else at)
        at = source.index(":", at) + 1
        at += len(source[at:]) - len(source[at:].lstrip())
        _, end = decoder.raw_decode(source, at)
        if key == name:
            return source[at:end]
        at = end


def _named(content: Content, objects: Iterable[str]) -> Iterator[str]:
    """The same, with a sentence on whatever breaks off."""
    try:
        yield from objects
    except ValueError as error:
        raise InvalidDataError(
            f"{content.path} holds JSON that cannot be read ({error}); export it again, or {JSON_REMEDY}."
        ) from error


def _lines(objects: Iterator[str]) -> Iterator[bytes]:
    """Objects one a line, in blocks; a line feed in JSON is never part of a value."""
    lines: list[bytes] = []
    size = 0
    for source in objects:
        line = source.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogateescape")
        lines.append(line)
        size += len(line)
        if size > DOCUMENT_BLOCK:
            yield b"\n".join(lines)
            lines, size = [], 0
    if lines:
        yield b"\n".join(lines)


def objects_of(sources: Iterable[str]) -> tuple[pl.DataFrame, dict[str, Found]]:
    """The rows of objects given as JSON text."""
    return joined(map(_piece, _lines(iter(sources))))


# ---- lines ----


def _whole_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    pending: list[bytes] = []
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if not end:
            pending.append(block)
            continue
        yield b"".join([*pending, block[:end]])
        pending = [block[end:]]
    rest = b"".join(pending)
    if rest.strip():
        yield rest


def _piece(lines: bytes) -> Piece:
    data, mark = as_utf8(lines)
    if _HALF_PAIR.search(data):
        data = _ESCAPE.sub(lambda escape: b"\\ufffd" if len(escape[0]) == 6 else escape[0], data)
    try:
        return Piece(_texts(data, _names(data)), {}, mark)
    except _REFUSED:
        pass
    kept, bad = _sorted_out(data)
    data = b"\n".join(kept)
    try:
        return Piece(_texts(data, _names(data)), {"bad_json": bad}, mark)
    except _REFUSED:
        # Types that agree in no line are no matter to a reader of text.
        names = dict.fromkeys(name for line in kept for name in json.loads(line))
        return Piece(_texts(data, list(names)), {"bad_json": bad}, mark)


_REFUSED = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


def _names(data: bytes) -> list[str]:
    return pl.scan_ndjson(io.BytesIO(data), infer_schema_length=None).collect_schema().names()


def _texts(data: bytes, names: list[str]) -> pl.DataFrame:
    return pl.read_ndjson(io.BytesIO(data), schema=dict.fromkeys(names or [NOTHING], pl.String))


def _sorted_out(data: bytes) -> tuple[list[bytes], Found]:
    """The lines, mended where that is possible, with an empty object for what is none: rows keep their numbers."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    bad: Found = {}
    for at in _refused(lines, _fails_for_python):
        line = _STRING_OR_ODD.sub(_plain, lines[at])
        if _fails(line):
            bad[at + 1] = lines[at][:80].decode("utf-8", errors="replace").strip()
            line = b"{}"
        lines[at] = line
    return lines, bad


def _plain(match: re.Match[bytes]) -> bytes:
    """What no JSON reader takes: words for no number become null, whole numbers beyond all bounds their text."""
    found = match[0]
    return found if found[:1] == b'"' else b'"' + found + b'"' if found[-1:].isdigit() else b"null"


def _refused(lines: list[bytes], surely: Callable[[bytes], bool]) -> list[int]:
    """The lines that polars cannot read; what `surely` names is not asked for."""
    found = [at for at, line in enumerate(lines) if surely(line)]
    known = set(found)
    left = [at for at in range(len(lines)) if at not in known]
    waiting = [left] if left else []
    while waiting:
        group = waiting.pop()
        if not _fails(b"\n".join(lines[at] for at in group)):
            continue
        if len(group) == 1:
            found.append(group[0])
        else:
            half = len(group) // 2
            waiting += [group[:half], group[half:]]
    return sorted(found)


def _fails_for_python(line: bytes) -> bool:
    try:
        return not isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return True
    except (ValueError, RecursionError):
        return False  # bounds of Python's own


def _fails(lines: bytes) -> bool:
    try:
        pl.read_ndjson(io.BytesIO(lines), schema={NOTHING: pl.String})
    except _REFUSED:
        return True
    return False

"""Delimited text (CSV and its kin) into rows of text, in the dialects that real exports are written in.

Well-formed text goes to polars block by block. Blocks with quotes that no rule of CSV explains are read row by row:
as they are meant where only one reading has the width of the header, else the row is named.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import polars as pl

from ..errors import InvalidDataError
from .headers import column_names, is_data, looks_headerless, numbered, unnamed
from .layout import Layout
from .opening import Content
from .pieces import Found, Piece, as_utf8, joined, refuse_bad_names

DELIMITERS = (",", ";", "\t", "|", "\x01", "::", "^", "~")  # of equally good ones the first counts
# Files with these never quote: a quote in them is one of the text.
UNQUOTED = ("\x01", "::")
# Single bytes that stand for a delimiter of several, as long as the text lacks them.
STANDINS = "\x1f\x1e\x1d\x1c\x02\x03\x04\x05"
SNIFFED = 1 << 18  # bytes of the beginning that separator and header are found in
SNIFFED_ROWS = 50
# A row longer than this is one whose quote was never closed.
LONGEST_ROW = 1 << 26
SUMS = ("total", "totals", "grand total", "subtotal", "sum", "summe", "gesamt", "gesamtsumme", "totaal", "totale")
# Lines above a report, as Google Analytics writes them; a single one may be a header whose first name is `# `.
COMMENTS = re.compile(r"#(?:[ \t-][^\n]*)?\r?\n(?:[ \t]*\r?\n)*(?:#(?:[ \t-][^\n]*)?\r?\n(?:[ \t]*\r?\n)*)+")
EXTRA = "\x00extra"
# A line that is one quoted cell.
WHOLE = re.compile(r'"((?:[^"]|"")*)"')


@dataclass(frozen=True)
class Dialect:
    """How cells are told apart: by one character, and whether quotes may enclose them."""

    separator: str
    quoted: bool = True


@dataclass(frozen=True)
class _Quoting:
    """One way in which a quoted cell is written: whole and with what follows it, and as far as it goes."""

    cell: re.Pattern[str]
    begun: re.Pattern[str]

    @classmethod
    def of(cls, inner: str, separator: str) -> _Quoting:
        cell = rf' *"({inner}*+)" *(?={re.escape(separator)}|\r?\n|\Z)'
        return cls(re.compile(cell, re.DOTALL), re.compile(rf' *"{inner}*+', re.DOTALL))


Row = list[str | None]


@dataclass
class Rows:
    """What was read of a text row by row, up to `end`; row numbers count from 1."""

    cells: list[Row]
    uneven: Found
    unclosed: Found
    literal: int  # rows whose quotes are no signs
    end: int
    sums: int = 0  # rows that say to sum up the others; they are left blank


class RowReader:
    """Reads rows one by one, each in the first way that gives it the width of the header."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect, self.separator = dialect, dialect.separator
        self._doubled = _Quoting.of(r'(?:[^"]|"")', dialect.separator)
        self._backslashed = _Quoting.of(r'(?:[^"\\]|\\.|"")', dialect.separator)
        self._loose = re.compile(rf'"(.*?)"(?={re.escape(dialect.separator)}|\Z)')

    def read(self, text: str, width: int | None, final: bool, limit: int | None = None) -> Rows:
        """All rows that end in the text; those that a later part of it could change wait unless it is `final`."""
        rows = Rows([], {}, {}, 0, 0)
        at = 0
        while at < len(text) and (limit is None or len(rows.cells) < limit):
            end = text.find("\n", at)
            if end < 0:
                if not final:
                    break
                end = len(text)
            line = text[at:end].removesuffix("\r")
            if not self.dialect.quoted or '"' not in line:
                cells: Row = [cell or None for cell in line.split(self.separator)] if line else []
            else:
                found = self._quoted(text, at, end, width, final, rows)
                if found is None:
                    break
                cells, end = found
            number = len(rows.cells) + 1
            if width is not None:
                if len(cells) == width + 1 and (cells[width] or "").lower() in SUMS:
                    # Google Analytics says behind the last column that a row sums up the others.
                    cells, rows.sums = [], rows.sums + 1
                if len(cells) > width and any(cells[width:]):
                    rows.uneven[number] = f"{len(cells)} values for {width} columns"
                cells = cells[:width] + [None] * (width - len(cells))
            rows.cells.append(cells)
            at = end + 1
        rows.end = min(at, len(text))
        return rows

    def _quoted(
        self, text: str, at: int, end: int, width: int | None, final: bool, rows: Rows
    ) -> tuple[Row, int] | None:
        """A row with quotes and where it ends; None where more text must come first."""
        doubled = self._cells(text, at, self._doubled, final)
        if doubled == "more":
            return None
        if isinstance(doubled, tuple) and self._is_swallowed(text[at : doubled[1]], width):
            doubled = "no"
        if isinstance(doubled, tuple) and (width is None or len(doubled[0]) <= width):
            return doubled
        line = text[at:end].removesuffix("\r")
        if '\\"' in line:
            meant = self._cells(text, at, self._backslashed, final)
            if meant == "more":
                return None
            if isinstance(meant, tuple) and width in (None, len(meant[0])):
                return [cell and re.sub(r'\\(["\\])', r"\1", cell) for cell in meant[0]], meant[1]
        if isinstance(doubled, tuple):
            return doubled
        cells = self._literal(line, width)
        opened = next((cell for cell in cells if cell and cell.startswith('"') and cell.count('"') == 1), None)
        if opened is None or (self.separator == "\t" and len(cells) == width):
            rows.literal += 1
        else:
            rows.unclosed[len(rows.cells) + 1] = opened[:80]
        return cells, end

    def _cells(self, text: str, at: int, quoting: _Quoting, final: bool) -> tuple[Row, int] | str:
        """The cells from here to the end of the row, `more` where the text breaks off, or `no` where they are none."""
        cells: Row = []
        while True:
            match = quoting.cell.match(text, at)
            if match:
                cells.append(match[1].replace('""', '"'))
                at = match.end()
            else:
                begun = quoting.begun.match(text, at)
                if begun:
                    # Either a quote that nothing closes before the text ends, or one closed in the middle of a cell.
                    return "more" if begun.end() == len(text) and not final else "no"
                stop = _stop(text, at, self.separator)
                cell = text[at:stop]
                ended = stop == len(text) or text[stop] == "\n"
                cells.append((cell.removesuffix("\r") if ended else cell) or None)
                at = stop
            if text[at : at + 2] == "\r\n":
                at += 1
            if at >= len(text) or text[at] == "\n":
                return cells, at
            at += 1

    def _is_swallowed(self, rows: str, width: int | None) -> bool:
        """Whether lines that quotes join are each a whole row of their own, as where quotes mean nothing."""
        lines = rows.split("\n")
        return self.separator == "\t" and len(lines) > 1 and all(line.count("\t") + 1 == width for line in lines)

    def _literal(self, line: str, width: int | None) -> Row:
        """The cells of a line whose quotes are not all signs: only those around a whole cell are."""
        cells: Row = []
        at = 0
        while True:
            match = self._loose.match(line, at)
            stop = match.end() if match else _stop(line, at, self.separator)
            cells.append(match[1].replace('""', '"') if match else line[at:stop] or None)
            if stop >= len(line):
                break
            at = stop + 1
        plain = line.split(self.separator)
        if width is not None and len(cells) != width == len(plain):
            return [_stripped(cell) for cell in plain]
        return cells


def _stop(text: str, at: int, separator: str) -> int:
    """Where the cell that begins here ends if quotes mean nothing."""
    line = text.find("\n", at)
    line = len(text) if line < 0 else line
    stop = text.find(separator, at, line)
    return line if stop < 0 else stop


def _stripped(cell: str) -> str | None:
    return cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell or None


@dataclass
class _Beginning:
    """What the beginning of a file tells: how cells are told apart, the columns, and where rows begin."""

    separator: str
    names: list[str]
    skipped: int  # characters before the first row of data
    headerless: bool
    notes: list[str]


def find_separator(text: str, whole: bool, preferred: str | None = None) -> tuple[str, int]:
    """The delimiter that splits most lines into the same number of cells, and how many lines it does so."""
    best: tuple[tuple[int, int, int], str] = ((0, 0, 0), ",")
    order = (preferred, *DELIMITERS) if preferred else DELIMITERS
    for rank, separator in enumerate(dict.fromkeys(order)):
        plain, standin = _single(text, separator)
        reader = RowReader(Dialect(standin, separator not in UNQUOTED))
        rows = reader.read(plain, None, whole, SNIFFED_ROWS).cells
        widths = Counter(len(row) for row in rows if len(row) > 1)
        if not widths:
            continue
        width, lines = max(widths.items(), key=lambda entry: (entry[1], entry[0]))
        best = max(best, ((lines, width, -rank), separator))
    return best[1], best[0][0]


def _single(text: str, separator: str) -> tuple[str, str]:
    """The text with a delimiter of a single character."""
    if len(separator) == 1:
        return text, separator
    standin = next((one for one in STANDINS if one not in text), STANDINS[0])
    return text.replace(separator, standin), standin


def read_delimited(content: Content, layout: Layout) -> tuple[pl.DataFrame, dict[str, Found], _Beginning]:
    """All rows of a delimited file; blank lines and empty columns without name are still there."""
    text, mark, whole = _start_of(content)
    beginning = _beginning(content, text, whole, layout)
    refuse_bad_names(beginning.names, mark, content.path)
    # Counted in lines, as marks differ in length from what they stand for.
    above = text[: beginning.skipped]
    head = content.head[_after_lines(content.head, above.count("\n")) :] if above[-1:] in ("", "\n") else b""
    next(content.blocks)
    reader = _PieceReader(beginning)
    frame, faults = joined(reader.pieces(chain([head], content.blocks)))
    if not frame.width:
        frame = pl.DataFrame(schema=dict.fromkeys(beginning.names, pl.String))
    if reader.sums:
        beginning.notes.append(f"{reader.sums} rows that sum up the others were left out")
    if reader.enclosed:
        beginning.notes.append(f"{reader.enclosed} rows are quoted as a whole; they were read from inside the quotes")
    if reader.literal:
        beginning.notes.append(f"{reader.literal} rows hold quotes that enclose no cell; these were read as text")
    return frame, faults, beginning


def _start_of(content: Content) -> tuple[str, str | None, bool]:
    """The first lines, the mark for what is no UTF-8 in them, and whether they are the whole file."""
    whole = len(content.head) <= SNIFFED
    start = content.head[:SNIFFED]
    start, mark = as_utf8(start if whole else start[: start.rfind(b"\n") + 1] or start)
    return start.decode("utf-8"), mark, whole


def begins_with_data(content: Content) -> bool:
    """Whether the first line looks like data rather than like the names of columns."""
    text, _, whole = _start_of(content)
    separator, _ = find_separator(text, whole, "\t" if content.suffix == ".tsv" else None)
    plain, standin = _single(text, separator)
    cells = RowReader(Dialect(standin, separator not in UNQUOTED)).read(plain, None, True, SNIFFED_ROWS).cells
    width = max(map(len, cells))
    names, _ = column_names([cell or "" for cell in cells[0]])
    rows = [row + [None] * (width - len(row)) for row in cells[1:]]
    names += [unnamed(number) for number in range(len(names) + 1, width + 1)]
    return looks_headerless(pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row"))


def _beginning(content: Content, text: str, whole: bool, layout: Layout) -> _Beginning:
    separator, at, notes = None, 0, list[str]()
    told = re.match(r'\s*"?sep=([^\r\n"])"?\r?\n', text)
    if told:
        separator, at = told[1], told.end()
    at += len(text[at:]) - len(text[at:].lstrip("\r\n"))
    comments = COMMENTS.match(text, at)
    if comments:
        at = comments.end()
        shown = "; ".join(filter(None, (line.strip("#- \t\r") for line in comments[0].splitlines())))
        notes.append(f"lines above the header were left out: {shown[:200]!r}")
    inside = _inside_quotes(text[at:])
    if separator is None:
        separator, _ = find_separator(inside or text[at:], whole, "\t" if content.suffix == ".tsv" else None)
    if inside and separator in inside.split("\n", 1)[0] and layout.columns is None and layout.header:
        header = RowReader(Dialect(separator)).read(inside, None, True, 1).cells[0]
        names, more = column_names([cell or "" for cell in header])
        return _Beginning(separator, names, at + text[at:].index("\n") + 1, False, [*notes, *more])
    plain, standin = _single(text[at:], separator)
    reader = RowReader(Dialect(standin, separator not in UNQUOTED))
    # One row after the other, as the first ones may be no rows of the table.
    lines: list[tuple[Row, int]] = []
    end = 0
    while len(lines) < SNIFFED_ROWS and end < len(plain):
        one = reader.read(plain[end:], None, whole, 1)
        if not one.cells and not lines:
            # A header that the beginning does not hold as a whole.
            one = reader.read(plain[end:], None, True, 1)
        if not one.cells:
            break
        end += one.end
        lines.append((one.cells[0], end))
    cells = [row for row, _ in lines]
    headerless = layout.columns is not None or not layout.header or _has_no_header(cells, separator)
    if headerless:
        names, more, skip = _given_names(content, cells, layout)
        end = at + (0 if not skip else _grown(plain, lines[0][1], standin, separator))
        return _Beginning(separator, names, end, layout.columns is None, [*notes, *more])
    titles = _titles(cells)
    if titles:
        shown = "; ".join(" ".join(filter(None, row)) for row in cells[:titles] if any(row))
        notes.append(f"lines above the header were left out: {shown[:200]!r}")
    names, more = column_names([cell or "" for cell in cells[titles]])
    end = at + _grown(plain, lines[titles][1], standin, separator)
    return _Beginning(separator, names, end, False, [*notes, *more])


def _inside_quotes(text: str) -> str | None:
    """The first lines without quotes where these enclose each of them as a whole; None where they do not."""
    lines = text.split("\n", SNIFFED_ROWS)
    lines = [line.removesuffix("\r") for line in (lines[:-1] if len(lines) > 1 else lines) if line.strip()]
    inside = [match[1].replace('""', '"') for match in map(WHOLE.fullmatch, lines) if match]
    if len(inside) < len(lines) or not any(sign in inside[0] for sign in DELIMITERS):
        return None
    return "\n".join(inside)


def _grown(plain: str, end: int, standin: str, separator: str) -> int:
    """The length of the text before `end` as it was before `_single`."""
    return end + plain[:end].count(standin) * (len(separator) - 1) if separator != standin else end


def _has_no_header(cells: Sequence[Row], separator: str) -> bool:
    first = [cell or "" for cell in cells[0]]
    if separator == "::" and any(cell.isdigit() for cell in first):
        return True
    return is_data(first, [row for row in cells[1:] if row])


def _given_names(content: Content, cells: Sequence[Row], layout: Layout) -> tuple[list[str], list[str], bool]:
    """The names of a table without header, notes, and whether its first line only repeats them."""
    width = max(map(len, cells))
    if layout.columns is None:
        note = f"the first line looks like data, so the columns are called 1 to {width}; name them with --columns"
        return numbered(width), [note] if layout.header else [], False
    names = list(layout.columns)
    if len(names) != width:
        first = ", ".join(cell or "" for cell in cells[0])
        raise InvalidDataError(
            f"{content.path} has {width} columns (first line: {first[:200]}), and --columns names {len(names)} "
            f"({', '.join(names)}); name each of them."
        )
    repeated = [(cell or "").strip().lower() for cell in cells[0]] == [name.lower() for name in names]
    notes = ["the first line repeats the names of --columns and was left out"] if repeated else []
    return names, notes, repeated


def _titles(cells: Sequence[Row]) -> int:
    """How many lines stand above the header: a title is alone in its line, a header all words and no data."""
    for at, row in enumerate(cells[:6]):
        filled = sum(cell is not None for cell in row)
        if filled > 1 or len(cells) == 1:
            header = len(row) == filled > 2 and not is_data([c or "" for c in row], []) and not _has_number(row)
            return at if at == 0 or header else 0
    return 0


def _has_number(row: Row) -> bool:
    return any(cell and cell.strip().replace(".", "").replace(",", "").isdigit() for cell in row)


class _PieceReader:
    """Turns blocks of bytes into pieces of whole rows."""

    def __init__(self, beginning: _Beginning) -> None:
        self.names, self.separator = beginning.names, beginning.separator
        self.quoted = beginning.separator not in UNQUOTED
        self.width = len(self.names)
        self.literal = self.sums = self.enclosed = 0

    def pieces(self, blocks: Iterator[bytes]) -> Iterator[Piece]:
        """Rows as soon as they are whole."""
        pending = b""
        block: bytes | None = next(blocks, b"")
        while block is not None:
            following = next(blocks, None)
            final = following is None
            pending += block
            while pending:
                cut = self._clean_end(pending, final)
                if cut:
                    yield self._fast(pending[:cut]) or self._slow(pending[:cut], True)[0]
                elif cut is None:
                    piece, cut = self._slow(pending, final)
                    if not cut and len(pending) > LONGEST_ROW:
                        piece, cut = self._slow(pending, True, 1)
                    yield piece
                if not cut:
                    break
                pending = pending[cut:]
            block = following

    def _clean_end(self, data: bytes, final: bool) -> int | None:
        """Where the last whole row ends if all quotes before are as CSV wants them, else None; 0 where none ends."""
        if not self.quoted or b'"' not in data:
            return len(data) if final else data.rfind(b"\n") + 1
        array = np.frombuffer(data, np.uint8)
        quotes = np.flatnonzero(array == 34)
        end = len(data) if final and len(quotes) % 2 == 0 else data.rfind(b"\n") + 1
        while end and (before := int(np.searchsorted(quotes, end))) % 2:
            end = data.rfind(b"\n", 0, int(quotes[before - 1])) + 1
        if not end:
            return None if final or len(data) > LONGEST_ROW else 0
        inside = quotes[: int(np.searchsorted(quotes, end))]
        opening, closing = inside[0::2], inside[1::2]
        separator = ord(self.separator)
        before_opening = np.where(opening > 0, array[opening - 1], 10)
        after_closing = np.where(closing + 1 < len(data), array[np.minimum(closing + 1, len(data) - 1)], 10)
        if (
            not np.isin(before_opening, (separator, 10, 34)).all()
            or not np.isin(after_closing, (separator, 10, 13, 34)).all()
        ):
            return None
        if self.separator == "\t" and len(inside):
            lines = np.flatnonzero(array[:end] == 10)
            if (np.searchsorted(inside, lines) % 2).any():
                return None
        return end

    def _fast(self, data: bytes) -> Piece | None:
        """Whole rows by polars; None where they are of uneven length."""
        data, mark = as_utf8(data)
        separator = self.separator
        if len(separator) > 1:
            single = next((one for one in STANDINS if one.encode() not in data), None)
            if single is None:
                return None
            data, separator = data.replace(separator.encode(), single.encode()), single
        for width in (self.width, self.width + 1):
            header = separator.join(f"c{number}" for number in range(width))
            try:
                frame = pl.read_csv(
                    io.BytesIO(b"".join((header.encode(), b"\n", data))),
                    separator=separator,
                    quote_char='"' if self.quoted else None,
                    infer_schema=False,
                )
            except pl.exceptions.PolarsError:
                continue
            # Separators at the end of rows make one more column, of nothing.
            if width > self.width and frame.to_series(self.width).null_count() < frame.height:
                return None
            named = frame[:, : self.width].rename(dict(zip(frame.columns, self.names, strict=False)))
            return Piece(self._opened(named), {}, mark)
        return None

    def _slow(self, data: bytes, final: bool, limit: int | None = None) -> tuple[Piece, int]:
        """Row by row, and how many bytes that took."""
        if not final:
            data = data[: data.rfind(b"\n") + 1]
        marked, mark = as_utf8(data)
        text, separator = _single(marked.decode("utf-8"), self.separator)
        rows = RowReader(Dialect(separator, self.quoted)).read(text, self.width, final, limit)
        self.literal += rows.literal
        self.sums += rows.sums
        used = len(data) if rows.end == len(text) else _after_lines(data, text.count("\n", 0, rows.end))
        faults = {"uneven_row": rows.uneven, "open_quote": rows.unclosed}
        schema = dict.fromkeys(self.names, pl.String)
        return Piece(self._opened(pl.DataFrame(rows.cells, schema=schema, orient="row")), faults, mark), used

    def _opened(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows that are one quoted cell as the rows that stand in it, where these are as wide as the header."""
        if self.width < 2 or not self.quoted:
            return frame
        first, others = self.names[0], self.names[1:]
        alone = frame.select(
            pl.all_horizontal(pl.col(others).is_null()) & pl.col(first).str.contains(self.separator, literal=True)
        ).to_series()
        if not alone.fill_null(False).any():
            return frame
        reader = RowReader(Dialect(self.separator))
        cells = [(at, reader.read(frame[first][at], None, True).cells) for at in alone.arg_true()]
        rows = {at: found[0] for at, found in cells if len(found) == 1 and len(found[0]) == self.width}
        self.enclosed += len(rows)
        return frame.with_columns(
            frame[name].scatter(list(rows), [row[at] for row in rows.values()]) for at, name in enumerate(self.names)
        )


def _after_lines(data: bytes, lines: int) -> int:
    at = 0
    for _ in range(lines):
        at = data.index(b"\n", at) + 1
    return at

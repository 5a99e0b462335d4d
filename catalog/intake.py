"""What reading items and reading events share: a table on its way into the canonical schema, and the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from ..files import file_sha256
from . import parsing
from .feeds.formats import find_feed
from .headlines import Span, long_table, missing_columns
from .layout import GENERIC, Layout
from .mapping import read_overrides, resolve_mapping
from .schema import REQUIRED, SCHEMAS, Kind, OnError, TimeKind
from .spilling import filtered, let_go
from .tables import FAULTS, Source, Table, load_table, whole_table
from .transforms import Origin, read_origins, written
from .validation import ProblemGroup, Severity, Step, ValidationReport

Overrides = Mapping[str, str] | None  # canonical to source column
Parser = Callable[[pl.Series], tuple[pl.Series, pl.Series]]
Window = dict[str, datetime | None]  # moments in UTC: `since` inclusive, `until` exclusive
RowFault = tuple[int, str | None, str]  # source row number, value, detail


@dataclass(frozen=True)
class ReadResult:
    """The usable rows of a table in the canonical schema, and how they came about."""

    kind: Kind
    frame: pl.DataFrame
    report: ValidationReport
    mapping: dict[str, str]  # canonical column to what it was read from
    format: str = GENERIC
    image_root: Path | None = None  # what image paths are relative to; None where pictures were not looked at
    provenance: dict[str, Any] = field(default_factory=dict)  # plain data, for a snapshot's manifest

    @property
    def time_kind(self) -> TimeKind:
        """What the timestamps mean."""
        return self.report.time_kind or "real"


class Intake:
    """One table on its way into the canonical schema: raw columns, what is wrong, and the columns done so far."""

    def __init__(
        self,
        source: Source,
        kind: Kind,
        overrides: Overrides,
        on_error: OnError,
        layout: Layout | None = None,
        item_ids: pl.Series | None = None,
    ) -> None:
        layout = layout or Layout()
        table = _loaded(source, kind, layout)
        self.parts = table.parts
        self.path = self.parts[0].path if self.parts else None
        self.kind, self.on_error, self.source = kind, on_error, kind if self.path is None else self.path.name
        if len(self.parts) > 1:
            self.source += f" and {len(self.parts) - 1} more"
        self.layout, self.faults = layout, table.faults
        self.groups: list[ProblemGroup] = []
        self.fatal: list[str] = []
        self.notes: list[str] = list(table.notes)
        self.rows_in = table.frame.height
        self.steps = [Step("rows read", self.rows_in, self.rows_in)]
        self.format, self.sources = GENERIC, dict[str, str]()
        self.file_columns = table.frame.columns
        shaped, overrides = self._shaped(table, overrides or {})
        self.raw, self.rows = shaped.frame, shaped.rows
        resolved = resolve_mapping(self.raw, kind, overrides, item_ids, shaped=shaped is not table)
        self.given = frozenset(overrides or ())  # canonical columns that are mapped by hand, if only to none
        self.mapping, self.origins, self.reasons = resolved.written, resolved.origins, resolved.reasons
        self.notes += resolved.notes
        self.dropped = pl.repeat(False, len(self.rows), dtype=pl.Boolean, eager=True)
        # Rows that could not be read at all: what their missing values would add is not reported.
        self.unreadable = self.dropped
        self.columns: dict[str, pl.Series] = {}
        self.time_kind: TimeKind | None = None
        self.span: Span | None = None  # of times that are known
        used = {column for origins in self.origins.values() for column in _columns(origins)}
        missing = [name for name in REQUIRED[self.kind] if name not in self.mapping]
        told = {
            message: name
            for name, message in reversed(missing_columns(self.raw, self.kind, missing, used, item_ids).items())
        }
        for message, name in reversed(told.items()):
            self.stop("missing_column", message, column=name)
        if self.kind == "items" and self.format == GENERIC and not self.fatal:
            found = long_table(self.raw, self.column("item_id"))
            if found is not None:
                self.stop("long_table", found)
        self.report(0).raise_if_errors()

    def _shaped(self, table: Table, overrides: Mapping[str, str]) -> tuple[Table, Mapping[str, str]]:
        """The table in canonical columns where it is of a known format, with the source columns that overrides name.

        An override that says what the format reads anyway is let go: the format knows how it is written.
        """
        feed = find_feed(self.kind, table, self.layout.format)
        if feed is None:
            return table, overrides
        claimed = read_overrides([*table.frame.columns, *feed.reads], self.kind, overrides)
        if any(self.faults.values()):
            # Rows that could not be read say nothing about their product or event.
            bad = pl.Series([row for found in self.faults.values() for row in found], dtype=table.rows.dtype)
            good = ~table.rows.is_in(bad.implode())
            self._add_lost(self.faults)
            table, self.faults = replace(table, frame=table.frame.filter(good), rows=table.rows.filter(good)), {}
        named = {
            name: origins for name, origins in claimed.items() if set(_columns(origins)) <= set(table.frame.columns)
        }
        layout = replace(self.layout, claimed={name: origins[0].column for name, origins in named.items() if origins})
        shaped = feed.shape(table, layout)
        ids = named.get("item_id") if self.kind == "items" and layout.level == "product" else None
        if layout.claimed.get("item_id") == shaped.sources.get("item_id"):
            ids = None
        # A column that tells more items apart than there are products tells variants apart.
        if ids and read_origins(table.frame, ids).drop_nulls().n_unique() > shaped.table.frame.height:
            shaped = feed.shape(table, replace(layout, level="variant"))
            self.notes.append(f"item_id is mapped to {overrides['item_id']}, so every variant is an item")
        self.format, self.sources = feed.name, dict(shaped.sources)
        if table.headerless:
            # The format has named the columns.
            self.notes = [note for note in self.notes if "--columns" not in note]
        found_out = "" if self.layout.format else ", as its columns tell (--format generic reads them as they stand)"
        self.notes += [f"read as {feed.title}{found_out}", *shaped.notes]
        self.steps += shaped.steps
        self._add_lost(shaped.table.faults)
        read = {name for name, origins in named.items() if written(origins) == shaped.sources.get(name)}
        overrides = {name: source for name, source in overrides.items() if name not in read}
        twice = {column for name in read for column in _columns(named[name])} - set(shaped.sources)
        claimed, named = ({n: found[n] for n in found if n not in read} for found in (claimed, named))
        made, kept = shaped.table, {column for origins in claimed.values() for column in _columns(origins)}
        # What is mapped by hand goes over what the format reads.
        replaced = [name for name in shaped.sources if name in named and name not in kept]
        made = replace(made, frame=made.frame.drop(*replaced, *(twice - kept), strict=False))
        # A row of the format begins at one of the source: that one's values are meant.
        begins = table.rows.search_sorted(made.rows)
        lacking = [name for name in table.frame.columns if name in kept and name not in made.frame.columns]
        made = replace(made, frame=made.frame.with_columns(table.frame[name].gather(begins) for name in lacking))
        return made, overrides

    @property
    def understood(self) -> dict[str, str]:
        """Canonical column to what it is read from, for people."""
        return {name: self.sources.get(source, source) for name, source in self.mapping.items()}

    def source_column(self, name: str) -> str:
        """The column of the file that a format read a column of that name from, where it is just one."""
        source = self.sources.get(name)
        return source if source in self.file_columns else name

    def column(self, name: str) -> pl.Series:
        """The raw column of a canonical name, or nulls."""
        let_go()
        if name not in self.origins:
            return parsing.nulls(self.raw.height).alias(name)
        return read_origins(self.raw, self.origins[name]).alias(name)

    # ---- what is wrong ----

    def add(
        self,
        code: str,
        mask: pl.Series,
        message: str,
        *,
        column: str | None = None,
        values: pl.Series | None = None,
        severity: Severity = "error",
        drop: bool = True,
    ) -> None:
        """Record one problem for each row where `mask` is true, `{value}` in the message standing for its value."""
        mask = mask & ~self.unreadable
        if not mask.any():
            return
        shown = None if values is None else parsing.shown(values.filter(mask))
        self.groups.append(ProblemGroup(severity, code, column, self.rows.filter(mask), shown, message))
        if drop:
            self.dropped = self.dropped | mask

    def add_rows(self, code: str, found: Sequence[RowFault], message: str, column: str | None = None) -> None:
        """Record one error for each (source row number, value, detail), which the message may name in braces."""
        rows, values, details = zip(*sorted(found, key=lambda f: f[0]), strict=True)
        texts = (pl.Series(values, dtype=pl.String), pl.Series(details, dtype=pl.String))
        numbers = pl.Series(rows, dtype=pl.UInt32)
        self.groups.append(ProblemGroup("error", code, column, numbers, texts[0], message, texts[1]))

    def _add_lost(self, faults: Mapping[str, Mapping[int, str | None]]) -> None:
        """Faults of rows of which nothing is left."""
        for code, found in faults.items():
            if found:
                self.add_rows(code, [(row, value, "") for row, value in found.items()], FAULTS[code])

    def add_faults(self) -> None:
        """Rows that the file reader could not read as they stand."""
        present = set(self.rows.to_list()) if any(self.faults.values()) else set()
        for code, faults in self.faults.items():
            found = [(row, value, "") for row, value in faults.items() if row in present]
            if found:
                self.add_rows(code, found, FAULTS[code])
                lost = pl.Series([row for row, *_ in found], dtype=self.rows.dtype)
                self.unreadable = self.unreadable | self.rows.is_in(lost.implode())
        self.dropped = self.dropped | self.unreadable

    def stop(self, code: str, message: str, column: str | None = None) -> None:
        """Record a problem of the whole table that no policy can skip."""
        self.groups.append(ProblemGroup("error", code, column, pl.Series([0], dtype=pl.UInt32), None, message))
        self.fatal.append(code)

    # ---- columns ----

    def restrict(self, keep: pl.Series, step: str) -> None:
        """Look only at the rows where `keep` is true; nothing has been found yet."""
        self.raw = filtered(self.raw, keep)
        self.rows, self.dropped, self.unreadable = (s.filter(keep) for s in (self.rows, self.dropped, self.unreadable))
        self.columns = {name: values.filter(keep) for name, values in self.columns.items()}
        self.steps.append(Step(step, len(keep), self.raw.height))

    def parse(self, name: str, parser: Parser, message: str) -> None:
        """Parse a column; what cannot be read is `bad_<name>` and becomes null."""
        raw = self.column(name)
        self.columns[name], bad = parser(raw)
        self.add(f"bad_{name}", bad, message, column=name, values=raw, drop=False)

    def unmapped(self) -> list[str]:
        """Raw columns that nothing is read from."""
        used = {column for origins in self.origins.values() for column in _columns(origins)}
        return [name for name in self.raw.columns if name not in used]

    def add_attributes(self, order: pl.Series | None = None) -> None:
        """Whatever no canonical column reads, as key and value; of the rows in `order` where others have been taken."""
        unknown = self.unmapped()
        given = self.column("attributes") if "attributes" in self.mapping else None
        height = len(self.columns["item_id"])  # the raw table may have no column left to count
        self.columns["attributes"], bytes_only = parsing.attributes(self.raw, unknown, given, height, order)
        kept = [name for name in unknown if name not in bytes_only]
        if kept:
            self.notes.append(f"columns kept as attributes: {', '.join(kept)}")
        if bytes_only:
            self.notes.append(f"columns left out, as they hold bytes that are no text: {', '.join(bytes_only)}")

    def take(self, order: pl.Series) -> None:
        """Keep these rows of the columns so far, in this order."""
        for name in list(self.columns):
            let_go()
            values = self.columns.pop(name)
            nothing = values.null_count() == len(values)
            taken = parsing.repeated(None, values.dtype, len(order)) if nothing else values.gather(order)
            self.columns[name] = taken

    def frame(self) -> pl.DataFrame:
        """The columns so far in the canonical schema; the raw table is let go to save memory."""
        schema = SCHEMAS[self.kind]
        self.raw = self.raw.clear()
        return pl.DataFrame([self.columns.pop(name).cast(dtype).alias(name) for name, dtype in schema.items()])

    def report(self, rows_out: int) -> ValidationReport:
        """The findings so far."""
        return ValidationReport(
            source=self.source,
            groups=tuple(self.groups),
            rows_in=self.rows_in,
            rows_out=rows_out,
            on_error=self.on_error,
            fatal=tuple(self.fatal),
            notes=tuple(self.notes),
            time_kind=self.time_kind,
            waterfall=tuple(self.steps),
            files=tuple((part.path.name, part.rows_before) for part in self.parts),
            format=self.format,
            mapping=self.understood,
            reasons=self.reasons,
        )

    def finish(
        self, frame: pl.DataFrame, *, image_root: Path | None = None, window: Window | None = None
    ) -> ReadResult:
        """Raise on errors, or wrap up."""
        report = self.report(frame.height)
        report.raise_if_errors()
        provenance: dict[str, Any] = {
            "source": self.source,
            "source_sha256": file_sha256(self.path) if self.path and len(self.parts) == 1 else None,
            "files": [{"name": part.path.name, "sha256": file_sha256(part.path)} for part in self.parts],
            "format": self.format,
            "mapping": self.understood,
            "report": report.kept(),
            "waterfall": [step.to_json() for step in report.waterfall],
            **{name: moment and moment.isoformat() for name, moment in (window or {}).items()},
        }
        return ReadResult(self.kind, frame, report, self.understood, self.format, image_root, provenance)


def _loaded(source: Source, kind: Kind, layout: Layout) -> Table:
    """The table; of a format that is known to be in another encoding than UTF-8, in that one."""
    if isinstance(source, pl.DataFrame):
        return whole_table(source)
    table = load_table(source, layout)
    feed = find_feed(kind, table, layout.format) if table.faults.get("bad_encoding") else None
    if feed is None or feed.encoding is None or layout.encoding is not None:
        return table
    return load_table(source, replace(layout, encoding=feed.encoding))


def _columns(origins: Sequence[Origin]) -> list[str]:
    return [origin.column for origin in origins]

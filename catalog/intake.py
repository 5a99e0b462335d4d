"""One table on its way into the canonical schema: its raw columns, what was found wrong, and the columns done so far.

`readers` says which columns an item or an event has; this module holds what both kinds share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from ..files import file_sha256
from . import parsing
from .mapping import ColumnMapping, resolve_mapping
from .schema import REQUIRED, SCHEMAS, Kind, OnError, TimeKind
from .tables import ENCODING_REMEDY, JSON_REMEDY, WIDTH_REMEDY, load_table, whole_table
from .validation import Findings, Step, ValidationReport

Overrides = ColumnMapping | Mapping[str, str] | None
Parser = Callable[[pl.Series], parsing.Parsed]


@dataclass(frozen=True)
class ReadResult:
    """The usable rows of a table in the canonical schema, and how they came about."""

    frame: pl.DataFrame
    report: ValidationReport
    mapping: ColumnMapping
    image_root: Path | None = None  # what image paths are relative to; None where pictures were not looked at
    provenance: dict[str, Any] = field(default_factory=dict)  # plain data, for a snapshot's manifest

    @property
    def time_kind(self) -> TimeKind:
        """What the timestamps mean."""
        return self.report.time_kind or "real"


class Window:
    """Which moments are looked at: `since` inclusive, `until` exclusive."""

    def __init__(self, since: datetime | None, until: datetime | None) -> None:
        self.since = None if since is None else parsing.utc(since)
        self.until = None if until is None else parsing.utc(until)

    def outside(self, moments: pl.Series) -> pl.Series:
        """True where the moment is known and lies outside."""
        mask = moments.is_null() & False
        if self.since is not None:
            mask = mask | (moments < self.since).fill_null(False)
        if self.until is not None:
            mask = mask | (moments >= self.until).fill_null(False)
        return mask

    def to_json(self) -> dict[str, str | None]:
        """As ISO text."""
        return {name: moment and moment.isoformat() for name, moment in vars(self).items()}


class Intake:
    """One table on its way into the canonical schema: raw columns, findings, and the columns done so far."""

    def __init__(self, source: Path | str | pl.DataFrame, kind: Kind, overrides: Overrides, on_error: OnError) -> None:
        self.path = None if isinstance(source, pl.DataFrame) else Path(source)
        table = whole_table(source) if isinstance(source, pl.DataFrame) else load_table(source)
        self.kind, self.on_error, self.source = kind, on_error, kind if self.path is None else self.path.name
        self.raw, self.faults = table.frame, table.faults
        self.mapping = resolve_mapping(self.raw.columns, kind, overrides)
        self.findings = Findings(table.rows)
        self.rows_in = self.raw.height
        self.steps = [Step("rows read", self.rows_in, self.rows_in)]
        self.columns: dict[str, pl.Series] = {}
        self.time_kind: TimeKind | None = None
        option = "--map" if self.kind == "items" else "--event-map"
        columns = ", ".join(self.raw.columns)
        for name in REQUIRED[self.kind]:
            if name not in self.mapping.columns:
                message = f"no column holds {name}; name it with {option} {name}=COLUMN, out of: {columns}."
                self.findings.stop("missing_column", message, column=name)
        self.report(0).raise_if_errors()

    def column(self, name: str) -> pl.Series:
        """The raw column of a canonical name, or nulls."""
        source = self.mapping.columns.get(name)
        if source is None:
            return pl.Series(name, [None], dtype=pl.String).new_from_index(0, self.raw.height)
        return self.raw[source].alias(name)

    def restrict(self, keep: pl.Series, step: str) -> None:
        """Look only at the rows where `keep` is true; nothing has been found yet."""
        self.raw = self.raw.filter(keep)
        self.findings.restrict(keep)
        self.columns = {name: values.filter(keep) for name, values in self.columns.items()}
        self.steps.append(Step(step, len(keep), self.raw.height))

    def note_faults(self) -> None:
        """Rows that the file reader could not read as they stand."""
        if not any(vars(self.faults).values()):
            return
        present = set(self.findings.rows.to_list())

        def report(code: str, rows: Mapping[int, str | None], message: str) -> None:
            found = [(row, value, "") for row, value in rows.items() if row in present]
            self.findings.add_rows(code, found, message, unreadable=True)

        report("bad_encoding", self.faults.encoding, f"{{value}} is no UTF-8; {ENCODING_REMEDY}.")
        report("uneven_row", self.faults.width, f"the row has {{value}}; {WIDTH_REMEDY}.")
        report("bad_json", self.faults.json, f"{{value}} is no JSON object; {JSON_REMEDY}.")

    def parse(self, name: str, parser: Parser, message: str, *, drop: bool = False) -> None:
        """Parse a column; what cannot be read is `bad_<name>` and becomes null."""
        raw = self.column(name)
        values, bad = parser(raw)
        self.findings.add(f"bad_{name}", bad, message, column=name, values=raw, drop=drop)
        self.columns[name] = values

    def refuse_negative(self, name: str) -> None:
        """A negative number in this column is an error and becomes null."""
        values = self.columns[name]
        negative = (values < 0).fill_null(False)
        message = f"{name} {{value}} is negative; correct or clear it."
        self.findings.add(f"negative_{name}", negative, message, column=name, values=values, drop=False)
        self.columns[name] = values.set(negative, None)

    def add_attributes(self) -> None:
        """Whatever no canonical column reads, as key and value."""
        unknown = self.mapping.unmapped(self.raw.columns)
        given = self.column("attributes") if "attributes" in self.mapping.columns else None
        height = len(self.columns["item_id"])  # the raw table may have no column left to count
        self.columns["attributes"] = parsing.attributes(self.raw, unknown, given, height)
        if unknown:
            self.findings.notes.append(f"columns kept as attributes: {', '.join(unknown)}")

    def take(self, order: pl.Series) -> None:
        """Keep these rows in this order, with only those raw columns that become attributes."""
        rest = [*self.mapping.unmapped(self.raw.columns), self.mapping.columns.get("attributes")]
        self.raw = self.raw.select([name for name in rest if name])
        self.raw = pl.DataFrame([self.raw[name].gather(order) for name in self.raw.columns])
        for name in list(self.columns):
            self.columns[name] = self.columns.pop(name).gather(order)

    def frame(self) -> pl.DataFrame:
        """The columns so far in the canonical schema; the raw table is let go to save memory."""
        schema = SCHEMAS[self.kind]
        self.raw = self.raw.clear()
        return pl.DataFrame([self.columns.pop(name).cast(dtype).alias(name) for name, dtype in schema.items()])

    def report(self, rows_out: int) -> ValidationReport:
        """The findings so far."""
        return ValidationReport(
            source=self.source,
            groups=tuple(self.findings.groups),
            rows_in=self.rows_in,
            rows_out=rows_out,
            on_error=self.on_error,
            fatal=tuple(self.findings.fatal),
            notes=tuple(self.findings.notes),
            time_kind=self.time_kind,
            waterfall=tuple(self.steps),
        )

    def finish(
        self, frame: pl.DataFrame, *, image_root: Path | None = None, window: Window | None = None
    ) -> ReadResult:
        """Raise on errors, or wrap up."""
        report = self.report(frame.height)
        report.raise_if_errors()
        provenance: dict[str, Any] = {
            "source": self.source,
            "source_sha256": None if self.path is None else file_sha256(self.path),
            "mapping": self.mapping.columns,
            "report": report.summary(),
            "waterfall": [step.to_json() for step in report.waterfall],
            **({} if window is None else window.to_json()),
        }
        return ReadResult(frame, report, self.mapping, image_root, provenance)

"""What is wrong with a table: every problem with its row, in one pass, as text, as JSON, or as an error."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Literal

import polars as pl

from ..errors import InvalidDataError
from .schema import OnError, TimeKind

Severity = Literal["error", "warning"]
PROBLEM_ROWS = "rows with problems left out"  # as a waterfall calls the step that takes them out
SHOWN_WORDS = 5  # most frequent values that are told of a problem
LONGEST_VALUE = 120  # characters of a value that a message shows
KEPT_KINDS, KEPT_ROWS = 40, 5  # that a snapshot keeps: kinds of problems, and rows of each
KEPT_LETTERS = 240  # of a value and of a message there
JSON_PROBLEMS = 100  # problems listed one by one in JSON; the counts are always complete


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one row; the message is a sentence with the remedy."""

    severity: Severity
    code: str  # what kind of problem, in snake_case
    row: int  # data row in the source, counted from 1, header not counted; 0 where it concerns the whole table
    column: str | None  # canonical, or of the source where the table has not been mapped yet
    value: str | None
    message: str


@dataclass(frozen=True)
class ProblemGroup:
    """All problems of one code in one column; `message` may hold `{value}` and `{detail}`."""

    # Columns, which become objects only when looked at: a million bad rows cost megabytes, not gigabytes.
    severity: Severity
    code: str
    column: str | None
    rows: pl.Series
    values: pl.Series | None
    message: str
    details: pl.Series | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Problem]:
        return (self[i] for i in range(len(self)))

    @property
    def words(self) -> dict[str, int]:
        """The most frequent values and how often each occurs."""
        if self.values is None or self.values.dtype.is_nested():
            return {}
        counts = self.values.cast(pl.String).drop_nulls().value_counts(sort=True, name="n")
        return dict(counts.head(SHOWN_WORDS).iter_rows())

    @property
    def frequent(self) -> str:
        """Values that occur again and again, in brackets."""
        words = self.words
        if max(words.values(), default=0) < 2:
            return ""
        return f" [{', '.join(f'{_brief(word)!r} x {count}' for word, count in words.items())}]"

    def __getitem__(self, i: int) -> Problem:
        value = None if self.values is None or self.values[i] is None else str(self.values[i])
        detail = "" if self.details is None else str(self.details[i])
        shown = None if value is None else _brief(value)
        message = self.message.replace("{detail}", detail).replace("{value}", repr(shown))
        return Problem(self.severity, self.code, int(self.rows[i]), self.column, value, message)


def _brief(value: str, letters: int = LONGEST_VALUE) -> str:
    return value if len(value) <= letters else f"{value[: letters - 3]}..."


def _storable(problem: Mapping[str, Any]) -> dict[str, Any]:
    """Where a problem is and what it says, cut short, in letters that databases take; its kind tells the rest."""
    place = {name: problem[name] for name in ("file", "row") if name in problem}
    words = {name: problem[name] and problem[name].replace("\0", "\u2400") for name in ("value", "message")}
    return place | {name: text and _brief(text, KEPT_LETTERS) for name, text in words.items()}


@dataclass(frozen=True)
class Step:
    """One line of a waterfall: rows before and after, and what is left where that is counted."""

    name: str
    rows_in: int
    rows_out: int
    sessions: int | None = None
    users: int | None = None

    def __add__(self, other: Step) -> Step:
        sessions = None if self.sessions is None or other.sessions is None else self.sessions + other.sessions
        users = None if self.users is None or other.users is None else self.users + other.users
        return Step(self.name, self.rows_in + other.rows_in, self.rows_out + other.rows_out, sessions, users)

    def to_json(self) -> dict[str, Any]:
        """As a plain dict."""
        return asdict(self)


class ValidationFailedError(InvalidDataError):
    """A table has errors; `report` holds all of them."""

    def __init__(self, message: str, report: ValidationReport) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class ValidationReport:
    """What was read, what is wrong with it and what was left out."""

    source: str
    groups: tuple[ProblemGroup, ...] = ()
    rows_in: int = 0
    rows_out: int = 0
    on_error: OnError = "fail"  # errors stop, or only cost (`skip`) their row or value
    fatal: tuple[str, ...] = ()  # codes of problems that stop even under `skip`
    notes: tuple[str, ...] = ()  # on how the table was understood
    time_kind: TimeKind | None = None  # of events
    waterfall: tuple[Step, ...] = ()
    files: tuple[tuple[str, int], ...] = ()  # of several: the name of each, and the rows before it
    format: str | None = None  # of `feeds`, or `generic`
    mapping: Mapping[str, str] = field(default_factory=dict)  # canonical column to what it is read from
    reasons: Mapping[str, str] = field(default_factory=dict)  # and why

    def place(self, row: int) -> str:
        """Where a row stands: its number, and its file where there are several."""
        if len(self.files) < 2:
            return str(row)
        name, before = self.files[bisect_left([before for _, before in self.files], row) - 1]
        return f"{row - before} of {name}"

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every problem, by row."""
        return tuple(sorted((p for group in self.groups for p in group), key=lambda p: (p.row, p.code)))

    @property
    def counts(self) -> dict[str, int]:
        """Problems per code, errors first."""
        counts: dict[str, int] = {}
        for group in sorted(self.groups, key=lambda g: g.severity):
            counts[group.code] = counts.get(group.code, 0) + len(group)
        return counts

    def count(self, severity: Severity) -> int:
        """Number of problems of that severity."""
        return sum(len(group) for group in self.groups if group.severity == severity)

    @property
    def ok(self) -> bool:
        """Whether the table can be used under its error policy."""
        return not self.fatal and (self.on_error == "skip" or self.count("error") == 0)

    def raise_if_errors(self) -> None:
        """Raise `ValidationFailedError` (an `InvalidDataError` with `.report`) unless the table can be used."""
        if self.ok:
            return
        errors = [group for group in self.groups if group.severity == "error"]
        if self.fatal:
            # It stops under either policy, and says itself why and what to do.
            told = dict.fromkeys(group[0].message.rstrip(".") for group in errors if group.code in self.fatal)
            rows = [group.code for group in errors if group.code not in self.fatal]
            kinds = f" ({', '.join(f'{self.counts[code]} x {code}' for code in dict.fromkeys(rows))})" if rows else ""
            raise ValidationFailedError(f"{self.source} cannot be used{kinds}: {'; '.join(told)}.", self)
        kinds = ", ".join(f"{n} x {code}" for code, n in self.counts.items() if any(g.code == code for g in errors))
        # What holds for most rows is told first.
        worst = max(errors, key=lambda group: (len(group), -group[0].row))
        first = worst[0]
        where = f"row {self.place(first.row)}: " if first.row else ""
        remedy = "; correct the rows or leave them out with --on-error skip"
        message = f"{self.source} cannot be used: {kinds} (first: {where}{first.message.rstrip('.')}){remedy}."
        raise ValidationFailedError(message, self)

    def to_text(self, limit: int = 20) -> str:
        """For a person: totals, then each code with its count and its first `limit` rows."""
        head = (
            f"{self.source}: {self.rows_in} rows read, {self.rows_out} kept, "
            f"{self.count('error')} errors, {self.count('warning')} warnings"
        )
        lines = [head]
        if self.mapping:
            pairs = ", ".join(f"{name} <- {source}" for name, source in self.mapping.items())
            lines.append(f"read as {self.format}: {pairs}")
        for group in sorted(self.groups, key=lambda g: (g.severity, g.code)):
            rows = ", ".join(map(self.place, group.rows.head(limit))) + (", ..." if len(group) > limit else "")
            where = f" (rows {rows})" if group[0].row else ""
            where += group.frequent
            lines.append(f"{group.severity}: {group.code} x {len(group)}{where}: {group[0].message}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def told(self) -> list[dict[str, Any]]:
        """Each kind of problem once, errors first: how often, its most frequent values, and its first sentence."""
        return [
            {
                "severity": group.severity,
                "code": group.code,
                "column": group.column,
                "count": len(group),
                "values": group.words,
                "message": group[0].message,
            }
            for group in sorted(self.groups, key=lambda g: (g.severity, g.code))
        ]

    def kept(self) -> dict[str, Any]:
        """What a snapshot's manifest keeps: the summary, and of each kind of problem its first rows, errors first."""
        groups = sorted(self.groups, key=lambda g: (g.severity, -len(g), g.code))[:KEPT_KINDS]
        kinds = [
            {
                "severity": group.severity,
                "code": group.code,
                "column": group.column,
                "count": len(group),
                "rows": [_storable(self._placed(problem)) for problem in islice(group, KEPT_ROWS)],
            }
            for group in groups
        ]
        return {**self.summary(), "problems": kinds}

    def summary(self) -> dict[str, Any]:
        """Counts and notes without the single problems."""
        return {
            "source": self.source,
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "counts": self.counts,
            "on_error": self.on_error,
            "notes": list(self.notes),
            "time_kind": self.time_kind,
        }

    def to_json(self, limit: int = JSON_PROBLEMS) -> dict[str, Any]:
        """As a plain dict: complete counts per code, the first `limit` problems of each code, the waterfall."""
        listed = [problem for group in self.groups for problem in islice(group, limit)]
        return {
            **self.summary(),
            "ok": self.ok,
            "format": self.format,
            "mapping": dict(self.mapping),
            "reasons": dict(self.reasons),
            "problems": [self._placed(p) for p in sorted(listed, key=lambda p: (p.row, p.code))],
            "problems_listed": len(listed),
            "waterfall": [step.to_json() for step in self.waterfall],
        }

    def _placed(self, problem: Problem) -> dict[str, Any]:
        """A problem as a plain dict, with its file and the row in it where there are several."""
        if len(self.files) < 2 or not problem.row:
            return vars(problem)
        row, _, name = self.place(problem.row).partition(" of ")
        return {**vars(problem), "row": int(row), "file": name}

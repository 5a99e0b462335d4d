"""What a careful reader would tell of files before anything is written: how they are read, and what is odd in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import polars as pl

from ..catalog import parsing
from ..catalog.feeds.formats import FEEDS, find_feed
from ..catalog.guessing import FITS, SYNONYMS, guess_mapping, sample, share_known
from ..catalog.languages import guess_languages
from ..catalog.layout import GENERIC
from ..catalog.schema import SCHEMAS, Kind
from ..catalog.tables import Table, load_table
from ..catalog.transforms import find_origins
from ..catalog.validation import ValidationFailedError, ValidationReport
from ..errors import HubspokeError, NotFoundError, UsageError
from ..forks import require_tables
from ..results import Record
from .ingest import IngestRequest, ReadOptions

SAMPLES = 3  # values that are shown of a column
CATEGORIES = 5
# Share of the ids of events in a column of the catalog from which that column is proposed.
WORTH = 0.5


@dataclass(frozen=True)
class FormatInfo(Record):
    """A format that is recognised, and what is read from where."""

    name: str
    kind: str  # `items` or `events`
    title: str
    export: str  # where it is exported
    reads: Mapping[str, str]  # canonical column to what it is read from, in words


@dataclass(frozen=True)
class ColumnInfo(Record):
    """A column of a file as it stands there."""

    name: str
    type: str
    missing: int
    distinct: int
    samples: tuple[str, ...]


@dataclass(frozen=True)
class FileInspection(Record):
    """One file: as it stands, how it would be read, and what is in it then."""

    file: str
    kind: str  # `items` or `events`
    because: str  # why it is taken for that
    format: str | None
    rows: int
    kept: int  # rows that would be read with --on-error skip
    usable: bool  # without --on-error skip
    columns: tuple[ColumnInfo, ...]
    mapping: Mapping[str, str]
    reasons: Mapping[str, str]
    problems: Sequence[Mapping[str, Any]]  # by kind, with counts
    notes: Sequence[str]
    facts: Mapping[str, Any]  # what is in the rows that would be read
    error: str | None  # why nothing can be read


@dataclass(frozen=True)
class Inspection(Record):
    """Files inspected together: events are held against the catalogs among them."""

    files: tuple[FileInspection, ...]
    ids: Mapping[str, Any] | None  # how the ids of events and catalog match
    map: str  # the mapping as YAML


def formats(name: str | None = None) -> list[FormatInfo]:
    """Every format that is recognised, or the one of that name."""
    known = [FormatInfo(feed.name, feed.kind, feed.title, feed.export, dict(feed.reads)) for feed in FEEDS]
    titles: dict[Kind, str] = {"items": "any catalog", "events": "any events"}
    for kind, title in titles.items():
        reads = {name: ", ".join([name, *synonyms]) for name, synonyms in SYNONYMS[kind].items()}
        words = f"{title}, by the names and values of its columns"
        known.append(FormatInfo(GENERIC, kind, words, "anywhere", reads))
    found = [own for own in known if name in (None, own.name)]
    if not found:
        names = dict.fromkeys(own.name for own in known)
        raise NotFoundError(f"{name!r} is no format; use one of {', '.join(names)}.")
    return found


def inspect(
    files: Sequence[Path | str],
    items: Sequence[Path | str] = (),
    events: Sequence[Path | str] = (),
    **options: Unpack[ReadOptions],
) -> Inspection:
    """Tell what is in files; those that are not forced to be `items` or `events` are told apart by their columns."""
    require_tables()
    named: list[tuple[Path | str, Kind | None]] = [(file, None) for file in files]
    named += [(file, "items") for file in items]
    named += [(file, "events") for file in events]
    if not named:
        raise UsageError("There is nothing to inspect; name a file.")
    request = replace(IngestRequest("", "", **options), on_error="skip")
    looked = [_Look(file, kind, request) for file, kind in named]
    looked.sort(key=lambda look: look.kind == "events")  # a catalog first: events are held against it
    catalog: pl.DataFrame | None = None
    for look in looked:
        look.read(catalog)
        if look.kind == "items" and look.frame is not None:
            catalog = look.frame if catalog is None else pl.concat([catalog, look.frame])
    ids = None if catalog is None else catalog["item_id"]
    return Inspection(tuple(look.result() for look in looked), _match(looked, ids), _yaml(looked))


class _Look:
    """One file on its way: loaded, taken for items or events, read."""

    def __init__(self, file: Path | str, kind: Kind | None, request: IngestRequest) -> None:
        self.file, self.request = file, request
        self.table: Table | None = None
        self.error: str | None = None
        self.frame: pl.DataFrame | None = None
        self.report: ValidationReport | None = None
        self.kind: Kind = kind or "items"
        self.because = "as asked"
        try:
            self.table = load_table(file, request.layout(self.kind))
            if kind is None:
                self.kind, self.because = _kind_of(self.table, request)
        except UsageError:
            raise
        except HubspokeError as error:
            self.error = str(error)

    def read(self, catalog: pl.DataFrame | None) -> None:
        if self.table is None:
            return
        request = replace(self.request, items=self.file, events=self.file)
        try:
            result = request.read_items() if self.kind == "items" else request.read_events(catalog)
            self.frame, self.report = result.frame, result.report
        except ValidationFailedError as error:
            self.report, self.error = error.report, str(error)
        except UsageError:
            raise
        except HubspokeError as error:
            self.error = str(error)

    def _facts(self, frame: pl.DataFrame) -> dict[str, Any]:
        if self.kind == "items":
            return _items(frame)
        facts = _events(frame)
        # The places of counters are no times.
        ordered = self.report is not None and self.report.time_kind == "order"
        return {**facts, "first": None, "last": None} if ordered else facts

    def result(self) -> FileInspection:
        raw, report = pl.DataFrame() if self.table is None else self.table.frame, self.report
        return FileInspection(
            file=str(self.file),
            kind=self.kind,
            because=self.because,
            format=report.format if report else None,
            rows=raw.height,
            kept=0 if self.frame is None else self.frame.height,
            usable=self.error is None and report is not None and not report.count("error"),
            columns=tuple(_column(raw[name]) for name in raw.columns),
            mapping=dict(report.mapping) if report else {},
            reasons=dict(report.reasons) if report else {},
            problems=report.told() if report else [],
            notes=list(report.notes) if report else list(self.table.notes if self.table else ()),
            facts={} if self.frame is None else self._facts(self.frame),
            error=self.error,
        )


def _kind_of(table: Table, request: IngestRequest) -> tuple[Kind, str]:
    kinds: tuple[Kind, ...] = ("events", "items")
    for kind in kinds:
        feed = find_feed(kind, table, None)
        if feed is not None and request.format is None:
            return kind, f"its columns are those of {feed.title}"
    found = guess_mapping(table.frame, "events").mapping
    if "timestamp" in found and found.keys() & {"user_id", "session_id", "event_type"}:
        who = next(name for name in ("user_id", "session_id", "event_type") if name in found)
        return "events", f"it has times ({found['timestamp'][0]}) and {who} ({found[who][0]})"
    if table.headerless and any(_is_time(table.frame[name]) for name in table.frame.columns):
        return "events", "it has a column of times"
    return "items", "it has no times of users"


def _is_time(column: pl.Series) -> bool:
    values = sample(column)
    return len(values) > 0 and FITS["created_at"](values)


def _column(column: pl.Series) -> ColumnInfo:
    texts = parsing.text(column)
    known = texts.drop_nulls()
    distinct = known.unique(maintain_order=True)
    shown = tuple(value[:40] for value in distinct.head(SAMPLES).to_list())
    return ColumnInfo(column.name, _type(column), texts.null_count(), len(distinct), shown)


def _type(column: pl.Series) -> str:
    """What the values are, for people: a column of text may hold numbers or times."""
    if column.dtype != pl.String:
        return str(column.dtype).lower()
    values = sample(column)
    if not len(values):
        return "empty"
    if values.str.contains(r"^\s*[\[{]").all():
        return "nested"
    if parsing.numbers(values)[0].null_count() == 0:
        return "number"
    return "time" if FITS["created_at"](values) else "text"


def _items(frame: pl.DataFrame) -> dict[str, Any]:
    """What is in a catalog."""
    texts = frame.select(pl.concat_str("title", "description", separator=" ", ignore_nulls=True).alias("text"))["text"]
    prices = frame.filter(pl.col("price").is_not_null()).group_by("currency", maintain_order=True)
    ranges = prices.agg(
        pl.len().alias("items"),
        pl.col("price").min().alias("lowest"),
        pl.col("price").median().alias("median"),
        pl.col("price").max().alias("highest"),
    )
    paths = frame["category_path"].list.first().drop_nulls().value_counts(sort=True, name="n")
    return {
        "languages": guess_languages(texts.set(texts.str.strip_chars() == "", None)),
        "with_title": int((frame["title"] != "").sum()),
        "with_description": frame.height - frame["description"].null_count(),
        "with_picture": int(frame["image_sha256"].list.len().fill_null(0).gt(0).sum()),
        "with_price": frame.height - frame["price"].null_count(),
        "prices": [{**row, "currency": row["currency"] or "unknown"} for row in ranges.to_dicts()],
        "available": int(frame["available"].sum()),
        "not_available": int((~frame["available"]).sum()),
        "categories": len(paths),
        "largest_categories": dict(paths.head(CATEGORIES).iter_rows()),
        "same_title": int(frame.filter(pl.col("title") != "")["title"].is_duplicated().sum()),
    }


def _events(frame: pl.DataFrame) -> dict[str, Any]:
    """What is in a table of events."""
    first, last = frame["timestamp"].min(), frame["timestamp"].max()
    per_user = frame["user_id"].value_counts()["count"]
    return {
        "users": len(per_user),
        "items": frame["item_id"].drop_nulls().n_unique(),
        "events_per_user": float(per_user.median() or 0),  # type: ignore[arg-type]
        "first": first,
        "last": last,
        "types": dict(frame["event_type"].value_counts(sort=True).iter_rows()),
        "repeated": int(frame.select("user_id", "item_id", "timestamp", "event_type").is_duplicated().sum()),
    }


def _match(looked: Sequence[_Look], ids: pl.Series | None) -> dict[str, Any] | None:
    """How the ids of events and catalog match, and how more of them would."""
    events = next((look for look in looked if look.kind == "events" and look.report is not None), None)
    if events is None or events.report is None or ids is None:
        return None
    missed = events.report.counts.get("unknown_item", 0)
    told = next((own["message"] for own in events.report.told() if own["code"] == "unknown_item"), None)
    kept = 0 if events.frame is None else events.frame["item_id"].len() - events.frame["item_id"].null_count()
    seen = 0 if events.frame is None else events.frame["item_id"].drop_nulls().n_unique()
    return {
        "events_in_catalog": kept,
        "events_not_in_catalog": missed,
        "items": ids.n_unique(),
        "items_with_events": seen,
        "proposal": told,
        "catalog_columns": _other_columns(looked, events) if missed else {},
    }


def _other_columns(looked: Sequence[_Look], events: _Look) -> dict[str, float]:
    """Columns of the catalogs that hold the ids of the events, which `--map item_id=` would name."""
    found: dict[str, float] = {}
    assert events.table is not None
    assert events.report is not None
    origins = find_origins(events.report.mapping.get("item_id", ""), events.table.frame.columns)
    if not origins:
        return found
    named = parsing.identifiers(origins[0].read(events.table.frame))
    for look in looked:
        if look.kind == "items" and look.table is not None:
            for name in look.table.frame.columns:
                column = look.table.frame[name]
                if not column.dtype.is_nested() and (share := share_known(named, parsing.identifiers(column))) >= WORTH:
                    found[name] = round(share, 2)
    return dict(sorted(found.items(), key=lambda pair: -pair[1])[:SAMPLES])


def _yaml(looked: Sequence[_Look]) -> str:
    """The mapping of the first catalog and the first events as lines to edit."""
    lines = [
        "# canonical: source column; pass it with --map FILE --event-map FILE. Lines that are left out are guessed."
    ]
    for kind in ("items", "events"):
        look = next((look for look in looked if look.kind == kind and look.report is not None), None)
        if look is None or look.report is None or look.table is None:
            continue
        report, own = look.report, look.report.format == GENERIC
        lines += [f"{kind}:  # {look.file}"]
        if not own:
            lines.append(
                f"  # read as {report.format}, which maps its columns itself; name here what should go over it"
            )
        used = set()
        for name in SCHEMAS[kind]:
            source = report.mapping.get(name)
            origins = find_origins(source, look.table.frame.columns) if source else None
            used |= {origin.column for origin in origins or ()}
            why = f"  # {report.reasons[name]}" if name in report.reasons else ""
            if source is not None:
                lines.append(
                    f"  {'' if own else '# '}{name}: {json.dumps(source, ensure_ascii=False)}{why if own else ''}"
                )
            elif own and name != "image_sha256":
                lines.append(f"  # {name}:")
        rest = [name for name in look.table.frame.columns if name not in used]
        if own and rest:
            lines.append(f"  # kept as attributes: {', '.join(rest)}")
    return "\n".join(lines) + "\n"

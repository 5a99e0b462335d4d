"""Why a table cannot be used at all: the reason first, in one sentence with its remedy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

import polars as pl

from . import parsing
from .guessing import FITS, SYNONYMS, plain, sample, share_known
from .headers import looks_headerless, numbered
from .schema import Kind
from .transforms import as_option
from .validation import ProblemGroup, Step

Span = tuple[datetime, datetime]
# What is wrong with rows, after "all 32 events", and the remedy; in the order in which they are told.
REASONS: dict[str, tuple[str, str]] = {
    "bad_timestamp": (
        "have a timestamp that cannot be read, such as {value}",
        "say how times are written with --date-format, such as %d/%m/%Y, or name another column with --event-map "
        "timestamp=COLUMN",
    ),
    "missing_timestamp": ("have no timestamp", "name another column with --event-map timestamp=COLUMN"),
    "unknown_event_type": (
        "are of a type that is not known: {words}",
        "say what each means with --event-types {given}, where skip leaves events out",
    ),
    "missing_user_id": ("have no user_id", "name another column with --event-map user_id=COLUMN"),
    "missing_item_id": ("name no item", "name another column with --event-map item_id=COLUMN"),
    "unknown_item": (
        "are on an item that the catalog lacks, such as {value}",
        "give the catalog that they belong to, or name another column with --event-map item_id=COLUMN",
    ),
    "returned_item": (
        "are returns, by their type or a negative quantity",
        "name other columns with --event-map event_type=COLUMN,quantity=COLUMN, or take one out with quantity=",
    ),
}


def no_items(groups: Sequence[ProblemGroup]) -> str:
    """Why no item is left: what is wrong with most rows, with its remedy."""
    errors = [group for group in groups if group.severity == "error"]
    if not errors:
        return "no item is left; give a catalog with at least one valid row."
    most = max(errors, key=len)
    if most.code == "missing_item_id":
        return f"no item is left: {len(most)} rows have no item_id; name another column with --map item_id=COLUMN."
    return f"no item is left: {most[0].message}"


def no_events(
    groups: Sequence[ProblemGroup], rows: int, steps: Sequence[Step], span: Span | None, remedies: Mapping[str, str]
) -> str:
    """Why none of the `rows` that were looked at is left; `remedies` by code go over the common ones.

    `span` is the time of all events, in the window or not.
    """
    if rows == 0:
        return _nothing_to_look_at(steps, span)
    counts: dict[str, int] = {}
    for group in groups:
        counts[group.code] = counts.get(group.code, 0) + len(group)
    known = [code for code in REASONS if code in counts]
    most = max((counts[code] for code in known), default=0)
    # What holds for all rows, else what holds for most.
    told = [code for code in known if counts[code] == most]
    if not told:
        return "no event is left; see the waterfall and the problems that are listed."
    whats = " and ".join(_filled(REASONS[code][0], code, groups) for code in told)
    remedy = "; ".join(remedies.get(code) or _filled(REASONS[code][1], code, groups) for code in told)
    others = [f"{counts[code]} x {code}" for code in known if code not in told]
    more = f" (beside {', '.join(others)})" if others else ""
    many = f"all {rows}" if most >= rows else f"{most} of {rows}"
    return f"no event is left: {many} {whats}{more}; {remedy}."


def _nothing_to_look_at(steps: Sequence[Step], span: Span | None) -> str:
    lost = next((step for step in steps if step.rows_in and not step.rows_out), None)
    if lost is None:
        return "there is no event in it; give a file with rows."
    if span is not None and "time window" in lost.name:
        first, last = (moment.strftime("%Y-%m-%d %H:%M") for moment in span)
        return (
            f"no event is left: the time window holds none of the {lost.rows_in} events, which are from {first} to "
            f"{last} UTC; widen --since and --until."
        )
    return f"no event is left of {lost.rows_in}: {lost.name}; give a file of events, or name another --format."


def _filled(text: str, code: str, groups: Sequence[ProblemGroup]) -> str:
    group = next(group for group in groups if group.code == code)
    value = None if group.values is None or group.values[0] is None else str(group.values[0])
    words = group.words
    given = ",".join(f"{word}={'view' if i == 0 else 'skip'}" for i, word in enumerate(words))
    said = ", ".join(f"{word!r} ({count})" for word, count in words.items())
    return text.replace("{words}", said).replace("{given}", given).replace("{value}", repr(value))


# ---- columns that are missing ----

KEYS, VALUES = {"property", "attribute", "attributename", "key", "field"}, {"value", "propertyvalue", "attributevalue"}
SHOWN = 3  # columns that are proposed
FIRST_LOGS = 1990  # the year before which nobody clicked


def missing_columns(
    frame: pl.DataFrame, kind: Kind, names: Sequence[str], used: Collection[str], item_ids: pl.Series | None
) -> dict[str, str]:
    """That no column holds what every table needs, by name, with the columns that likely do."""
    if names and looks_headerless(frame):
        cells = frame.columns if frame.columns != numbered(frame.width) or not frame.height else frame.row(0)
        line = ", ".join(map(str, cells[:6])) + (", ..." if frame.width > 6 else "")
        named = ",".join(_names_by_values(frame, kind, item_ids))
        message = (
            f"no column holds {', '.join(names)}: the first line looks like data ({line}); say --no-header --columns "
            f"{named}, with a name for each of the {frame.width} columns."
        )
        return dict.fromkeys(names, message)
    return {name: _missing_column(frame, kind, name, used, item_ids) for name in names}


def _missing_column(
    frame: pl.DataFrame, kind: Kind, name: str, used: Collection[str], item_ids: pl.Series | None
) -> str:
    option = "--map" if kind == "items" else "--event-map"
    likely = [column for column in frame.columns if column not in used and LIKELY[name](frame[column], kind, item_ids)]
    if item_ids is not None and name == "item_id":
        likely.sort(key=lambda column: -share_known(frame[column], parsing.identifiers(item_ids)))
    proposed = f" (likely {' or '.join(likely[:SHOWN])})" if likely else ""
    names = {plain(name) for name in ("session_id", *SYNONYMS["events"]["session_id"])}
    sessions = [column for column in frame.columns if plain(column) in names]
    if name == "user_id" and sessions:
        proposed = f" (where only sessions are known, {option} user_id={sessions[0]})"
    objects = [column for column in frame.columns if not proposed and _holds_objects(frame[column])]
    if objects:
        proposed = f" (column {objects[0]} holds objects: write their fields as columns of their own first)"
    return f"no column holds {name}; name it with {option} {name}=COLUMN, out of: {', '.join(frame.columns)}{proposed}."


def _holds_objects(column: pl.Series) -> bool:
    values = sample(column)
    if values.dtype != pl.String:
        return isinstance(values.dtype, pl.Struct)
    return len(values) > 0 and bool(values.str.contains(r"^\s*\{.*\}\s*$").all())


def long_table(frame: pl.DataFrame, ids: pl.Series) -> str | None:
    """That a catalog holds a row for each property of an item, where it does."""
    names = {plain(column): column for column in frame.columns}
    key, value = (next((names[name] for name in names if name in known), None) for known in (KEYS, VALUES))
    if key is None or value is None or ids.n_unique() == len(ids):
        return None
    return (
        f"the table holds one row per property (columns {key} and {value}), not per item; write one row per item with "
        "a column for each property first."
    )


def no_text(frame: pl.DataFrame, title: str | None, unused: Sequence[str]) -> str:
    """That nothing tells items apart, with the columns that look like text."""
    likely = [column for column in unused if _reads_like_text(frame[column])]
    likely.sort(key=lambda column: -float(parsing.text(sample(frame[column])).n_unique()))
    what = "no column is read as title" if title is None else f"column {title}, read as title, is empty"
    named = f"map one with {as_option('--map', 'title', likely[0] if likely else 'COLUMN')}"
    others = f" (columns that look like text: {', '.join(likely)})" if likely else ""
    return (
        f"no item has a title, a description or a picture ({what}), so that nothing tells the items apart; "
        f"{named}{others}, or say --map title= if that is meant."
    )


def _reads_like_text(column: pl.Series) -> bool:
    values = sample(column)
    return not values.dtype.is_nested() and len(values) > 0 and FITS["title"](values) and not FITS["timestamp"](values)


def _is_unique(column: pl.Series, kind: Kind, item_ids: pl.Series | None) -> bool:
    if kind == "events":
        return item_ids is not None and share_known(column, parsing.identifiers(item_ids)) > 0
    if column.dtype.is_nested() or (column.dtype == pl.String and column.str.contains(r"^\s*[\[{]").any()):
        return False  # objects are no ids
    return column.null_count() == 0 and column.n_unique() == len(column)


def _repeats(column: pl.Series, kind: Kind, item_ids: pl.Series | None) -> bool:
    values = sample(column)
    if values.dtype.is_nested() or values.dtype.is_float() or values.dtype.is_temporal() or len(values) < 2:
        return False
    if FITS["event_type"](values) or _is_recent(column):
        return False
    return 1 < values.n_unique() < len(values)


def _is_moment(column: pl.Series, kind: Kind, item_ids: pl.Series | None) -> bool:
    values = sample(column)
    return not values.dtype.is_nested() and len(values) > 0 and FITS["created_at"](values)


LIKELY: Mapping[str, Callable[[pl.Series, Kind, pl.Series | None], bool]] = {
    "item_id": _is_unique,
    "user_id": _repeats,
    "timestamp": _is_moment,
}


def _is_recent(column: pl.Series) -> bool:
    """Whether values are times of which some are later than those that ids of nine digits would be."""
    if not _is_moment(column, "events", None):
        return False
    moments = parsing.timestamps(sample(column))
    last = moments.values.max()
    return moments.doubt is not None or (isinstance(last, datetime) and last.year >= FIRST_LOGS)


def _names_by_values(frame: pl.DataFrame, kind: Kind, item_ids: pl.Series | None) -> list[str]:
    """Names for columns without any, as far as values tell; the others by number."""
    free, found = list(frame.columns), dict[str, str]()

    def take(name: str, fits: Callable[[pl.Series], bool]) -> None:
        column = next((column for column in free if fits(frame[column])), None)
        if column is not None:
            free.remove(column)
            found[column] = name

    if kind == "items":
        take("item_id", lambda column: _is_unique(column, kind, None))
        take("title", _reads_like_text)
    else:
        take("timestamp", _is_recent)
        take("event_type", lambda column: FITS["event_type"](sample(column)))
        if item_ids is not None:
            known = parsing.identifiers(item_ids)
            shares = {column: share_known(frame[column], known) for column in free}
            best = max(shares, key=lambda column: shares[column], default=None)
            take("item_id", lambda column: column.name == best and shares[column.name] > 0)
        take("user_id", lambda column: _repeats(column, kind, None))
        take("item_id", lambda column: "item_id" not in found.values() and _repeats(column, kind, None))
    return [found.get(column, f"column{i}") for i, column in enumerate(frame.columns, start=1)]

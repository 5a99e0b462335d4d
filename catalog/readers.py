"""Items and events from files or tables into the canonical schema, with every problem reported in one pass."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import polars as pl

from ..errors import InvalidDataError
from . import parsing
from .columns import (
    add_available,
    add_category_path,
    add_created_at,
    add_currency,
    add_ids,
    add_number,
    add_text,
    add_time,
    counted,
)
from .downloads import Downloads
from .event_words import EventWords, squeezed
from .guessing import SAMPLE, SYNONYMS, plain, sample, spread
from .headlines import Span, no_events, no_items, no_text
from .images import ImageLimits
from .intake import Intake, Overrides, ReadResult, Window
from .layout import GENERIC, Layout
from .matching import near_matches, proposal
from .pictures import add_pictures
from .schema import EVENT_TYPES, ITEMLESS_EVENT_TYPES, OnError
from .tables import Source
from .transforms import Origin, as_option, is_nobody
from .validation import PROBLEM_ROWS, Step
from .variants import name_products

SORTED = 2_000_000  # events that are sorted at once
# Columns of these names say of orders which, when or in what state they are.
ORDERS = re.compile(
    r"(order|invoice|basket|transaction|increment|purchase)[ _]?(id|no|number|date|status|purchase)", re.IGNORECASE
)
RATINGS = ("rating", "ratings", "stars", "score", "overall")
STATES = ("status", "state", "orderstatus", "orderstate", "financialstatus", "paymentstatus", "transactionstatus")
NO_SALE = r"^(wc)?(cancell?ed|refunded|void|voided|failed|declined|denied|expired|returned|chargeback|trash|storniert)$"
CLOCK = r"^\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?$"


def read_items(
    source: Source,
    mapping: Overrides = None,
    image_root: Path | str | None = None,
    on_error: OnError = "fail",
    limits: ImageLimits | None = None,
    layout: Layout | None = None,
    now: datetime | None = None,
    downloads: Downloads | None = None,
) -> ReadResult:
    """Read a catalog file or table; `mapping` goes over the guess. Times after `now` (by default the clock) are told.

    Picture paths are relative to `image_root`, by default the file's own folder; those of a table without it are not
    looked at, as the report says. Addresses are left aside, or fetched where `downloads` says whereto.
    """
    intake = Intake(source, "items", mapping, on_error, layout)
    columns = intake.columns
    intake.add_faults()
    add_ids(intake, "item_id")
    for name in ("title", "description", "brand"):
        add_text(intake, name, markup=True)
    add_category_path(intake)
    for name in ("cost", "price"):
        amounts = add_number(intake, name)
        negative = (columns[name] < 0).fill_null(False)
        message = f"{name} {{value}} is negative; correct or clear it."
        intake.add(f"negative_{name}", negative, message, column=name, values=columns[name], drop=False)
        columns[name] = columns[name].set(negative, None)
    add_currency(intake, amounts)
    add_available(intake)
    add_created_at(intake, now)
    root = Path(image_root) if image_root is not None else intake.path and intake.path.parent
    root = add_pictures(intake, root, limits, by_id=image_root is not None, downloads=downloads)
    _check_text(intake)
    intake.add_attributes()
    return _finish_items(intake, root)


def _check_text(intake: Intake) -> None:
    """Stop where nothing tells items apart: their scores would all be the same, whatever the shop sells."""
    if any(intake.columns[name].is_not_null().any() for name in ("title", "description", "image")):
        if "title" not in intake.mapping and "title" not in intake.given:
            intake.notes.append("no column is read as title, so titles are empty; --map title=COLUMN names one")
    elif "title" not in intake.given and intake.raw.height and (intake.format == GENERIC or "title" in intake.sources):
        message = no_text(intake.raw, intake.mapping.get("title"), intake.unmapped())
        intake.stop("no_text", message, column="title")


def _finish_items(intake: Intake, image_root: Path | None) -> ReadResult:
    ids, columns = intake.columns["item_id"], intake.columns
    intake.add("missing_item_id", ids.is_null(), "the row has no item_id; give it one.", column="item_id")
    empty = columns["title"].is_null() & columns["description"].is_null() & columns["image"].is_null()
    message = "item {value} has neither title nor description nor image; add one, or only behaviour can place it."
    intake.add("no_content", empty, message, column="title", values=ids, severity="warning", drop=False)
    # A title is text, never null: readers downstream join it with the other fields.
    columns["title"] = columns["title"].fill_null("")
    telling = _telling_column(intake, ids)
    frame = intake.frame()
    # Repeated ids: a row equal to the first one in everything is only a repetition, any other contradicts it.
    again = ~ids.is_first_distinct() & ids.is_not_null()
    if again.any():
        rows = ids.is_in(ids.filter(again).unique().implode()).arg_true()
        content = frame[rows].select("item_id", pl.struct(pl.all()).struct.json_encode().alias("content"))
        first = pl.col("content").first().over("item_id")
        equal = content.select(pl.col("content") == first).to_series()
        same = again & pl.int_range(frame.height, eager=True).is_in(rows.filter(equal).implode())
        message = "the row repeats item {value} word for word; it was left out."
        intake.add("repeated_row", same, message, column="item_id", values=ids, severity="warning")
        message = f"item_id {{value}} stands in an earlier row with other content; keep one of them{telling}."
        intake.add("duplicate_item_id", again & ~same, message, column="item_id", values=ids)
    kept = frame.filter(~intake.dropped)
    intake.steps.append(Step(f"repeated rows and {PROBLEM_ROWS}", frame.height, kept.height))
    if kept.height == 0:
        intake.stop("empty_catalog", no_items(intake.groups))
    return intake.finish(kept, image_root=image_root)


def _telling_column(intake: Intake, ids: pl.Series) -> str:
    """Where ids repeat, another column of ids that differs in every row, as a remedy."""
    named = set(map(plain, SYNONYMS["items"]["item_id"]))
    for column in intake.unmapped() if ids.is_duplicated().any() else ():
        values = intake.raw[column]
        if plain(column) in named and not values.null_count() and values.n_unique() == len(values):
            return f", or name items by {column}, which differs in every row: {as_option('--map', 'item_id', column)}"
    return ""


# ---- events ----


def read_events(
    source: Source,
    mapping: Overrides = None,
    item_ids: pl.Series | None = None,
    on_error: OnError = "fail",
    default_event_type: str = "view",
    until: datetime | None = None,
    since: datetime | None = None,
    layout: Layout | None = None,
    now: datetime | None = None,
    variants: pl.DataFrame | None = None,
    attributes: pl.Series | None = None,
) -> ReadResult:
    """Read an event file or table; `mapping` goes over the guess. Times after `now` (by default the clock) are told.

    Only events from `since` on and before `until` (naive is UTC) are looked at at all. An event on an item that is not
    among `item_ids`, where they are given, is an error; `variants` (of `variant_ids`) stand for their products, and
    `attributes` of the catalog may tell how more would be in it.
    """
    if default_event_type not in EVENT_TYPES:
        raise InvalidDataError(
            f"The default event type {default_event_type!r} is not known; use one of {', '.join(EVENT_TYPES)}."
        )
    intake = Intake(source, "events", mapping, on_error, layout, item_ids)
    window = {name: own and parsing.utc(own) for name, own in (("since", since), ("until", until))}
    words = EventWords(intake.layout.event_types)
    _leave_out(intake, words)
    _leave_out_no_sales(intake)
    _add_times(intake, window, now)
    for name in ("user_id", "item_id", "session_id"):
        add_ids(intake, name)
    users = intake.columns["user_id"]
    message = (
        "user_id {value} is a word for shoppers who are not known, and all of them count as one; leave it empty, or "
        "leave their events out with --event-map user_id=COLUMN:known and --on-error skip."
    )
    nobody = is_nobody(users)
    intake.add("user_id_of_nobody", nobody, message, column="user_id", values=users, severity="warning", drop=False)
    if variants is not None:
        name_products(intake, variants)
    add_text(intake, "query")
    add_number(intake, "value")
    for name in ("quantity", "position"):
        intake.parse(name, parsing.integers, f"{name} {{value}} is no whole number; correct or clear it.")
    returned = _add_event_type(intake, words, default_event_type)
    return _finish_events(intake, item_ids, attributes, returned, window)


def _leave_out(intake: Intake, words: EventWords) -> None:
    """Forget events that are no interaction with an item (a session began, a page was scrolled), and count them."""
    raw = parsing.text(intake.column("event_type"))
    out, pages = words.skipped(raw), words.pages(raw)
    if pages.any():
        out = out | (pages & parsing.text(intake.column("item_id")).is_null())
    if not out.any():
        return
    counts = ", ".join(f"{word} x {n}" for word, n in raw.filter(out).value_counts(sort=True).rows())
    intake.notes.append(f"events that are no interaction with an item were left out: {counts}")
    intake.restrict(~out, "events that are no interaction with an item left out")


def _leave_out_no_sales(intake: Intake) -> None:
    """Forget lines of orders that a column of states calls cancelled, refunded or failed, and count them."""
    if intake.format != GENERIC or "event_type" in intake.mapping:
        return
    for name in (name for name in intake.unmapped() if plain(name) in STATES):
        states = parsing.text(intake.raw[name])
        words = states.drop_nulls().unique()
        out = states.is_in(words.filter(squeezed(words).str.contains(NO_SALE)).implode()).fill_null(False)
        if out.any():
            counts = counted(states.filter(out).value_counts(sort=True).rows())
            keep = f"--event-map 'event_type={name}' with --event-types keeps them"
            intake.notes.append(f"orders that are no sales by column {name} were left out: {counts} ({keep})")
            intake.restrict(~out, "orders that are no sales left out")


def _add_times(intake: Intake, window: Window, now: datetime | None) -> None:
    """The time column; rows outside the window are forgotten before anything else is looked at."""
    moments = add_time(intake, "timestamp", now)
    if moments.doubt is not None:
        source = intake.understood.get("timestamp", "timestamp")
        intake.stop("doubtful_timestamp", f"the times in column {source} {moments.doubt}.", column="timestamp")
        intake.report(0).raise_if_errors()
    intake.time_kind, asked = moments.kind, intake.layout.time_unit == "order"
    notes = {
        "order": f"timestamps are {'taken as ' if asked else ''}bare counters: "
        "only the order of a user's events is known"
        + ("" if asked else " (if they are times, say so with --time-unit or --date-format)"),
        "day": "all timestamps are midnights: days are known, times of day are not",
        "real": None,
    }
    clock = _clock(intake) if moments.kind == "day" else None
    intake.notes += filter(None, [moments.span, notes[moments.kind], clock, moments.note])
    bad = moments.bad
    if moments.kind != "order":
        intake.span = time_span(moments.values)
    since, until = window["since"], window["until"]
    if since or until:
        if moments.kind == "order":
            raise InvalidDataError(
                f"{intake.source} holds bare counters instead of times, so --since and --until mean nothing; "
                "leave them out."
            )
        inside = pl.repeat(True, len(bad), dtype=pl.Boolean, eager=True)
        if since:
            inside &= (moments.values >= since).fill_null(True)
        if until:
            inside &= (moments.values < until).fill_null(True)
        bad = bad.filter(inside)
        intake.restrict(inside, "events outside the time window left out")
    intake.add_faults()
    message = (
        "timestamp {value} is no time like the others; write all of them in one form, such as 2017-01-31T14:05:00Z, or "
        "name the form with --date-format or --time-unit."
    )
    if moments.unit not in (None, "counter") and not bad.all():
        message = (
            f"timestamp {{value}} is no time like the others, which are {moments.form}; write all of them in that form."
        )
    if intake.layout.date_format is not None:
        message = (
            f"timestamp {{value}} is not of the form {intake.layout.date_format}, as it was named now or at an earlier "
            "ingest; name its own with --date-format."
        )
    intake.add("bad_timestamp", bad, message, column="timestamp", values=intake.column("timestamp"))
    missing = intake.columns["timestamp"].is_null() & ~bad
    intake.add("missing_timestamp", missing, "the event has no timestamp; give it one.", column="timestamp")


def _clock(intake: Intake) -> str | None:
    """That times of day stand in a column of their own, where they do."""
    for name in intake.unmapped():
        some = sample(intake.raw[name])
        if not some.dtype.is_nested() and len(some) and parsing.text(some).str.contains(CLOCK).all():
            source = intake.understood["timestamp"]
            return (
                f"column {name} holds times of day, which are not read; write {source} and {name} into one column, as "
                "in 2017-01-31 14:05"
            )
    return None


def _add_event_type(intake: Intake, words: EventWords, default: str) -> pl.Series:
    """Canonical event types; returns the mask of returns, which are no positive interaction."""
    if "event_type" not in intake.mapping:
        note = f"no column holds event_type: every event counts as {default}"
        named = [name for name in intake.raw.columns if ORDERS.match(name)]
        orders = intake.format == GENERIC and named and default == "view"
        stars = next((name for name in intake.unmapped() if plain(name) in RATINGS), None)
        if orders:
            note += f" (by {named[0]} they may be orders: --event-type purchase)"
        elif intake.format == GENERIC and stars is not None and default == "view":
            note += f" (by {stars} they may be ratings: --event-type rating --event-map 'value={stars}')"
        intake.notes.append(note)
    raw = parsing.text(intake.column("event_type"))
    types = words.types(raw.fill_null(default))
    unknown = types.is_null()
    message = (
        f"event_type {{value}} is not known; use one of {', '.join(EVENT_TYPES)}, or say what it stands for with "
        "--event-types WORD=TYPE (WORD=skip leaves its events out)."
    )
    intake.add("unknown_event_type", unknown, message, column="event_type", values=raw)
    if unknown.any():
        counts = raw.filter(unknown).value_counts(sort=True).rows()
        intake.notes.append(f"event_type: unknown words: {counted(counts)}")
    if "event_type" in intake.mapping:
        message = f"the event has no event_type; it counts as {default}."
        missing = raw.is_null()
        intake.add("missing_event_type", missing, message, column="event_type", severity="warning", drop=False)
    intake.columns["event_type"] = types
    negative = (intake.columns["quantity"] < 0).fill_null(False)
    returned = (types == "return").fill_null(False) | negative
    message = "the event is a return (by its type or a negative quantity), no positive interaction; it was left out."
    intake.add("returned_item", returned, message, column="event_type", severity="warning")
    return returned


def _finish_events(
    intake: Intake, item_ids: pl.Series | None, attributes: pl.Series | None, returned: pl.Series, window: Window
) -> ReadResult:
    users, items = intake.columns["user_id"], intake.columns["item_id"]
    missing = users.is_null() & ~returned
    message = "the event has no user_id; give it one."
    if intake.format == GENERIC and "session_id" in intake.mapping and "|" not in intake.mapping["user_id"]:
        own, session = (intake.mapping[name] for name in ("user_id", "session_id"))
        message = f"{message[:-1]}, or take each session for a user with --event-map "
        message += f"'user_id={own}|{session},session_id={session}'."
    intake.add("missing_user_id", missing, message, column="user_id")
    needs_item = ~intake.columns["event_type"].is_in(list(ITEMLESS_EVENT_TYPES)).fill_null(False)
    missing = items.is_null() & needs_item & ~returned
    intake.add("missing_item_id", missing, "the event names no item; give it an item_id.", column="item_id")
    remedies = _check_items(intake, item_ids, attributes, returned)
    rows = len(returned)
    order = _order(intake)
    intake.steps.append(Step("returns left out", rows, rows - int(returned.sum())))
    intake.steps.append(Step(PROBLEM_ROWS, intake.steps[-1].rows_out, len(order)))
    if len(order) == 0:
        intake.stop("no_events", no_events(intake.groups, rows, intake.steps, intake.span, remedies))
    intake.report(len(order)).raise_if_errors()
    # Attributes are the heaviest column: they are built last, in the final order, so that they are never copied.
    intake.take(order)
    intake.add_attributes(order)
    return intake.finish(intake.frame(), window=window)


def _order(intake: Intake) -> pl.Series:
    """Rows that stay, by user, time and position; ties keep file order. Sorting one range of users at a time."""
    keys = ["user_id", "timestamp", "position"]
    table = pl.DataFrame([intake.columns[name].alias(name) for name in keys]).with_row_index("row")
    users = intake.columns["user_id"]
    some = spread(users.filter(~intake.dropped), SAMPLE).sort()
    bounds = some.gather_every(max(1, len(some) * SORTED // max(1, len(users)))).unique(maintain_order=True)[1:]
    parts = []
    for first, end in zip([None, *bounds], [*bounds, None], strict=True):
        part = ~intake.dropped
        part = part if first is None else part & (users >= first)
        part = part if end is None else part & (users < end)
        parts.append(table.filter(part).sort(keys, maintain_order=True, nulls_last=True)["row"])
    return pl.concat(parts)


def _check_items(
    intake: Intake, item_ids: pl.Series | None, attributes: pl.Series | None, returned: pl.Series
) -> dict[str, str]:
    """Report items that the catalog lacks, and how more of them would be in it; the remedies by code."""
    if item_ids is None:
        intake.notes.append("items were not checked against a catalog")
        return {}
    items, known = intake.columns["item_id"], parsing.identifiers(item_ids).unique()
    missed = ~items.is_in(known.implode()).fill_null(True) & ~returned
    if not missed.any():
        return {}
    items = items.set(returned, None)
    origins = intake.origins["item_id"]
    # A column that is read as something else, such as the user, only matches by chance.
    others = intake.raw.filter(items.is_not_null()).select(intake.unmapped())
    named = [Origin(intake.source_column(origin.column), origin.transforms) for origin in origins]
    matches = near_matches(items, known, named, others, attributes)
    proposed = proposal(matches, len(items) - items.null_count())
    message = f"item {{value}} is not in the catalog; {proposed or 'add the item or correct the event'}."
    intake.add("unknown_item", missed, message, column="item_id", values=items)
    return {"unknown_item": proposed}


def time_span(moments: pl.Series) -> Span | None:
    """The first and the last of some times."""
    first, last = moments.min(), moments.max()
    return (first, last) if isinstance(first, datetime) and isinstance(last, datetime) else None

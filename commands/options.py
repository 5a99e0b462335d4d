"""Options that several commands share, and the readers of their values."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast, get_args

import click

from ..catalog.layout import Level, TimeUnit
from ..errors import InvalidDataError, UsageError
from ..workflows.typed_lists import names

if TYPE_CHECKING:
    from ..catalog.sessions import SessionSettings
    from ..workflows.ingest import ReadOptions

F = TypeVar("F", bound=Callable[..., Any])
Files: TypeAlias = str | list[str] | None
SessionMode: TypeAlias = Literal["auto", "gap", "per_user", "given"]


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in the order in which help shows them."""
    return lambda function: functools.reduce(lambda made, option: option(made), reversed(options), function)


def choice(name: str, values: Sequence[str], help: str, optional: bool = False) -> Callable[[F], F]:
    """An option that takes one of `values`; by default the first, or none where it is optional."""
    default = None if optional else values[0]
    return click.option(name, type=click.Choice(values), default=default, show_default=not optional, help=help)


dry_run = click.option("--dry-run", is_flag=True, help="Check everything and say what would be done; change nothing.")
force = click.option("--force", is_flag=True, help="Make a new version even where an equal one exists.")
reason = click.option("--reason", help="Why, for the history.")
items_ref = click.option("--items", metavar="REF", help="Item snapshot (default: the newest).")
# How far the items of a list differ.
spread_out = together(
    click.option(
        "--diversity",
        type=click.FloatRange(0, 1),
        default=0.0,
        show_default=True,
        help="Trade score for difference between the items of the list: 0 goes by score alone.",
    ),
    click.option(
        "--near",
        type=click.FloatRange(0, 1, min_open=True),
        metavar="COSINE",
        help="Pass over items whose content is as near as this to one before them, 0.95 for variants; by default none.",
    ),
)
filtered = click.option(
    "--filter",
    metavar="TEXT",
    help="What may be shown, such as \"price<=50 and category in ('garden > hoses')\" (docs/filters.md).",
)
events_ref = click.option("--events", metavar="REF", help="Event snapshot (default: the newest).")


def table_files(name: str, help: str, required: bool = False) -> Callable[[F], F]:
    """An option that names the file of a table, or several of them: repeated, or as a pattern."""

    def files(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> Files:
        return list(given) if len(given) > 1 else given[0] if given else None

    more = f"{help} Repeatable, or a pattern in quotes."
    return click.option(name, metavar="FILE", multiple=True, required=required, callback=files, help=more)


def how_many(default: int, help: str = "How many items.") -> Callable[[F], F]:
    """`-k` or `--k`: a number of items, at least one."""
    return click.option("-k", "--k", "k", type=click.IntRange(min=1), default=default, show_default=True, help=help)


def moment(text: str) -> datetime:
    """A day or a moment in ISO 8601; UTC where it names no zone."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no date; write it like 2017-07-01 or 2017-07-01T12:00:00Z.") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def duration(text: str) -> timedelta:
    """A span of time, such as `7d`, `12h`, `90m` or `30s`."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhdw])", text.strip().lower(), re.ASCII)
    if match is None:
        raise click.BadParameter(f"{text!r} is no span of time; write it like 7d, 12h, 90m or 30s.")
    return timedelta(**{_SPANS[match[2]]: float(match[1])})


def span(seconds: float) -> str:
    """The same as it would be written, in the largest unit that goes into it: 604,800 seconds are `7d`."""
    sizes = {"d": 86_400, "h": 3_600, "m": 60}
    unit = next((name for name, size in sizes.items() if seconds % size == 0), "s")
    return f"{seconds / sizes.get(unit, 1):.15g}{unit}"


_SPANS = {span[0]: span for span in ("seconds", "minutes", "hours", "days", "weeks")}


def cutoffs(text: str) -> tuple[int, ...]:
    """One or several list lengths, such as `10` or `10,20,100`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{text!r} is no list length; write it like 10 or 10,20,100.")
    return tuple(dict.fromkeys(int(part) for part in parts))


def protocol_options(*more: Callable[[Any], Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """How a number is measured, as one `protocol` that the command takes; `more` are further fields of it."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> None:
            # pydantic is loaded only by commands that measure.
            from pydantic import ValidationError

            from ..evaluation.protocols import Protocol

            fields = {name: options.pop(name) for name in _PROTOCOL if name in options}
            try:
                protocol = Protocol(name=options.pop("protocol"), **fields)
            except ValidationError as error:
                problems = (str(e["msg"]).removeprefix("Value error, ") for e in error.errors())
                raise click.UsageError("; ".join(problems)) from error
            function(*args, protocol=protocol, **options)

        add_options: Callable[[Any], Any] = together(_protocol_options, *more)
        return add_options(run)  # type: ignore[no-any-return]

    return add


_PROTOCOL = ("exclude_seen", "test_from", "test_until", "ks", "part")
_protocol_options = together(
    choice("--protocol", ("leave-one-out", "temporal"), "How the test is split off."),
    click.option("--exclude-seen", is_flag=True, help="Leave items of the history out of the ranking."),
    click.option("--test-from", type=moment, metavar="DATE", help="With --protocol temporal: where the test begins."),
    click.option("--test-until", type=moment, metavar="DATE", help="With --protocol temporal: where the test ends."),
)


# How tables are read: pictures and column mappings; `read_options` takes their values.
reading_options = together(
    click.option("--images", metavar="DIR", help="Folder of the pictures (default: the items file's folder)."),
    click.option(
        "--map",
        "item_map",
        metavar="MAP",
        help="Item columns as CANONICAL=SOURCE, such as title=name,price=cost; or a YAML file.",
    ),
    click.option("--event-map", metavar="MAP", help="Event columns, written like --map."),
    click.option("--event-type", default="view", show_default=True, help="Type of events where no column names one."),
    click.option(
        "--event-types",
        metavar="MAP",
        help="Words of the file as WORD=TYPE, such as clicks=view,remove_from_cart=skip; skip leaves events out.",
    ),
    click.option(
        "--format",
        multiple=True,
        metavar="NAME",
        help="Format of a table where its columns tell a wrong one; repeatable.",
    ),
    choice("--level", get_args(Level), "What an item is where products have variants."),
    click.option("--no-header", "header", is_flag=True, default=True, flag_value=False, help="No line names columns."),
    click.option("--columns", metavar="NAMES", help="Names for the columns of a file without header, as a,b,c."),
    click.option("--encoding", metavar="NAME", help="Encoding of text that is no UTF-8, such as cp1252."),
    click.option("--date-format", metavar="FORMAT", help="How times are written, such as %d/%m/%Y."),
    choice(
        "--time-unit", get_args(TimeUnit), "Unit of times as numbers; excel is days, order only counts.", optional=True
    ),
)
# How tables are read and taken in: also bad rows, time window, sessions.
ingest_options = together(
    reading_options,
    choice("--on-error", ("fail", "skip"), "Stop at bad rows, or leave them out."),
    click.option("--download-images", is_flag=True, help="Fetch pictures that are addresses into the workspace, once."),
    click.option("--since", type=moment, metavar="DATE", help="Only events from this moment on."),
    click.option("--until", type=moment, metavar="DATE", help="Only events before this moment."),
    choice(
        "--sessions",
        get_args(SessionMode),
        "How events are cut into sessions (default: auto, that is gap where times of day are known).",
        optional=True,
    ),
)
# Settings of a training, which `read_config` takes.
config_options = together(
    click.option("--config", metavar="FILE", help="Settings as YAML or JSON."),
    click.option(
        "--set", "settings", metavar="KEY=VALUE", multiple=True, help="One setting, over --config; repeatable."
    ),
)


def read_options(given: Mapping[str, Any]) -> ReadOptions:
    """What `reading_options` or `ingest_options` gathered, as the keywords of the workflows; other options stay."""
    maps = {"item_map": read_map(given["item_map"], "items"), "event_map": read_map(given["event_map"], "events")}
    layout = {
        "columns": names(given["columns"]) or None,
        "event_types": None if given["event_types"] is None else read_pairs(given["event_types"], "WORD=TYPE"),
        "format": given["format"] or None,
    }
    return cast("ReadOptions", {**given, **maps, **layout, "sessions": read_sessions(given.get("sessions"))})


def read_pairs(text: str, form: str) -> dict[str, str]:
    """`a=b,c=d` as a dict; `form` says what is wanted where it is not so written."""
    pairs = [part.rpartition("=") for part in names(text)]
    wrong = next((name for name, equals, value in pairs if not (name.strip() and equals and value.strip())), None)
    if wrong is not None:
        raise UsageError(f"{wrong!r} stands without its other half; write {form}, several with commas between them.")
    return {name.strip(): value.strip() for name, _, value in pairs}


def read_map(text: str | None, kind: Literal["items", "events"]) -> dict[str, str] | None:
    """The overrides of a `--map` option, None where it was not given."""
    if text is None:
        return None
    from ..catalog.mapping import load_mapping, parse_map_option

    is_file = Path(text).suffix.lower() in (".yaml", ".yml") and "=" not in text
    return load_mapping(text, kind) if is_file else parse_map_option(text)


def read_sessions(mode: SessionMode | None) -> SessionSettings | None:
    """Session settings of that mode, None where it was not given."""
    if mode is None:
        return None
    from ..catalog.sessions import SessionSettings

    return SessionSettings(mode=mode)


def read_config(path: str | None, settings: tuple[str, ...]) -> dict[str, Any] | None:
    """The settings of a training, None where none were given; `a.b=1` sets a nested key."""
    if path is None and not settings:
        return None
    from ..configs import read_config_file, read_text

    content = {} if path is None else read_config_file(Path(path), "config file", "seed: 5")
    if not isinstance(content, Mapping):
        raise InvalidDataError(f"{path} holds no settings; write lines such as 'seed: 5'.")
    config: dict[str, Any] = dict(content)
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{text!r} sets nothing; write KEY=VALUE, as in --set training.max_epochs=20.")
        *outer, last = name.strip().split(".")
        inner = config
        for key in outer:
            inner[key] = dict(inner[key]) if isinstance(inner.get(key), Mapping) else {}
            inner = inner[key]
        quote = "quote it, as in --set 'key=\"text\"'"
        inner[last] = read_text(value, f"The value in {text!r} cannot be read", quote, UsageError)
    return config

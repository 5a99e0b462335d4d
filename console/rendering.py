"""From what a page found to its HTML: templates that escape everything, and the words and numbers in them."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.types import Scope

from ..errors import HubspokeError
from ..results import jsonable
from ..serving.problems import problem_of
from ..version import __version__

HERE = Path(__file__).parent
STATIC = HERE / "static"
SHORT = 90  # letters of a title in a list
SMALL = 0.00005  # numbers below would be shown as none at all
_BACKTICKS = re.compile(r"`([^`]+)`")
_CREDENTIALS = re.compile(r"(://)[^/\s:@]*:[^@\s]*@")
_log = logging.getLogger("hubspoke.console")


def page(request: Request, template: str, status: int = 200, **found: Any) -> HTMLResponse:
    """A page, or a part of one, of what was found."""
    return HTMLResponse(_render(request.scope, template, found), status)


@cache
def read_templates() -> None:
    """Compile every template, so that nobody's first page waits for it."""
    environment = _environment()
    for name in environment.list_templates():
        environment.get_template(name)


def error_page(scope: Scope, error: Exception) -> Response:
    """What went wrong, in one sentence that ends in the remedy; a part of a page where a part was asked for."""
    problem = problem_of(error)
    told = str(error) if isinstance(error, HubspokeError) else problem.detail
    if isinstance(error, RequestValidationError):
        told = f"{problem.detail[:1].upper()}{problem.detail[1:]}"
    is_part = any(name == b"hx-request" for name, _ in scope["headers"])
    found = {"status": problem.status, "title": HTTPStatus(problem.status).phrase, "told": without_secrets(told)}
    content = _render(scope, "parts/error.html" if is_part else "error.html", found)
    return HTMLResponse(content, problem.status, {**problem.headers})


def without_secrets(text: str) -> str:
    """A sentence without the user and password of an address."""
    return _CREDENTIALS.sub(r"\1***@", text)


def _render(scope: Scope, template: str, found: Mapping[str, Any]) -> str:
    desk, visitor = scope["desk"], scope["visitor"]
    common = {
        "version": __version__,
        "visitor": visitor,
        "access": desk.access,
        "form_token": desk.access.form_token(visitor),
        "allow_changes": desk.settings.allow_changes,
        "here": scope["path"],
        "static": lambda name: address(scope, ["static", *name.split("/")], {"v": _stamp(name)}),
        "path": lambda *parts, **query: address(scope, parts, query),
    }
    return _environment().get_template(template).render({**common, **found})


def address(scope: Scope, parts: Sequence[Any], query: Mapping[str, Any]) -> str:
    """An address of the console; `None` in a query is left out, a list is repeated."""
    where = "/".join(quote(str(part), safe=":@/" if len(parts) == 1 else ":@") for part in parts)
    named = urlencode({name: value for name, value in query.items() if value is not None}, doseq=True)
    return f"{scope.get('root_path', '').rstrip('/')}/{where}" + (f"?{named}" if named else "")


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "short": short,
        "number": number,
        "bound": lambda value: f"{value:,g}",
        "coded": coded,
        "signed": lambda value: "-" if value is None else f"{value:+.4g}",
        "moment": moment,
        "ago": ago,
        "duration": duration,
        "percent": lambda value: f"{100 * value:.0f} %",
        "plain": plain,
        "plural": lambda count, word: f"{count:,} {word}{'' if count == 1 else 's'}",
        "spaced": lambda text: str(text).replace("_", " "),
        "without_secrets": without_secrets,
    }
    made.policies["json.dumps_function"] = lambda value, **how: json.dumps(jsonable(value), **how)
    return made


@cache
def _stamp(name: str) -> str:
    """The hash of a file that is shipped, so that a browser keeps it until it changes."""
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def short(text: Any, letters: int = SHORT) -> str:
    """A text on one line, cut where it is long."""
    line = " ".join(str(text)[: 4 * letters].split())
    return line if len(line) <= letters else f"{line[: letters - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"


def coded(text: Any) -> Markup:
    """A sentence in which what stands between backticks is a command or a name."""
    return Markup(_BACKTICKS.sub(r"<code>\1</code>", str(escape(text))))


def number(value: Any) -> str:
    """A number as people read it: whole ones in groups of three, others to four digits."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (value == int(value) and abs(value) >= 1000):
        return f"{value:,.0f}"
    if 0 < abs(value) < SMALL:
        return f"{value:.1e}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"


def plain(value: Any) -> str:
    """A value of a config or a result in words."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, datetime):
        return moment(value)
    return json.dumps(jsonable(value), ensure_ascii=False)


def moment(at: datetime | str | None) -> str:
    """A time in UTC to the minute."""
    if at is None:
        return "\N{EN DASH}"
    known = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{known.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def ago(at: datetime) -> str:
    """How long ago a time is."""
    return f"{duration(max(0.0, (datetime.now(UTC) - at.astimezone(UTC)).total_seconds()))} ago"


def duration(seconds: float | None) -> str:
    """Seconds in the largest unit that says enough."""
    if seconds is None:
        return "\N{EN DASH}"
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:.0f} s"

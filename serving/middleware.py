"""Around every request: its address, its body, its id, and one line of log that names nobody."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits import PICTURE_FACTOR
from .problems import ProblemError, problem_of
from .service import Service

BODY_SECONDS = 30
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_access = logging.getLogger("hubspoke.access")


class Door:
    """The outermost layer of the app."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = Visit(scope, send)
        scope = visit.scope
        scope["path"] = split_path(scope)
        scope["root_path"] = self._service.settings.root_path  # whether or not the proxy takes it off the path
        limit = self._service.settings.body_kb * 1000
        if scope["path"].endswith("/search"):
            limit *= PICTURE_FACTOR
        try:
            body = await read_body(scope, receive, limit)
            if body is not None:
                await self._app(scope, replay(body, receive), visit.send)
        except Exception as error:
            if visit.begun:  # half an answer cannot be taken back: the connection ends
                raise
            await problem_of(error).response()(scope, receive, visit.send)
        finally:
            self._tell(visit)

    def _tell(self, visit: Visit) -> None:
        seconds, metrics = time.perf_counter() - visit.started, self._service.metrics
        route, domain = visit.route, visit.domain(self._service)
        metrics.requests.labels(route, domain, str(visit.status)).inc()
        metrics.seconds.labels(route, domain).observe(seconds)
        if self._service.settings.access_log:
            _access.info(visit.line(domain, seconds))


class Visit:
    """One request on its way through the app."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.started, self._method, self._send = time.perf_counter(), scope["method"], send
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        self.id = given.decode() if _ID.fullmatch(given) else secrets.token_hex(8)
        self.scope = {**scope, "started": self.started, "method": "GET" if self._method == "HEAD" else self._method}
        self.status, self._bytes = 499, 0  # 499: whoever asked went away first
        self.begun = False  # whether some of the answer was sent

    async def send(self, message: Message) -> None:
        """Pass a message on: the head with the request's id, and to HEAD no body."""
        if message["type"] == "http.response.start":
            self.status, self.begun = message["status"], True
            message["headers"] = [*message["headers"], (b"x-request-id", self.id.encode())]
        elif self._method == "HEAD":
            message["body"] = b""
        self._bytes += len(message.get("body", b""))
        await self._send(message)

    @property
    def route(self) -> str:
        """The pattern of the address: the address itself may hold anybody's ids."""
        return getattr(self.scope.get("route"), "path", "none")

    def domain(self, service: Service) -> str:
        """The category that was asked; empty where there is none of that name, since names are labels of metrics."""
        name = self.scope.get("path_params", {}).get("domain", "")
        return name if name in service.residents.heads.domains else ""

    def line(self, domain: str, seconds: float) -> str:
        """The request in JSON, without an address of whom it came from, an item or a shopper."""
        found: dict[str, Any] = {
            "request_id": self.id,
            "method": self._method,
            "route": self.route,
            "domain": domain or None,
            "status": self.status,
            "ms": round(1000 * seconds, 2),
            "bytes": self._bytes,
            "key": self.scope.get("caller"),
            "release": self.scope.get("release"),
        }
        return json.dumps(found, ensure_ascii=False)


def split_path(scope: Scope) -> str:
    """The path decoded but for `%2F` and `%25`, so that a slash inside an id is not one between segments."""
    raw = scope.get("raw_path")
    if not raw or b"%" not in raw:
        return str(scope["path"])
    text = raw.split(b"?")[0].decode("ascii", "replace")
    return unquote(re.sub("%(?=25|2[Ff])", "%25", text))


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """The body of a request, None where whoever sends it goes away; a 413 where it is too large."""
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limit:
                    raise _too_large(limit)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise ProblemError(408, f"The body took more than {BODY_SECONDS} seconds; send it at once.") from None


def replay(body: bytes, receive: Receive) -> Receive:
    """A stream of messages that begins with a body that was read already."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return again


def _too_large(limit: int) -> ProblemError:
    # What was not read yet would be taken for the next request.
    return ProblemError(413, f"The request has more than {limit} bytes; send less at once.", {"Connection": "close"})

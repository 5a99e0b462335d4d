"""Around every page: the name it is asked under, who asks, the size of what is sent, and the headers of safety."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..serving.middleware import read_body, replay
from ..serving.problems import ProblemError
from ..serving.settings import is_loopback
from .access import COOKIE, VISIT_SECONDS
from .desk import Desk
from .rendering import error_page
from .settings import BODY_BYTES, ConsoleSettings

METHODS = ("GET", "HEAD", "POST")
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SAFETY: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_STATIC = re.compile(r"/static/[A-Za-z0-9._/-]+$")


class Door:
    """The outermost layer of the console."""

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self._app, self._desk = app, desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        visitor = self._desk.access.visitor(_cookie(headers), headers)
        scope = {**scope, "visitor": visitor, "desk": self._desk}
        begun = False

        async def safely(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._add_headers(scope, MutableHeaders(scope=message))
            await send(message)

        try:
            require_known_host(self._desk.settings, headers.get("host", ""))
            if scope["method"] not in METHODS:
                raise ProblemError(405, "Pages are looked at and forms are sent; nothing else is done here.")
            body = await read_body(scope, receive, BODY_BYTES)
            if body is not None:
                await self._app(scope, replay(body, receive), safely)
        except Exception as error:
            if begun:
                raise
            await error_page(scope, error)(scope, receive, safely)

    def _add_headers(self, scope: Scope, headers: MutableHeaders) -> None:
        for name, value in SAFETY.items():
            headers[name] = value
        if _STATIC.search(scope["path"]):
            fresh = "v=" in scope.get("query_string", b"").decode("latin-1")
            headers["cache-control"] = "public, max-age=31536000, immutable" if fresh else "no-cache"
            return
        headers.setdefault("cache-control", "no-store")
        if scope["visitor"].is_new and "set-cookie" not in headers:
            headers.append("set-cookie", set_cookie(scope, self._desk.access.cookie(scope["visitor"].id)))


def set_cookie(scope: Scope, value: str, seconds: int = VISIT_SECONDS) -> str:
    """A cookie that scripts cannot read and other sites cannot send."""
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    path = scope.get("root_path", "") or "/"
    return f"{COOKIE}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


def require_known_host(settings: ConsoleSettings, host: str) -> None:
    """Refuse a name that is not ours: a page from elsewhere may have its own resolve to us (DNS rebinding)."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = ""
    if is_loopback(name) or name in settings.public_hosts:
        return
    # Whoever must sign in does so under one name, and other names are not sent the cookie.
    if settings.keys is not None and not settings.public_hosts:
        return
    # An address cannot be made to resolve elsewhere.
    open_by_address = not (settings.is_local or settings.public_hosts or settings.user_header)
    if open_by_address and (name == settings.host or re.fullmatch(r"[0-9.]+|[0-9a-f:]+", name)):
        return
    raise ProblemError(
        421, "This console is not reached by that name; ask on localhost, or start it with --public-host NAME."
    )


def _cookie(headers: Headers) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None

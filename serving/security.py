"""Who asks, and whether they may: a key in `Authorization: Bearer` or `X-API-Key`, good for some scopes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from .dependencies import Serving
from .keys import Scope
from .problems import ProblemError
from .settings import is_loopback

_BEARER = HTTPBearer(auto_error=False, description="A key made with `hubspoke key add`.")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key.")


@dataclass(frozen=True)
class Caller:
    """Who asks; without keys everybody is nobody in particular."""

    key: str | None


def needs(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """The check that a route for callers of this scope depends on."""

    async def check(
        request: Request,
        service: Serving,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        header: Annotated[str | None, Security(_HEADER)],
    ) -> Caller:
        if service.keys is None:
            caller = Caller(None)
            if scope == "admin" and not service.settings.is_local:
                raise ProblemError(403, "What serves is changed with a key alone; start the service with --keys FILE.")
            # A page from elsewhere may have its own name resolve to this machine (DNS rebinding).
            if scope == "admin" and not is_loopback(request.url.hostname or ""):
                raise ProblemError(
                    403, "Without keys what serves is changed on localhost alone; ask there, or start with --keys FILE."
                )
        else:
            secret = bearer.credentials if bearer else header
            if not secret:
                challenge = {"WWW-Authenticate": "Bearer"}
                raise ProblemError(
                    401, "This takes a key; send it as `Authorization: Bearer` or `X-API-Key`.", challenge
                )
            key = service.keys.find(secret)
            if key is None:
                challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
                raise ProblemError(401, "This key is not known here; ask whoever runs the service for one.", challenge)
            if scope not in key.scopes:
                raise ProblemError(403, f"The key {key.name!r} lacks the scope {scope!r}; ask for one that has it.")
            caller = Caller(key.name)
        request.scope["caller"] = caller.key  # for the log
        service.limiter.spend(caller.key or (request.client.host if request.client else ""))
        return caller

    return check


Reader = Annotated[Caller, Depends(needs("read"))]
Teller = Annotated[Caller, Depends(needs("events"))]
Admin = Annotated[Caller, Depends(needs("admin"))]

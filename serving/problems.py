"""What goes wrong as `application/problem+json` (RFC 9457): the status from the kind of error, the sentence as it is.

UsageError 400 · InvalidDataError 422 · NotFoundError 404 · QualityGateError, IncompatibleError, LockedError 409 ·
what the service itself lacks (a registry that cannot be reached, a damaged file, a missing package) 503.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ..errors import (
    CorruptArtifactError,
    HubspokeError,
    IncompatibleError,
    InvalidDataError,
    LockedError,
    NotFoundError,
    QualityGateError,
    SchemaVersionError,
    UsageError,
)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1
STATUS: Mapping[type[HubspokeError], int] = {
    UsageError: 400,
    NotFoundError: 404,
    QualityGateError: 409,
    IncompatibleError: 409,
    LockedError: 409,
    InvalidDataError: 422,
    CorruptArtifactError: 503,
    SchemaVersionError: 503,
    HubspokeError: 503,
}
_PYTHON = {
    "a valid tuple": "a list",
    "Tuple should": "The list should",
    "a valid dictionary or object to extract fields from": "an object",
    "Value error, ": "",
}
_UNWELL = "The service cannot answer this just now; its log says why, under the request id of this answer."
_log = logging.getLogger("hubspoke.serving")


class ProblemError(Exception):
    """An answer that says what went wrong, in one sentence that ends in the remedy."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, dict(headers or {}), more

    def to_dict(self) -> dict[str, Any]:
        """The members of the problem."""
        title = HTTPStatus(self.status).phrase
        return {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail, **self.more}

    def response(self) -> Response:
        """The answer over HTTP."""
        content = json.dumps(self.to_dict(), ensure_ascii=False).encode()
        return Response(content, self.status, self.headers, MEDIA_TYPE)


def busy(detail: str) -> ProblemError:
    """Too much at once: come again in a second."""
    return ProblemError(503, detail, {"Retry-After": str(RETRY_SECONDS)})


def problem_of(error: Exception) -> ProblemError:
    """The problem that an error is to whoever asked."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, HubspokeError):
        status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
        own: dict[str, Any] = {"error": type(error).__name__, "exit_code": error.exit_code}
        if status < 500:
            return ProblemError(status, str(error), **own)
        # A sentence about this machine is for whoever runs it.
        _log.error("%s: %s", type(error).__name__, error)
        return ProblemError(status, _UNWELL, {"Retry-After": str(RETRY_SECONDS)}, **own)
    if isinstance(error, RequestValidationError):
        return invalid(error.errors())
    if isinstance(error, HTTPException):
        return ProblemError(error.status_code, _sentence(error), error.headers)
    _log.error("an error that nobody foresaw", exc_info=error)
    return ProblemError(500, _UNWELL)


def invalid(errors: Sequence[Mapping[str, Any]]) -> ProblemError:
    """Every fault of a request with its place; what was sent is not repeated, since it may be anybody's secret."""
    faults = [{"at": "/".join(map(str, one["loc"])), "message": _in_json(str(one["msg"]))} for one in errors]
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if faults[1:] else ""
    return ProblemError(422, f"{first['at']}: {first['message']}{more}; correct the request.", errors=faults)


def _sentence(error: HTTPException) -> str:
    if error.status_code == 404:
        return "There is nothing at this address; /docs lists every route."
    if error.status_code == 405:
        return "This address takes another method; /docs lists every route."
    return str(error.detail)


def add_handlers(app: FastAPI) -> None:
    """Let what is foreseen end as a problem; the door sees to the rest."""

    async def handle(_: Request, error: Exception) -> Response:
        return problem_of(error).response()

    for kind in (ProblemError, HubspokeError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)


def _in_json(message: str) -> str:
    """A fault of pydantic in the words of JSON rather than of Python."""
    for python, words in _PYTHON.items():
        message = message.replace(python, words)
    return message

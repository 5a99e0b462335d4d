"""What pages ask for by their types: the desk, a visitor who may look, one who may change, and the fields of a form."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Path, Query, Request
from fastapi.responses import RedirectResponse, Response

from ..errors import UsageError
from ..registry.records import DomainRecord
from ..serving.problems import ProblemError
from .access import Visitor
from .desk import Desk
from .rendering import address

MAX_FIELDS = 60
MAX_WORDS = 200  # letters of what is looked for
MAX_REF = 200
TOKEN_FIELD = "form_token"


class SignInNeededError(ProblemError):
    """A page that is not shown to just anybody."""

    def __init__(self) -> None:
        super().__init__(401, "Sign in to look at this.")


async def _desk(request: Request) -> Desk:
    found: Desk = request.scope["desk"]
    return found


async def _looking(request: Request) -> Visitor:
    visitor: Visitor = request.scope["visitor"]
    if not visitor.may_look:
        if visitor.signed_in:
            raise ProblemError(403, "This key may not look around here; ask for one of the scope `read`.")
        raise SignInNeededError()
    return visitor


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that one of our pages sent; a 403 for any other."""
    require_same_origin(request)
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise ProblemError(400, "The form cannot be read; send it from its page.") from error
    fields = dict(pairs)
    access = request.scope["desk"].access
    if not access.is_ours(request.scope["visitor"], fields.pop(TOKEN_FIELD, "")):
        raise ProblemError(403, "This form is not from a page of yours, or too old; open the page again and send it.")
    return fields


def require_same_origin(request: Request) -> None:
    """Refuse what a page of another site sends; browsers say which, others need a token all the same."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise ProblemError(403, "This form was sent by another site; send it from its page here.")
    if request.headers.get("sec-fetch-site") not in (None, "same-origin", "none"):
        raise ProblemError(403, "This form was sent by another site; send it from its page here.")


Form = Annotated[dict[str, str], Depends(read_form)]
DeskHere = Annotated[Desk, Depends(_desk)]
Looking = Annotated[Visitor, Depends(_looking)]


async def _changing(request: Request, visitor: Looking, _: Form) -> Visitor:
    if not request.scope["desk"].settings.allow_changes:
        raise ProblemError(403, "This console only shows; start it with --allow-changes to change something.")
    if not visitor.may_change:
        raise ProblemError(403, "Sign in with a token or key that may change things, then send the form again.")
    return visitor


Changing = Annotated[Visitor, Depends(_changing)]
Name = Annotated[str, Path(max_length=63)]
Words = Annotated[str, Query(max_length=MAX_WORDS)]
Ref = Annotated[str, Query(max_length=MAX_REF)]


def _known(desk: DeskHere, _: Looking, domain: Name) -> DomainRecord:
    return desk.workspace.registry.domains.get(domain)


Category = Annotated[DomainRecord, Depends(_known)]


def go(request: Request, *parts: str, **query: str) -> Response:
    """To another page."""
    return RedirectResponse(address(request.scope, parts, query), 303)


def whole(text: str, name: str, most: int, least: int = 1) -> int:
    """A whole number of a form."""
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        raise UsageError(f"{name} is {text[:40]!r}; give a whole number from {least} to {most}.")
    return int(text)

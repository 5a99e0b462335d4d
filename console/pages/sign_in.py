"""Signing in with a key or the token that the console told when it started, and signing out."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from ...serving.problems import ProblemError
from ..asking import DeskHere, Form, go
from ..door import set_cookie
from ..rendering import page

router = APIRouter()
MAX_SECRET = 300


@router.get("/sign-in")
def sign_in(request: Request) -> HTMLResponse:
    """The form."""
    return page(request, "sign_in.html", wrong=False)


@router.post("/sign-in")
def signed_in(request: Request, desk: DeskHere, form: Form) -> Response:
    """Look at what was shown."""
    if not desk.access.takes_sign_in:
        raise ProblemError(403, "There is nothing to sign in with here; start the console with --allow-changes.")
    cookie = desk.access.sign_in(form.get("secret", "").strip()[:MAX_SECRET])
    if cookie is None:
        return page(request, "sign_in.html", 401, wrong=True)
    answer = go(request, "")
    answer.headers["set-cookie"] = set_cookie(request.scope, cookie)
    return answer


@router.post("/sign-out")
def signed_out(request: Request, _: Form) -> Response:
    """Forget who looks."""
    answer = go(request, "")
    answer.headers["set-cookie"] = set_cookie(request.scope, "", 0)
    return answer

"""Lists for shoppers."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from .. import answers
from ..dependencies import Domain, Serving
from ..schemas import RecommendBody
from ..security import Reader
from .answering import answer

router = APIRouter(tags=["recommend"])


@router.post("/v1/domains/{domain}/recommend", response_class=Response)
async def recommend(domain: Domain, body: RecommendBody, request: Request, service: Serving, _: Reader) -> Response:
    """The items to show after a session, or to a known shopper.

    To a shopper of whom nothing is known it is what is popular with newcomers or new, and `fallback` says why.
    """
    return await answer(request, service, domain, body.alias, partial(answers.recommend, body=body))

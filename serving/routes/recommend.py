"""Lists for shoppers."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from .. import answers
from ..dependencies import Domain, Serving
from ..schemas import BatchBody, ExplainBody, RankBody, RecommendBody, SearchBody
from ..security import Reader
from .answering import answer, answer_shopper

router = APIRouter(tags=["recommend"])


@router.post("/v1/domains/{domain}/recommend", response_class=Response)
async def recommend(domain: Domain, body: RecommendBody, request: Request, service: Serving, _: Reader) -> Response:
    """The items to show after a session, or to a known shopper.

    To a shopper of whom nothing is known it is what is popular with newcomers or new, and `fallback` says why.
    """
    return await answer_shopper(request, service, domain, body, partial(answers.recommend, body=body))


@router.post("/v1/domains/{domain}/recommend:batch", response_class=Response)
async def batch(domain: Domain, body: BatchBody, request: Request, service: Serving, _: Reader) -> Response:
    """Several lists at once, in the order of the requests, by one release.

    A request that cannot be answered is a problem in its place and none of the others'.
    """
    return await answer(request, service, domain, body.alias, partial(answers.batch, body=body))


@router.post("/v1/domains/{domain}/rank", response_class=Response)
async def rank(domain: Domain, body: RankBody, request: Request, service: Serving, _: Reader) -> Response:
    """Given items in the order in which a shopper would see them; `left_out` says why others are not shown."""
    return await answer_shopper(request, service, domain, body, partial(answers.rank, body=body))


@router.post("/v1/domains/{domain}/search", response_class=Response)
async def search(domain: Domain, body: SearchBody, request: Request, service: Serving, _: Reader) -> Response:
    """The items whose content is most like words, a picture, or both."""
    return await answer(request, service, domain, body.alias, partial(answers.search, body=body))


@router.post("/v1/domains/{domain}/explain", response_class=Response)
async def explain(domain: Domain, body: ExplainBody, request: Request, service: Serving, _: Reader) -> Response:
    """Why a shopper is shown what they are shown: every score taken apart."""
    return await answer_shopper(request, service, domain, body, partial(answers.explain, body=body), shown=False)

"""Items: what is known of one, and which are like it."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from ...registry.references import LIVE
from .. import answers
from ..dependencies import Domain, ItemId, Serving
from ..schemas import Alias, Count, SimilarBody
from ..security import Reader
from .answering import answer

router = APIRouter(tags=["items"])


OfAlias = Annotated[Alias, Query()]
OfLength = Annotated[Count, Query()]


@router.get("/v1/domains/{domain}/items/{item}", response_class=Response)
async def item(
    domain: Domain, item: ItemId, request: Request, service: Serving, _: Reader, alias: OfAlias = LIVE
) -> Response:
    """What is known of an item; `not_shown` says why it is in no list."""
    return await answer(request, service, domain, alias, partial(answers.item, item=item))


@router.get("/v1/domains/{domain}/items/{item}/similar", response_class=Response)
async def similar(
    domain: Domain, item: ItemId, request: Request, service: Serving, _: Reader, k: OfLength = 10, alias: OfAlias = LIVE
) -> Response:
    """The items nearest to one."""
    work = partial(answers.similar, item=item, body=SimilarBody(k=k))
    return await answer(request, service, domain, alias, work)


@router.post("/v1/domains/{domain}/items/{item}/similar", response_class=Response)
async def similar_as(
    domain: Domain, item: ItemId, body: SimilarBody, request: Request, service: Serving, _: Reader
) -> Response:
    """The items nearest to one, with more said of what is wanted."""
    return await answer(request, service, domain, body.alias, partial(answers.similar, item=item, body=body))

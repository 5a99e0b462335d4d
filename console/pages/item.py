"""A product: its picture and everything that the snapshot says of it, at full length."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from ...errors import NotFoundError
from ...serving.limits import MAX_ID
from ..asking import Category, DeskHere, Words
from ..rendering import page

router = APIRouter()
FOUND = 60
ItemId = Annotated[str, Query(alias="id", max_length=MAX_ID)]


@router.get("/categories/{domain}/item")
def item(request: Request, desk: DeskHere, category: Category, item_id: ItemId) -> HTMLResponse:
    """The page of a product."""
    shelf = desk.shelf(category.name)
    if shelf is None:
        raise NotFoundError(f"{category.name} has no items yet; ingest a catalog first.")
    product = shelf.product(item_id)
    return page(
        request, "item.html", domain=category, shelf=shelf, product=product, everything=shelf.everything(product.row)
    )


@router.get("/categories/{domain}/items")
def items(request: Request, desk: DeskHere, category: Category, q: Words = "") -> HTMLResponse:
    """Products by words of their titles."""
    shelf = desk.shelf(category.name)
    products = [] if shelf is None else shelf.search(q, FOUND) if q.strip() else shelf.sample(FOUND)
    return page(request, "items.html", domain=category, shelf=shelf, products=products, q=q, limit=FOUND)

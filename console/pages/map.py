"""The map: products by how alike their content is; what lies under the pointer, and what a lasso holds."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from ...errors import NotFoundError, UsageError
from ..asking import Category, DeskHere
from ..desk import Desk
from ..maps import Drawing, draw
from ..rendering import page
from ..shelves import Product

router = APIRouter()
LISTED = 60
Rows = Annotated[str, Query(max_length=1000, pattern=r"^[0-9]+(,[0-9]+)*$")]


@router.get("/categories/{domain}/map")
def show(request: Request, desk: DeskHere, category: Category) -> HTMLResponse:
    """The page; the points come when it is there."""
    found: dict[str, Any] = {"domain": category, "live": desk.live(category.name)}
    return page(request, "map.html", **found)


@router.get("/categories/{domain}/map/legend")
def legend(request: Request, desk: DeskHere, category: Category) -> HTMLResponse:
    """The canvas with what its colours mean; a part of the page, which comes when the map is made."""
    drawing = drawing_of(desk, category.name)
    return page(request, "parts/map.html", domain=category, drawing=drawing, limit=LISTED)


@router.get("/categories/{domain}/map/points")
def points(desk: DeskHere, category: Category) -> Response:
    """The points: all x and y as two bytes each, then a byte each of category, price and coldness."""
    return Response(drawing_of(desk, category.name).points, media_type="application/octet-stream")


@router.get("/categories/{domain}/map/products")
def products(request: Request, desk: DeskHere, category: Category, rows: Rows) -> HTMLResponse:
    """The products of rows of the index; a part of the page."""
    ids = desk.recommender(live_of(desk, category.name)).item_ids
    wanted = [int(row) for row in rows.split(",")[:LISTED]]
    if any(row >= len(ids) for row in wanted):
        raise UsageError(f"The map has {len(ids)} products; it was made anew, so load the page again.")
    shelf = desk.shelf(category.name)
    found: list[Product] = shelf.find([ids[row] for row in wanted]) if shelf else []
    return page(request, "parts/products.html", products=found, shelf=shelf)


def live_of(desk: Desk, domain: str) -> str:
    """What is live in a category."""
    live = desk.live(domain)
    if live is None:
        raise NotFoundError(f"Nothing is live in {domain}, so there is no map; promote a version first.")
    return live


def drawing_of(desk: Desk, domain: str) -> Drawing:
    """The map of what is live."""
    recommender = desk.recommender(live_of(desk, domain))
    return desk.drawings.get(recommender, lambda: draw(desk.workspace, recommender))

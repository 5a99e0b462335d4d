"""Registered pictures, made small; nothing else of the disk has an address."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from ...errors import NotFoundError
from ..asking import Category, DeskHere
from ..thumbnails import MEDIA_TYPE, SIZES

router = APIRouter()
Number = Annotated[int, Path(ge=0, le=2**31)]


@router.get("/pictures/{domain}/{version}/{row}/{size}")
def picture(request: Request, desk: DeskHere, category: Category, version: Number, row: Number, size: int) -> Response:
    """The first picture of a row of a snapshot."""
    if size not in SIZES:
        raise NotFoundError(f"Pictures are {', '.join(map(str, SIZES))} pixels large; ask for one of these.")
    shelf = desk.shelf(category.name, f"snapshot:{category.name}/items/{version}")
    if shelf is None:
        raise NotFoundError(f"{category.name} has no items {version}.")
    root, name, sha256 = shelf.picture(row)
    # A row of a snapshot never changes.
    headers = {"cache-control": "private, max-age=604800, immutable", "etag": f'"{sha256}-{size}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(desk.thumbnails.get(root, name, sha256, size), headers=headers, media_type=MEDIA_TYPE)

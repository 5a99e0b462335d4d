"""How what serves came about, and what depends on it."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import unquote

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator

from ...results import SCHEMA_VERSION, jsonable
from ..dependencies import Serving
from ..limits import MAX_ID
from ..security import Reader

router = APIRouter(tags=["lineage"])
Ref = Annotated[
    str,
    Path(max_length=3 * MAX_ID, description="A reference, as it is or percent-encoded.", examples=["release:garden/2"]),
    AfterValidator(unquote),
]
View = Annotated[
    Literal["upstream", "downstream", "impact"],
    Query(description="What it was made from, what was made from it, or what must be made again if it changes."),
]
Live = Annotated[bool, Query(description="Of an impact only what serves now.")]


@router.get("/v1/lineage/{ref:path}")
async def lineage(ref: Ref, service: Serving, _: Reader, view: View = "upstream", live: Live = False) -> Response:
    """The lineage of a release, version, index or snapshot: that of `hubspoke lineage upstream|downstream|impact`."""

    def look() -> dict[str, Any]:
        store = service.workspace.lineage
        if view == "impact":
            return store.impact(ref, live).to_dict()
        return {"lineage": store.upstream(ref) if view == "upstream" else store.downstream(ref)}

    found = await service.executor.run(look)
    return JSONResponse({"schema_version": SCHEMA_VERSION, **jsonable(found)})

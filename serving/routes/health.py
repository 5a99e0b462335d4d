"""Whether the service lives, whether it is ready, and what it counts."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ..dependencies import Serving
from ..metrics import CONTENT_TYPE
from ..security import Reader

router = APIRouter(tags=["health"])


@router.get("/v2/health/live")
async def live() -> dict[str, bool]:
    """The process answers."""
    return {"live": True}


@router.get("/v2/health/ready", responses={503: {"description": "Still loading, or nothing could be loaded."}})
async def ready(service: Serving) -> JSONResponse:
    """Everything that is served was loaded once, and something answers."""
    failed = [str(place) for place in service.residents.failures]
    return JSONResponse({"ready": service.ready, "failed": failed}, 200 if service.ready else 503)


@router.get("/metrics", response_class=Response)
async def metrics(service: Serving, _: Reader) -> Response:
    """Counters in Prometheus's text format."""
    service.gauges()
    return Response(service.metrics.exposition(), media_type=CONTENT_TYPE)

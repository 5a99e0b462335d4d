"""How every route that asks a recommender answers: the resident of the moment, a thread, bytes."""

from __future__ import annotations

from fastapi import Request, Response

from ..answers import Asking, Work
from ..service import Service

JSON = "application/json"


async def answer(request: Request, service: Service, domain: str, alias: str, work: Work) -> Response:
    """What `work` makes of the recommender of an alias; one and the same from beginning to end."""
    resident = await service.residents.get(domain, alias)
    request.scope["release"] = resident.version.release  # for the log
    asking = Asking(resident, request.scope["started"], service.workspace, service.sessions)
    found = await service.executor.run(lambda: work(asking))
    if found.fallback:
        service.metrics.fallbacks.labels(domain, found.fallback).inc()
    return Response(found.content, media_type=JSON)

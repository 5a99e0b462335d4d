"""How every route that asks a recommender answers: the resident of the moment, a thread, bytes."""

from __future__ import annotations

from fastapi import Request, Response

from ..answers import Answered, Asking, Work
from ..experiments import Assignment
from ..schemas import ExplainBody, RankBody, RecommendBody
from ..service import Service

JSON = "application/json"
ForShopper = RecommendBody | RankBody | ExplainBody


async def answer(request: Request, service: Service, domain: str, alias: str, work: Work) -> Response:
    """What `work` makes of the recommender of an alias; one and the same from beginning to end."""
    return _sent(await _answered(request, service, domain, alias, work))


async def answer_shopper(
    request: Request, service: Service, domain: str, body: ForShopper, work: Work, shown: bool = True
) -> Response:
    """As `answer`, by the arm of the shopper where an experiment has them; what is `shown` to them is logged."""
    assignment = service.assigned(domain, body.alias, body.taken_for)
    found = await _answered(request, service, domain, body.alias, work, assignment)
    if assignment is not None and shown:
        release = request.scope["release"]
        service.exposures.add(domain, assignment.exposure(found.recommendation_id, release, found.items))
    return _sent(found)


async def _answered(
    request: Request, service: Service, domain: str, alias: str, work: Work, assignment: Assignment | None = None
) -> Answered:
    resident = await service.answering(domain, alias, assignment)
    request.scope["release"] = resident.version.release  # for the log
    asking = Asking(resident, request.scope["started"], service.workspace, service.sessions, assignment)
    found = await service.executor.run(lambda: work(asking))
    if found.fallback:
        service.metrics.fallbacks.labels(domain, found.fallback).inc()
    return found


def _sent(found: Answered) -> Response:
    return Response(found.content, media_type=JSON)

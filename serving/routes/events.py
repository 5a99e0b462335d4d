"""What shoppers do, as it happens."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from fastapi.responses import JSONResponse

from ...results import SCHEMA_VERSION
from ..dependencies import KnownDomain, Serving
from ..events import MAX_EVENTS, EventsTaken
from ..problems import ProblemError
from ..releases import Place
from ..security import Teller
from ..service import Service

router = APIRouter(tags=["events"])
EXAMPLES: Any = {
    "one": {"value": {"event_id": "6f1c", "user_id": "ann", "item_id": "1041", "event_type": "cart"}},
    "several": {
        "value": [
            {"user_id": "ann", "event_type": "search", "query": "hose", "timestamp": "2026-01-31T14:05:00Z"},
            {"user_id": "ann", "item_id": "977", "recommendation_id": "81b0", "timestamp": "2026-01-31T14:05:09Z"},
        ]
    },
}


@router.post("/v1/domains/{domain}/events", status_code=202, response_class=Response)
async def events(
    _: Teller, domain: KnownDomain, body: Annotated[Any, Body(openapi_examples=EXAMPLES)], service: Serving
) -> Response:
    """Take one event, or a list of them; what is accepted is in the log, and counts for the next recommendation.

    The category need not be served yet. Each event is looked at by itself; one that was accepted before (by its
    `event_id`) is a duplicate, so that a request may be sent again whenever its answer did not come. Where all are
    refused the answer is a 422 with the reasons.
    """
    given = body if isinstance(body, list) else [body]
    if len(given) > MAX_EVENTS:
        raise ProblemError(413, f"{len(given)} events came at once; send at most {MAX_EVENTS} in a request.")
    resident = service.residents.peek(Place(domain))
    knows = resident.recommender.catalog.row_of.__contains__ if resident else None
    taken = await service.executor.run(lambda: service.feeds.of(domain).take(given, knows))
    _count(service, taken)
    if taken.refused and len(taken.refused) == len(given):
        first = taken.refused[0]["reason"]
        raise ProblemError(422, f"No event could be taken; the first: {first}", refused=taken.refused)
    return JSONResponse({"schema_version": SCHEMA_VERSION, **taken.to_dict()}, 202)


def _count(service: Service, taken: EventsTaken) -> None:
    outcomes = {"accepted": taken.accepted, "duplicate": taken.duplicates, "refused": len(taken.refused)}
    for outcome, count in outcomes.items():
        service.metrics.events.labels(taken.domain, outcome).inc(count)

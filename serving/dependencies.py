"""What routes ask for by their types: the service, and parts of an address."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Path, Request
from pydantic import AfterValidator

from ..errors import NotFoundError
from .limits import MAX_ID
from .service import Service


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(_service)]
Domain = Annotated[str, Path(max_length=63, description="A category.", examples=["garden"])]


async def _known(domain: Domain, service: Serving) -> str:
    """The name of a category that is there; nothing of it need be served yet."""
    if domain not in service.residents.heads.domains:
        if service.settings.domains and domain not in service.settings.domains:
            raise NotFoundError(f"{domain!r} is not served here; GET /v1/domains lists what is.")
        await service.executor.run(lambda: service.workspace.registry.domains.get(domain))
    return domain


KnownDomain = Annotated[str, Depends(_known)]
# The middleware leaves `%2F` and `%25` of an address as they are, so that an id may hold a slash.
ItemId = Annotated[
    str,
    Path(max_length=3 * MAX_ID, description="An item, percent-encoded.", examples=["1041"]),
    AfterValidator(unquote),
]

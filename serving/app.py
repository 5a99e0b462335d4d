"""The FastAPI app over a service: routes, problems, and the door around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from ..version import __version__
from .middleware import Door
from .problems import MEDIA_TYPE, add_handlers
from .routes import ROUTERS
from .service import Service

PROBLEM = {
    "description": "What went wrong, in one sentence that ends in the remedy.",
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                },
            }
        }
    },
}
ABOUT = "Recommendations per product category. Errors are `application/problem+json`; times are in milliseconds."


def create_app(service: Service) -> FastAPI:
    """The app; the service starts and stops with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="hubspoke",
        version=__version__,
        description=ABOUT,
        redoc_url=None,
        redirect_slashes=False,
        responses={"4XX": PROBLEM, "5XX": PROBLEM},
        lifespan=lifespan,
    )
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    add_handlers(app)
    app.add_middleware(Door, service=service)
    return app

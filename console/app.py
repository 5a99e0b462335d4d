"""The FastAPI app of the console, to be mounted under `/console`, and the small one that does so by itself."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware

from ..errors import HubspokeError
from ..serving.problems import ProblemError
from ..workflows.workspace import Workspace
from .asking import SignInNeededError
from .desk import Desk
from .door import Door
from .pages import ROUTERS
from .rendering import STATIC, address, error_page, read_templates
from .settings import PREFIX, ConsoleSettings


def create_console(desk: Desk) -> FastAPI:
    """The pages over a desk."""
    app = FastAPI(title="hubspoke console", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    # Pages are not compressed: how long one is would tell of the token in it beside words that others put there.
    app.mount("/static", GZipMiddleware(StaticFiles(directory=STATIC)), name="static")
    read_templates()
    for router in ROUTERS:
        app.include_router(router)

    async def tell(request: Request, error: Exception) -> Response:
        if isinstance(error, SignInNeededError) and desk.access.takes_sign_in and request.method == "GET":
            return RedirectResponse(address(request.scope, ["sign-in"], {}), 303)
        return error_page(request.scope, error)

    for kind in (ProblemError, HubspokeError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, tell)
    app.add_middleware(Door, desk=desk)
    return app


def mount_console(app: FastAPI, desk: Desk) -> None:
    """Add the pages to an app, under `/console/`."""

    @app.get(PREFIX, include_in_schema=False)
    async def begin(request: Request) -> Response:
        return RedirectResponse(address(request.scope, [PREFIX[1:], ""], {}), 303)

    app.mount(PREFIX, create_console(desk))


def create_app(workspace: Workspace, settings: ConsoleSettings) -> FastAPI:
    """The console in a process of its own; `/` leads to it."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.desk = Desk(workspace, settings)

    @app.get("/")
    async def begin() -> Response:
        return RedirectResponse(f"{PREFIX}/", 303)

    mount_console(app, app.state.desk)
    return app

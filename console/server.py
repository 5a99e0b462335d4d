"""One process of the console by itself, and the console as a part of the service."""

from __future__ import annotations

from collections.abc import Callable

from ..serving.server import run_app
from ..workflows.workspace import Workspace
from .app import create_app
from .settings import PREFIX, ConsoleSettings


def serve_console(
    workspace: Workspace, settings: ConsoleSettings, listening: Callable[[str, str | None], None]
) -> None:
    """Show a workspace until the process is asked to end; `listening` is told the address and the token."""
    app = create_app(workspace, settings)
    token = app.state.desk.access.token
    run_app(app, settings.host, settings.port, lambda address: listening(f"{address}{PREFIX}/", token))

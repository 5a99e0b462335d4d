"""One process that serves: uvicorn on uvloop, logs as lines of JSON, a stop that lets answers end."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import uvicorn
from fastapi import FastAPI

from ..errors import HubspokeError
from ..workflows.workspace import Workspace
from .app import create_app
from .service import Service
from .settings import ServeSettings

# Longer than load balancers keep idle connections (60 s), which must be the ones to close them.
KEEP_ALIVE_SECONDS = 75
STOP_SECONDS = 30


class JsonLines(logging.Formatter):
    """A record as one line of JSON; a message that is JSON already is taken apart."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        found = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": record.levelname.lower()}
        message = record.getMessage()
        found |= json.loads(message) if record.name == "hubspoke.access" else {"message": message}
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps(found, ensure_ascii=False)


class Server(uvicorn.Server):
    """Says when it listens, and where."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[str], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Start the app and bind the port."""
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._listening(f"http://{f'[{host}]' if ':' in host else host}:{port}")


def serve(
    workspace: Workspace,
    settings: ServeSettings,
    listening: Callable[[str], None],
    extend: Callable[[FastAPI], None] = lambda _: None,
) -> None:
    """Serve until the process is asked to end; `listening` is told the address, `extend` adds to the app."""
    service = Service(workspace, settings)
    service.check()
    app = create_app(service)
    extend(app)
    run_app(app, settings.host, settings.port, listening)


def run_app(app: FastAPI, host: str, port: int, listening: Callable[[str], None]) -> None:
    """Answer by an app until the process is asked to end."""
    log_in_json()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = Server(config, listening)
    server.run()
    if not server.started:
        raise HubspokeError("The service could not start; the line above says why.")


def log_in_json() -> None:
    """Send the logs of the service and of uvicorn to stderr, a line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (("hubspoke", logging.INFO), ("uvicorn", logging.WARNING)):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
        log.setLevel(level)

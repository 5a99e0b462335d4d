"""A small shop on a real workspace, and the service over it."""

import http.client
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import uvicorn
from fastapi.testclient import TestClient
from hubspoke.demo.simulation import MarketplaceSettings, simulate_marketplace
from hubspoke.serving.app import create_app
from hubspoke.serving.server import Server
from hubspoke.serving.service import Service
from hubspoke.serving.settings import ServeSettings
from hubspoke.workflows.workspace import Workspace, open_workspace

HUB = {"text": {"name": "tiny"}, "image": {"name": "tiny"}, "contrastive": {"steps": 0}}
TRAINING = {"max_epochs": 2, "validate_every": 1, "negatives": 16}
SPOKE = {"transformer": {"dimension": 16}, "min_item_count": 3, "statistics": None, "training": TRAINING}


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two simulated categories of 40 products and 60 shoppers, with pictures."""
    sizes: Any = {"items_per_category": 40, "users": 60, "events_per_user": (4, 7), "image_size": 16}
    settings = MarketplaceSettings(categories=("lamps", "mugs"), **sizes)
    return simulate_marketplace(settings, tmp_path_factory.mktemp("market"))


@pytest.fixture(scope="session")
def shop_template(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, market: Any) -> Path:
    """A workspace: lamps:1 is live in release:lamps/1, lamps:2 the candidate in release:lamps/2, mugs on the hub."""
    folder = tmp_path_factory.mktemp("shop") / "shop"
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "registry.db")
    with open_workspace(environ={}, cwd=folder, workspace=folder, actor="tester") as ws:
        for name in ("lamps", "mugs"):
            ws.domain.add(name, market[name].items, market[name].events)
        ws.hub.train(domains=[], config=HUB)
        ws.spoke.train("lamps", config=SPOKE)
        ws.promote("lamps:1")
        ws.spoke.train("lamps", config=SPOKE | {"transformer": {"dimension": 8}})
        ws.promote("lamps:2", "candidate")
        ws.index.build("hub:1", domain="mugs")
        ws.promote("index:mugs/1")
    return folder


@pytest.fixture
def shop(tmp_path: Path, shop_template: Path) -> Iterator[Workspace]:
    """A copy of that workspace."""
    shutil.copytree(shop_template, tmp_path / "shop")
    with open_workspace(environ={}, cwd=tmp_path, workspace=tmp_path / "shop", actor="tester", threads=1) as opened:
        yield opened


@pytest.fixture
def serve(shop: Workspace) -> Iterator[Callable[..., TestClient]]:
    """Starts the service over the shop and hands over who asks it; it stops at the end of the test."""
    with ExitStack() as stack:

        def begin(**settings: Any) -> TestClient:
            app = create_app(Service(shop, ServeSettings(**{"poll_seconds": 0.05, "access_log": False} | settings)))
            return stack.enter_context(TestClient(app, base_url="http://localhost"))

        yield begin


@pytest.fixture
def client(serve: Callable[..., TestClient]) -> TestClient:
    """Who asks a service with ordinary settings."""
    return serve()


@dataclass(frozen=True)
class Running:
    """A service that listens on a port of this machine, in a thread of the test."""

    port: int
    service: Service

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, connection: Any = None) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        own = connection or self.connect()
        content = None if body is None else json.dumps(body)
        own.request(method, path, content, {"content-type": "application/json"} if content else {})
        answer = own.getresponse()
        read = answer.read()
        if connection is None:
            own.close()
        return answer.status, json.loads(read) if read else None

    def until(self, holds: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it never came to be"
            time.sleep(0.01)


@pytest.fixture
def listen(shop: Workspace) -> Iterator[Callable[..., Running]]:
    """Starts the service on a port and hands it over when it is ready; it stops at the end of the test."""
    with ExitStack() as stack:

        def begin(**settings: Any) -> Running:
            service = Service(shop, ServeSettings(**{"poll_seconds": 0.02, "access_log": False} | settings))
            listening: Queue[str] = Queue()
            config = uvicorn.Config(create_app(service), port=0, log_config=None, access_log=False, lifespan="on")
            server = Server(config, listening.put)
            thread = threading.Thread(target=server.run, daemon=True)
            thread.start()

            def stop() -> None:
                server.should_exit = True
                thread.join(60)
                assert not thread.is_alive()

            stack.callback(stop)
            made = Running(int(listening.get(timeout=30).rpartition(":")[2]), service)
            made.until(lambda: service.ready)
            return made

        yield begin

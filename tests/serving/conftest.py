"""A small shop on a real workspace, and the service over it."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from fastapi.testclient import TestClient
from hubspoke.demo.simulation import MarketplaceSettings, simulate_marketplace
from hubspoke.serving.app import create_app
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
            return stack.enter_context(TestClient(app, root_path=settings.get("root_path", "")))

        yield begin


@pytest.fixture
def client(serve: Callable[..., TestClient]) -> TestClient:
    """Who asks a service with ordinary settings."""
    return serve()

"""A small shop with hostile titles on a real workspace, and the console over it."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import polars as pl
import pytest
from fastapi.testclient import TestClient
from hubspoke.console.app import create_app
from hubspoke.console.settings import ConsoleSettings
from hubspoke.demo.simulation import MarketplaceSettings, simulate_marketplace
from hubspoke.workflows.workspace import Workspace, open_workspace

HUB = {"text": {"name": "tiny"}, "image": {"name": "tiny"}, "contrastive": {"steps": 0}}
TRAINING = {"max_epochs": 2, "validate_every": 1, "negatives": 16}
SPOKE = {"transformer": {"dimension": 16}, "min_item_count": 3, "statistics": None, "training": TRAINING}
SCRIPT = "<script>alert('owned')</script><img src=x onerror=alert(1)>"
RIGHT_TO_LEFT = "\u202eمصباح 🪔 {{ 7 * 7 }}"
LONG = "endless " * 1250  # 10 kB
HOSTILE = (SCRIPT, RIGHT_TO_LEFT, LONG.strip())
HOSTILE_ID = "\"><script>alert('owned')</script>"


@pytest.fixture(scope="session")
def console_template(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    """lamps:1 live, lamps:2 the candidate, both measured, a gate; mugs on the hub and behind; rugs without anything."""
    folder = tmp_path_factory.mktemp("console")
    sizes: Any = {"items_per_category": 40, "users": 60, "events_per_user": (4, 7), "image_size": 24}
    market = simulate_marketplace(MarketplaceSettings(categories=("lamps", "mugs"), **sizes), folder / "market")
    lamps, mugs = (pl.read_csv(market[name].items) for name in ("lamps", "mugs"))
    titles = [*HOSTILE, *lamps["title"].to_list()[len(HOSTILE) :]]
    lamps.with_columns(pl.Series("title", titles), pl.col("item_id").replace("lamps-0039", HOSTILE_ID)).write_csv(
        market["lamps"].items
    )
    events = pl.read_csv(market["lamps"].events)
    events.with_columns(pl.col("item_id").replace("lamps-0039", HOSTILE_ID)).write_csv(market["lamps"].events)
    place = folder / "shop"
    place.mkdir()
    shutil.copy(sqlite_template, place / "registry.db")
    with open_workspace(environ={}, cwd=folder, workspace=place, actor="tester") as ws:
        ws.domain.add("lamps", market["lamps"].items, market["lamps"].events, description="Lamps & <b>shades</b>")
        ws.domain.add("mugs", market["mugs"].items, market["mugs"].events)
        ws.domain.add("rugs")
        ws.hub.train(domains=[], config=HUB)
        ws.spoke.train("lamps", config=SPOKE)
        ws.spoke.train("lamps", config=SPOKE | {"transformer": {"dimension": 8}})
        ws.promote("lamps:2", "candidate")
        ws.evaluate.compare("lamps", ["lamps:1", "lamps:2", "popularity", "hub:1"])
        ws.index.build("hub:1", domain="mugs")
        ws.promote("index:mugs/1")
        newer = folder / "market" / "mugs" / "newer.csv"
        bad = mugs[30:32].with_columns(price=pl.lit(SCRIPT), item_id=pl.lit(""))
        pl.concat([mugs[:30].cast({"price": pl.String}), bad]).write_csv(newer)
        ws.data.ingest("mugs", newer, on_error="skip")
    return place


@pytest.fixture(scope="session")
def looked_at(console_template: Path) -> Iterator[Workspace]:
    """That workspace, for tests that change nothing."""
    folder = console_template.parent
    with open_workspace(environ={}, cwd=folder, workspace=console_template, actor="tester", threads=1) as opened:
        yield opened


@pytest.fixture
def changed(tmp_path: Path, console_template: Path) -> Iterator[Workspace]:
    """A copy of that workspace, for tests that change it."""
    shutil.copytree(console_template, tmp_path / "shop")
    with open_workspace(environ={}, cwd=tmp_path, workspace=tmp_path / "shop", actor="tester", threads=1) as opened:
        yield opened


def visit(workspace: Workspace, **settings: Any) -> TestClient:
    """Somebody who looks at a console over a workspace."""
    return TestClient(create_app(workspace, ConsoleSettings(**settings)), base_url="http://localhost")


@pytest.fixture(scope="session")
def visitor(looked_at: Workspace) -> TestClient:
    """Who looks at a console that changes nothing."""
    return visit(looked_at)


class Editor:
    """Somebody who signed in with the token, and sends forms as pages do."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.client = workspace, visit(workspace, allow_changes=True)
        self.token = self.client.app.state.desk.access.token  # type: ignore[attr-defined]

    def sign_in(self) -> None:
        answer = self.send("/console/sign-in", "/console/sign-in", secret=self.token)
        assert answer.status_code == 303, answer.text

    def form_token(self, page: str) -> str:
        found = re.search(r'name="form_token" value="([0-9a-f]+)"', self.client.get(page).text)
        assert found, page
        return found[1]

    def send(self, page: str, action: str, **fields: Any) -> Any:
        fields = {"form_token": self.form_token(page), **fields}
        return self.client.post(action, data=fields, follow_redirects=False)


@pytest.fixture
def editor(changed: Workspace) -> Editor:
    """Somebody who may change a copy of the workspace."""
    found = Editor(changed)
    found.sign_in()
    return found


Visit = Callable[..., TestClient]


@pytest.fixture(scope="session")
def open_console() -> Visit:
    """`visit`, for tests."""
    return visit

"""A small shop with hostile titles on a real workspace, and the console over it."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import polars as pl
import pytest
from fastapi.testclient import TestClient
from hubspoke.catalog.exposures import Arm, Exposure
from hubspoke.catalog.line_log import LineLog
from hubspoke.catalog.shopper_events import read_event
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
    """lamps:1 live, lamps:2 tried on shoppers beside it; mugs on the hub and behind; rugs without anything."""
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
        try_on_shoppers(ws)
    return place


def try_on_shoppers(ws: Workspace, shoppers: int = 240) -> None:
    """An experiment on lamps, over for everybody: half of the control's shoppers bought, all of the candidate's."""
    how: Any = {"window": timedelta(hours=1), "reason": "a <b>warmer</b> light"}
    own = ws.experiments.start("lamps", "release:lamps/2", **how).experiment
    lists, events = (LineLog(folder / "lamps") for folder in (ws.settings.exposures_dir, ws.settings.events_dir))
    now = datetime.now(UTC)
    at = now - timedelta(days=1)
    for n in range(shoppers):
        arm: Arm = "candidate" if n % 2 else "control"
        known: Any = {"experiment": own.ref, "release": getattr(own, arm), "propensity": 0.5, "arm": arm, "at": at}
        lists.append([Exposure(recommendation_id=f"r{n}", shopper=f"s{n}", items=("lamps-0000",), **known)])
        if n % 2 or n % 4 == 0:
            bought = {"user_id": f"s{n}", "event_type": "purchase", "item_id": "lamps-0000", "value": 10.0}
            events.append([read_event({**bought, "timestamp": at.isoformat()}, now)])


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

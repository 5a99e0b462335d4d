"""A small shop that the workflow tests share: files of a garden category, and workspaces on a fresh registry."""

import hashlib
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.demo.simulation import CategoryFiles, MarketplaceSettings, simulate_marketplace
from hubspoke.registry.migrate import upgrade
from hubspoke.registry.records import ModelRecord
from hubspoke.registry.store import Registry
from hubspoke.workflows.workspace import Workspace, open_workspace
from PIL import Image

ITEMS = """item_id,title,price,image
rose,Red rose,4.5,rose.png
fern,Green fern,7,
spade,Steel spade,19.9,spade.png
pot,Clay pot,3,
"""
# ann has one session of 3, bob one of 3 after a first of 1 an hour before, cid one of 2.
EVENTS = """user_id,item_id,timestamp,event_type
ann,rose,2024-05-01T10:00:00Z,view
ann,fern,2024-05-01T10:05:00Z,view
ann,pot,2024-05-01T10:10:00Z,purchase
bob,spade,2024-05-02T09:00:00Z,view
bob,rose,2024-05-02T10:30:00Z,view
bob,pot,2024-05-02T10:31:00Z,view
bob,fern,2024-05-02T10:32:00Z,cart
cid,fern,2024-05-03T08:00:00Z,view
cid,pot,2024-05-03T08:01:00Z,view
"""


class Files:
    """The files of the category `garden`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.items, self.events = folder, folder / "items.csv", folder / "events.csv"

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    folder = tmp_path / "garden"
    folder.mkdir()
    made = Files(folder)
    made.write("items.csv", ITEMS)
    made.write("events.csv", EVENTS)
    Image.new("RGB", (16, 16), "red").save(folder / "rose.png")
    Image.new("RGB", (16, 16), "grey").save(folder / "spade.png")
    return made


@pytest.fixture
def opened(tmp_path: Path, sqlite_template: Path) -> Iterator[Callable[..., Workspace]]:
    """Opens further empty workspaces, each by its name: on SQLite, or on the database of a URL."""
    with ExitStack() as stack:

        def begin(name: str, url: str | None = None, **settings: Any) -> Workspace:
            folder = tmp_path / name
            folder.mkdir()
            if url is None:
                shutil.copy(sqlite_template, folder / "registry.db")
            else:
                upgrade(url)
            made = open_workspace(url, environ={}, cwd=tmp_path, workspace=folder, actor="tester", **settings)
            return stack.enter_context(made)

        yield begin


@pytest.fixture
def ws(opened: Callable[..., Workspace]) -> Workspace:
    """An empty workspace on SQLite."""
    return opened("shop")


@pytest.fixture
def each_ws(tmp_path: Path, registry_url: str) -> Iterator[Workspace]:
    """An empty workspace on each of the two databases."""
    with open_workspace(registry_url, environ={}, cwd=tmp_path, workspace=tmp_path / "shop", actor="tester") as opened:
        yield opened


@pytest.fixture
def garden(ws: Workspace, files: Files) -> Workspace:
    """A workspace with the domain garden, its items and events."""
    ws.domain.add("garden", files.items, files.events)
    return ws


@pytest.fixture
def stopped_all(tmp_path: Path, start: Callable[..., Any]) -> Callable[..., list[subprocess.Popen[str]]]:
    """Start a program once per list of arguments and hand the processes over when all have come to their places."""

    def begin(program: str, *calls: Sequence[str]) -> list[subprocess.Popen[str]]:
        made: list[subprocess.Popen[str]] = [start(program, *arguments, cwd=tmp_path) for arguments in calls]
        for process in made:
            assert process.stdout.readline() == "HERE\n", process.communicate()[1]
        return made

    return begin


@pytest.fixture
def stopped(stopped_all: Callable[..., list[subprocess.Popen[str]]]) -> Callable[..., subprocess.Popen[str]]:
    """Start a command in a process of its own and hand it over when it has come to the nth call of a place."""
    driver = Path(__file__).with_name("stop_at.py").read_text(encoding="utf-8")

    def begin(place: str, nth: int, *arguments: str) -> subprocess.Popen[str]:
        return stopped_all(driver, [place, str(nth), *arguments])[0]

    return begin


@pytest.fixture
def killed(stopped: Callable[..., subprocess.Popen[str]]) -> Callable[..., None]:
    """Kill a command in a process of its own at the nth call of a place."""

    def run(place: str, nth: int, *arguments: str | Path) -> None:
        process = stopped(place, nth, *map(str, arguments))
        process.kill()
        assert process.wait() == -signal.SIGKILL

    return run


@pytest.fixture(scope="session")
def refused() -> Callable[..., None]:
    """Holds that a call is refused with an error and with these words."""

    def check(error: type[Exception], words: str, call: Callable[..., object], *args: Any, **options: Any) -> None:
        with pytest.raises(error, match=words or None):
            call(*args, **options)

    return check


@pytest.fixture
def tree() -> Callable[[Path], dict[str, str]]:
    """Every file below a folder with the hash of its bytes; SQLite's own side files and lock files left out."""

    def look(folder: Path) -> dict[str, str]:
        kept = [p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".lock", ".db-wal", ".db-shm")]
        kept = [p for p in kept if not p.name.endswith(("-wal", "-shm"))]
        return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(kept)}

    return look


@pytest.fixture
def models(garden: Workspace, versions_of: Callable[[Registry], Any]) -> Any:
    """Makes versions of models in the workspace's registry."""
    return versions_of(garden.registry)


@pytest.fixture
def two_spokes(garden: Workspace, models: Any) -> Workspace:
    """garden:1 and garden:2 of hub:1, each with an index; nothing is live."""
    models.hub()
    for _ in range(2):
        models.index(models.spoke("hub:1").ref)
    return garden


@pytest.fixture(scope="session")
def tiny_hub() -> dict[str, Any]:
    """Config of a hub that reads text with an encoder of no weight and trains nothing."""
    return {"text": {"name": "tiny"}, "image": None, "contrastive": {"steps": 0}}


@pytest.fixture(scope="session")
def tiny_spoke() -> dict[str, Any]:
    """Config of a spoke that trains in a second; a catalog with so few events would read statistics."""
    training = {"max_epochs": 3, "validate_every": 1, "negatives": 16}
    return {"transformer": {"dimension": 16}, "min_item_count": 3, "statistics": None, "training": training}


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CategoryFiles]:
    """Two simulated categories of 40 products and 60 shoppers, with pictures."""
    sizes: Any = {"items_per_category": 40, "users": 60, "events_per_user": (4, 7), "image_size": 16}
    settings = MarketplaceSettings(categories=("lamps", "mugs"), **sizes)
    return simulate_marketplace(settings, tmp_path_factory.mktemp("market"))


@pytest.fixture(scope="session")
def catalog(market: dict[str, CategoryFiles]) -> pl.DataFrame:
    """The lamps without their pictures."""
    return pl.read_csv(market["lamps"].items).drop("image")


@pytest.fixture(scope="session")
def events(market: dict[str, CategoryFiles]) -> pl.DataFrame:
    return pl.read_csv(market["lamps"].events, try_parse_dates=True).sort("timestamp")


@pytest.fixture(scope="session")
def shop_template(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, market: Any, tiny_hub: Any, tiny_spoke: Any
) -> Path:
    """A workspace with a hub and the category lamps: lamps:1 is its spoke, indexed and live."""
    folder = tmp_path_factory.mktemp("shop") / "shop"
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "registry.db")
    with open_workspace(environ={}, cwd=folder, workspace=folder, actor="tester") as ws:
        ws.domain.add("lamps", market["lamps"].items, market["lamps"].events)
        ws.hub.train(domains=[], config=tiny_hub)
        ws.spoke.train("lamps", config=tiny_spoke)
    return folder


@pytest.fixture(scope="session")
def small(shop_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of that shop's catalog: a few kilobytes."""
    folder = shutil.copytree(shop_template, tmp_path_factory.mktemp("small") / "shop")
    with open_workspace(environ={}, cwd=folder, workspace=folder, actor="tester") as ws:
        return ws.bundle.export("snapshot:lamps/items/1", folder).file


@pytest.fixture
def shop(tmp_path: Path, shop_template: Path) -> Iterator[Workspace]:
    """A copy of that workspace."""
    shutil.copytree(shop_template, tmp_path / "shop")
    with open_workspace(environ={}, cwd=tmp_path, workspace=tmp_path / "shop", actor="tester") as opened:
        yield opened


@pytest.fixture
def train_on(shop: Workspace, market: dict[str, CategoryFiles]) -> Callable[..., ModelRecord]:
    """Train on a table of events, each user one session, in a new domain of the shop."""

    def train(events: pl.DataFrame, config: Any, **options: Any) -> ModelRecord:
        name = f"d{len(shop.domain.list())}"
        shop.domain.add(name, market["lamps"].items, events, sessions=SessionSettings(mode="per_user"))
        return shop.spoke.show(str(shop.spoke.train(name, config=config, index=False, **options).ref))

    return train

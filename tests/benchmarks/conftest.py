"""The scripts of `benchmarks/` under the name that `python -m benchmarks.spokes.public` gives them, and a tiny file."""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[2]

if "benchmarks" not in sys.modules:
    # A folder without an __init__, and without the repository's other folders becoming importable by their bare names.
    namespace = importlib.machinery.ModuleSpec("benchmarks", None, is_package=True)
    namespace.submodule_search_locations = [str(ROOT / "benchmarks")]
    sys.modules["benchmarks"] = importlib.util.module_from_spec(namespace)


@pytest.fixture(scope="session")
def circle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 users who walk round a circle of 30 items: the next item is certain, so a few epochs learn it."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("benchmark") / "circle.txt"
    walks = ((rng.integers(30), rng.integers(5, 12)) for _ in range(80))
    lines = (" ".join(f"{1 + (start + i) % 30}" for i in range(length)) for start, length in walks)
    path.write_text("".join(f"{user} {line}\n" for user, line in enumerate(lines, 1)), encoding="utf-8")
    return path


CONFIG = """hub: {text: {name: tiny}, image: null}
spoke: {transformer: {dimension: 8}, training: {max_epochs: 1, validate_every: 1}}
"""


@pytest.fixture(scope="session")
def category(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options for 24 items with titles and 30 shoppers who walk round them on two days each, and a tiny config."""
    folder = tmp_path_factory.mktemp("category")
    words = ("red chair", "blue table", "green lamp", "black sofa")
    items = [f"i{i},{words[i % 4]} {i // 4},b{i % 3}" for i in range(24)]
    events = []
    for user in range(30):
        for step in range(6):
            day = 1 + user % 9 + (10 if step > 3 else 0)
            events.append(f"u{user},i{(user + step) % 24},2024-05-{day:02d}T10:{step:02d}:00Z")
    (folder / "items.csv").write_text("\n".join(["item_id,title,brand", *items, ""]), encoding="utf-8")
    (folder / "events.csv").write_text("\n".join(["user_id,item_id,timestamp", *events, ""]), encoding="utf-8")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    files = ["--items", str(folder / "items.csv"), "--events", str(folder / "events.csv")]
    return [*files, "--config", str(folder / "config.yaml"), "--sessions", "per_user", "--device", "cpu", "--quiet"]


@pytest.fixture
def lamps(category: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of that category's tables as the benchmarks of the service read them, served by a tiny hub."""
    from benchmarks import serving

    folder = tmp_path / "lamps"
    folder.mkdir()
    for place, name in ((1, "items"), (3, "interactions")):
        pl.read_csv(category[place]).write_parquet(folder / f"{name}.parquet")
    monkeypatch.setattr(serving, "HUB", {"text": {"name": "tiny"}, "image": None, "contrastive": {"steps": 0}})
    return folder

"""What loads when: a question to the registry imports nothing heavy and answers at once; the Python API likewise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hubspoke.workflows.workspace import open_workspace

MODELS = ("torch", "faiss", "transformers", "open_clip", "peft")
HEAVY = (*MODELS, "polars", "pyarrow", "numpy", "PIL", "alembic", "matplotlib", "jinja2")
QUICK = (*HEAVY, "pydantic", "yaml")
# Runs commands one after the other and tells after which of them which of the modules named are loaded.
PROBE = """
import json, sys
watched, lines = json.loads(sys.argv[1]), json.loads(sys.argv[2])
from hubspoke.cli import cli
found = {}
for line in lines:
    try:
        cli.main(line)
    except SystemExit as end:
        assert not end.code, line
    if loaded := [name for name in watched if name in sys.modules]:
        found[" ".join(line)] = loaded
        break
print("LOADED", json.dumps(found), file=sys.stderr)
"""
# As often as the two libraries that no command can do without take to load.
LIMIT = 2.5
QUESTIONS = """
domain list --json
domain show garden
gate show garden
experiment list garden
data snapshots garden
history garden
lineage show domain:garden
lineage upstream domain:garden
lineage downstream domain:garden --dot
lineage impact domain:garden
lineage diff hub:1 hub:2
registry sql SELECT(1)
registry current
registry schema
registry backup copy.db --dry-run
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    with open_workspace(environ={}, workspace=tmp_path / "shop", create=True) as ws:
        ws.domain.add("garden")
        for _ in range(2):
            ws.registry.models.fail(ws.registry.models.begin("hub", None, "x", {}).ref, "stopped")
    return tmp_path / "shop"


def loaded_by(text: str, *after: str, watched: tuple[str, ...] = QUICK) -> dict[str, list[str]]:
    """The first command of a text that loads a module watched, and the modules; empty where none does."""
    lines = [[*line.split(), *after] for line in text.strip().splitlines()]
    command = [sys.executable, "-c", PROBE, json.dumps(watched), json.dumps(lines)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(next(line[7:] for line in ended.stderr.splitlines() if line.startswith("LOADED ")))


def test_questions_to_the_registry_and_help_load_nothing_heavy_and_listings_of_models_no_torch(shop: Path) -> None:
    assert loaded_by(QUESTIONS, "--workspace", str(shop)) == {}
    assert loaded_by("--help\nspoke train --help\nrecommend --help\nexplain --help\ndemo --help") == {}
    listings = "hub list\nspoke list\nindex list\nlineage export --openlineage"
    assert loaded_by(listings, "--workspace", str(shop), watched=MODELS) == {}


def test_domain_list_answers_at_once(shop: Path) -> None:
    program = Path(sys.executable).with_name("hubspoke")
    if not program.exists():
        pytest.skip("the package is not installed beside this interpreter")
    listing = [str(program), "domain", "list", "--json", "--workspace", str(shop)]
    libraries = [sys.executable, "-c", "import click, sqlalchemy.orm"]

    def seconds(command: list[str]) -> float:
        """Of processor time: other work on the machine, such as tests side by side, would only stretch the clock's."""
        before = os.times()
        subprocess.run(command, capture_output=True, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    least = {name: min(seconds(command) for _ in range(3)) for name, command in (("own", listing), ("both", libraries))}
    assert least["own"] < LIMIT * least["both"]

"""What loads when: a question to the registry imports nothing heavy and answers at once; the Python API likewise."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import hubspoke
import pytest
from hubspoke.workflows.workspace import open_workspace

HEAVY = (
    "torch",
    "polars",
    "pyarrow",
    "numpy",
    "faiss",
    "transformers",
    "open_clip",
    "peft",
    "PIL",
    "alembic",
    "matplotlib",
    "jinja2",
)
QUICK = (*HEAVY, "pydantic", "yaml")
# Runs a command and then tells on stderr which of the modules named are loaded.
PROBE = """
import json, sys
watched, arguments = json.loads(sys.argv[1]), sys.argv[2:]
from hubspoke.cli import cli
try:
    cli.main(arguments)
except SystemExit as end:
    print("LOADED", json.dumps([name for name in watched if name in sys.modules]), file=sys.stderr)
    raise
"""
LIMIT_SECONDS = 0.7


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    with open_workspace(environ={}, workspace=tmp_path / "shop", create=True) as ws:
        ws.domain.add("garden")
        for _ in range(2):
            ws.registry.models.fail(ws.registry.models.begin("hub", None, "x", {}).ref, "stopped")
    return tmp_path / "shop"


def probe(*arguments: str) -> list[str]:
    command = [sys.executable, "-c", PROBE, json.dumps(QUICK), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    told = next(line for line in ended.stderr.splitlines() if line.startswith("LOADED "))
    loaded: list[str] = json.loads(told.removeprefix("LOADED "))
    return loaded


@pytest.mark.parametrize(
    "command",
    [
        ("domain", "list", "--json"),
        ("domain", "show", "garden"),
        ("data", "snapshots", "garden"),
        ("history", "garden"),
        ("lineage", "show", "domain:garden"),
        ("lineage", "export", "--openlineage"),
        ("lineage", "upstream", "domain:garden"),
        ("lineage", "downstream", "domain:garden", "--dot"),
        ("lineage", "impact", "domain:garden"),
        ("lineage", "diff", "hub:1", "hub:2"),
        ("registry", "sql", "SELECT ref FROM nodes"),
        ("registry", "current"),
        ("registry", "schema"),
        ("registry", "backup", "copy.db", "--dry-run"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_question_to_the_registry_loads_nothing_heavy(shop: Path, command: tuple[str, ...]) -> None:
    assert probe(*command, "--workspace", str(shop)) == []


@pytest.mark.parametrize("command", [("--help",), ("spoke", "train", "--help"), ("recommend", "--help")])
def test_help_loads_nothing_heavy(command: tuple[str, ...]) -> None:
    assert probe(*command) == []


@pytest.mark.parametrize("command", [("hub", "list"), ("spoke", "list"), ("index", "list")])
def test_listings_of_models_load_no_torch(shop: Path, command: tuple[str, ...]) -> None:
    loaded = probe(*command, "--workspace", str(shop))
    assert {"torch", "faiss", "transformers", "open_clip", "peft"}.isdisjoint(loaded)


def test_domain_list_answers_at_once(shop: Path) -> None:
    program = Path(sys.executable).with_name("hubspoke")
    if not program.exists():
        pytest.skip("the package is not installed beside this interpreter")
    command = [str(program), "domain", "list", "--json", "--workspace", str(shop)]

    def seconds() -> float:
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        return time.perf_counter() - started

    # The machine may be busy with something else for a while; the promise is about the program.
    assert any(seconds() < LIMIT_SECONDS for _ in range(10))


def test_opening_a_workspace_from_python_loads_no_torch(shop: Path) -> None:
    code = (
        "import sys, hubspoke\n"
        "assert 'sqlalchemy' not in sys.modules\n"
        "with hubspoke.open(workspace=sys.argv[1]) as ws:\n"
        "    assert [d.name for d in ws.domain.list()] == ['garden']\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(shop)], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_the_public_names_are_exactly_these() -> None:
    errors = {
        "HubspokeError",
        "UsageError",
        "QualityGateError",
        "InvalidDataError",
        "CorruptArtifactError",
        "NotFoundError",
        "IncompatibleError",
        "SchemaVersionError",
        "MissingExtraError",
        "LockedError",
    }
    assert set(hubspoke.__all__) == errors | {"Settings", "Workspace", "open", "__version__"}
    assert all(getattr(hubspoke, name) is not None for name in hubspoke.__all__)
    with pytest.raises(AttributeError, match="no attribute 'close'"):
        _ = hubspoke.close
